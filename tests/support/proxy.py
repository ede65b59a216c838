"""A proxy in front of a tracking server that counts requests and makes faults on purpose.

    with Proxy(server.uri) as proxy:
        proxy.on("POST", "*/runs/create", number=3, drop_reply=True)
        ...  # talk to proxy.uri
        assert proxy.count("POST", "*/runs/create") == 4

Raw sockets, a thread and one kept-alive upstream connection per client connection: adds about 0.1 ms a request. Bodies
pass through in blocks of 64 kB and are never held.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

BLOCK = 65536
_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:.*chunked", re.IGNORECASE | re.MULTILINE)
_EXPECTS = re.compile(rb"^expect:\s*100-continue", re.IGNORECASE | re.MULTILINE)
_HEADERS_WITHOUT_BODY = (b"204", b"304")


@dataclass(frozen=True)
class Request:
    """A request that the proxy got."""

    number: int  # of all requests, from 1
    matched: int  # of those that the fault's pattern matches, from 1; 0 in the log
    method: str
    path: str  # without the query
    query: str
    size: int = 0  # of its body in bytes; -1 if it comes in chunks


Hook = Callable[[Request], Any]


@dataclass
class Fault:
    """What to do with which requests. Without `status`, the request goes to the server."""

    method: str
    path: str
    numbers: Optional[Tuple[int, ...]] = None
    fraction: float = 1.0
    times: Optional[int] = None
    bodiless: bool = False
    status: Optional[int] = None
    retry_after: Optional[float] = None
    after_commit: bool = False
    drop_reply: bool = False
    drop_request: bool = False
    delay: float = 0.0
    before: Optional[Hook] = None
    after: Optional[Hook] = None
    matched: int = 0
    hits: int = 0
    _seen: Dict[str, int] = field(default_factory=dict)

    def take(self, method: str, path: str, size: int) -> Optional[int]:
        """Count a request; if the fault applies to it, which of the matching ones it is."""
        if self.bodiless and size:
            return None
        if not (fnmatchcase(method, self.method) and fnmatchcase(path, self.path)):
            return None
        self.matched += 1
        if self.numbers is not None and self.matched not in self.numbers:
            return None
        # spread evenly, the same in each run: every 4th for a fraction of 0.25
        if int(self.matched * self.fraction) == int((self.matched - 1) * self.fraction):
            return None
        if self.times is not None and self.hits >= self.times:
            return None
        self.hits += 1
        return self.matched


class Proxy:
    """See the module's text. All methods may be called while requests pass."""

    def __init__(self, target: str) -> None:
        """`target` is the server's URI. Nothing listens before `start` (or `with`)."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._faults: List[Fault] = []
        self._away_until = 0.0
        self._sockets: set = set()
        self._listener: Optional[socket.socket] = None
        self.port = 0
        self.requests: List[Request] = []
        self.most_at_once = 0
        self._now = 0

    # ---- for tests

    @property
    def uri(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Proxy:
        """Listen; on the same port as before if it was stopped."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close everything: clients get broken connections, then refused ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)
        self.break_connections()

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def on(self, method: str = "*", path: str = "*", *, number: Any = None, **options: Any) -> Fault:
        """Plan a fault for requests whose method and path (without the query) match the patterns.

        :param number: Only the n-th matching request from now on, or these (an int or several); default all.
        :param fraction: Of the matching requests, spread evenly.
        :param times: At most so often.
        :param bodiless: Only of those that have no body.
        :param status: Answer with this status; instead of asking the server, or with `after_commit` after it.
        :param retry_after: Seconds for the header Retry-After of that answer.
        :param drop_reply: Let the server do it, then break the connection instead of answering.
        :param drop_request: Break the connection without asking the server.
        :param delay: Seconds to wait before asking the server.
        :param before: Called with the Request before the server is asked.
        :param after: Called when the server has answered and the client has got nothing yet.
        :return: The fault; its `hits` counts how often it was made.
        """
        numbers = (number,) if isinstance(number, int) else tuple(number) if number is not None else None
        fault = Fault(method, path, numbers, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget faults and counts."""
        with self._lock:
            self._faults.clear()
            self.requests = []
            self.most_at_once = 0

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many requests matched."""
        with self._lock:
            return sum(fnmatchcase(r.method, method) and fnmatchcase(r.path, path) for r in self.requests)

    def counts(self) -> Dict[str, int]:
        """Requests by method and route; ids, experiment numbers and artifact paths are left out."""
        with self._lock:
            return dict(Counter(f"{r.method} {route(r.path)}" for r in self.requests).most_common())

    def go_away(self, seconds: float) -> None:
        """Break all connections and accept none that works for so long."""
        self._away_until = time.monotonic() + seconds
        self.break_connections()

    def break_connections(self) -> None:
        """Break all connections that are open now."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            _close(each)

    # ---- connections

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if time.monotonic() < self._away_until:
                _close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        connection = _Connection(self, client)
        with self._lock:
            self._sockets.add(client)
        try:
            while connection.exchange():
                pass
        except (OSError, _BrokenError):
            pass
        finally:
            with self._lock:
                self._sockets.discard(client)
            connection.close()

    def connect_upstream(self) -> socket.socket:
        """A new connection to the server."""
        upstream = socket.create_connection(self._target, timeout=600)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return upstream

    def enter(self, method: str, target: str, size: int) -> List[Tuple[Fault, Request]]:
        """Note a request, whose body has so many bytes; the faults to make with it."""
        path, _, query = target.partition("?")
        with self._lock:
            number = len(self.requests) + 1
            self.requests.append(Request(number, 0, method, path, query, size))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            planned = []
            for fault in self._faults:
                matched = fault.take(method, path, size)
                if matched is not None:
                    planned.append((fault, Request(number, matched, method, path, query, size)))
            return planned

    def leave(self) -> None:
        """The request's exchange has ended."""
        with self._lock:
            self._now -= 1


def route(path: str) -> str:
    """A path without what differs from object to object."""
    path = re.sub(r"(/mlflow-artifacts/artifacts)/.*", r"\1/*", path)
    return re.sub(r"/(m-)?[0-9a-f]{32}(?=/|$)", "/*", path)


class _BrokenError(Exception):
    """The connection ends here."""


class _Connection:
    """A client's connection and its own one to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream: Optional[socket.socket] = None
        self.from_client = _Reader(client)
        self.from_upstream: Optional[_Reader] = None

    def close(self) -> None:
        _close(self.client)
        if self.upstream is not None:
            _close(self.upstream)
            self.upstream = None

    def exchange(self) -> bool:
        """Pass one request and its reply; False when the client has closed."""
        head = self.from_client.head()
        if head is None:
            return False
        method, target = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
        planned = self.proxy.enter(method, target, _request_size(head))
        try:
            if not planned:
                self._forward(head, method)
                return self._reply(method)
            return self._with_faults(head, method, planned)
        finally:
            self.proxy.leave()

    def _with_faults(self, head: bytes, method: str, planned: List[Tuple[Fault, Request]]) -> bool:
        for fault, request in planned:
            time.sleep(fault.delay)
            if fault.before:
                fault.before(request)
        faults = [fault for fault, _ in planned]
        if any(fault.drop_request for fault in faults):
            raise _BrokenError
        answer = next((fault for fault in faults if fault.status is not None), None)
        if answer is not None and not answer.after_commit:
            if _EXPECTS.search(head):
                self._answer(answer)
                return False  # the client, which waits for leave, sends no body
            self._drain(head)
            return self._answer(answer)
        self._forward(head, method)
        # the server answers when it has committed
        reply = self._upstream_head()
        for fault, request in planned:
            if fault.after:
                fault.after(request)
        if any(fault.drop_reply for fault in faults):
            raise _BrokenError
        if answer is not None:
            self._drop_upstream()
            return self._answer(answer)
        return self._reply(method, reply)

    # ---- messages

    def _forward(self, head: bytes, method: str) -> None:
        """Send a request to the server, on a new connection if the server has closed the old one."""
        if self.upstream is not None and self._is_closed():
            self._drop_upstream()
        if self.upstream is None:
            self.upstream = self.proxy.connect_upstream()
            self.from_upstream = _Reader(self.upstream)
        if _EXPECTS.search(head):
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"\r\nexpect:[^\r]*", b"", head, flags=re.IGNORECASE)
        first = self.from_client.buffered(_body_length(head))
        self.upstream.sendall(head + first)
        self.from_client.body(head, self.upstream.sendall, len(first), is_request=True)

    def _is_closed(self) -> bool:
        assert self.upstream is not None
        self.upstream.setblocking(False)
        try:
            return self.upstream.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.upstream.settimeout(600)

    def _drop_upstream(self) -> None:
        if self.upstream is not None:
            _close(self.upstream)
        self.upstream = None

    def _upstream_head(self) -> bytes:
        assert self.from_upstream is not None
        head = self.from_upstream.head()
        if head is None:
            raise _BrokenError
        return head

    def _reply(self, method: str, head: Optional[bytes] = None) -> bool:
        head = head or self._upstream_head()
        assert self.from_upstream is not None
        status = head.split(b" ", 2)[1]
        if method == "HEAD" or status in _HEADERS_WITHOUT_BODY:
            self.client.sendall(head)
        else:
            first = self.from_upstream.buffered(_body_length(head))
            self.client.sendall(head + first)
            whole = self.from_upstream.body(head, self.client.sendall, len(first), is_request=False)
            if not whole:
                return False  # its end was that of the connection
        if re.search(rb"^connection:\s*close", head, re.IGNORECASE | re.MULTILINE):
            self._drop_upstream()
            return False
        return True

    def _drain(self, head: bytes) -> None:
        self.from_client.body(head, lambda block: None, 0, is_request=True)

    def _answer(self, fault: Fault) -> bool:
        text = b'{"error_code": "PLANNED_FAULT", "message": "the test wants this"}'
        lines = [f"HTTP/1.1 {fault.status} Planned", "Content-Type: application/json", f"Content-Length: {len(text)}"]
        if fault.retry_after is not None:
            lines.append(f"Retry-After: {fault.retry_after:g}")
        self.client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
        return True


class _Reader:
    """Reads HTTP messages from a socket."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = b""

    def _more(self) -> bool:
        block = self._source.recv(BLOCK)
        self._buffer += block
        return bool(block)

    def head(self) -> Optional[bytes]:
        """First line and headers of the next message with the empty line after them; None at the end."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                if self._buffer:
                    raise _BrokenError
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"

    def buffered(self, most: int) -> bytes:
        """At most so many bytes that are here already."""
        taken, self._buffer = self._buffer[:most], self._buffer[most:]
        return taken

    def body(self, head: bytes, send: Callable[[bytes], Any], done: int, *, is_request: bool) -> bool:
        """Pass the body on; False if it ended with the connection. `done` bytes were passed before."""
        if _CHUNKED.search(head):
            self._chunks(send)
        elif _LENGTH.search(head):
            self._exactly(_body_length(head) - done, send)
        elif not is_request:
            while self._buffer or self._more():
                send(self.buffered(BLOCK))
            return False
        return True

    def _exactly(self, size: int, send: Callable[[bytes], Any]) -> None:
        while size > 0:
            if not self._buffer and not self._more():
                raise _BrokenError
            block = self.buffered(min(size, BLOCK))
            send(block)
            size -= len(block)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more():
                raise _BrokenError
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line + b"\r\n"

    def _chunks(self, send: Callable[[bytes], Any]) -> None:
        while True:
            line = self._line()
            send(line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            self._exactly(size + 2, send)
        while True:  # trailers
            line = self._line()
            send(line)
            if line == b"\r\n":
                return


def _body_length(head: bytes) -> int:
    """Content-Length of a message; 0 if it has none."""
    match = _LENGTH.search(head)
    return int(match.group(1)) if match and not _CHUNKED.search(head) else 0


def _request_size(head: bytes) -> int:
    return -1 if _CHUNKED.search(head) else _body_length(head)


def _close(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    each.close()
