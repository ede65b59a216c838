"""The fault proxy of the tests does what it is told."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, List, Tuple

import pytest
import requests

from tests.support.proxy import Proxy


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: List[Tuple[str, str, bytes]] = []

    def answer(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    break
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, body))
        self.send_response(200)
        if self.path.startswith("/chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for block in (b"abc", b"x" * 200_000):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path.startswith("/until-close"):
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end")
            self.close_connection = True
            return
        reply = body or b"hello"
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    Handler.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Proxy(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


def test_passes_everything(proxy: Proxy) -> None:
    session = requests.Session()
    large = b"y" * 1_000_000
    for _ in range(2):
        assert session.get(proxy.uri + "/a?b=1").text == "hello"
        assert session.put(proxy.uri + "/a", data=large).content == large
        assert session.post(proxy.uri + "/a", data=iter([b"one", b"two"])).content == b"onetwo"
        assert session.get(proxy.uri + "/chunked").content == b"abc" + b"x" * 200_000
        assert session.head(proxy.uri + "/a").status_code == 200
        assert session.get(proxy.uri + "/until-close").text == "until the end"
    assert proxy.count() == 12 and proxy.count("GET", "/a") == 2
    assert proxy.counts()["GET /a"] == 2
    assert proxy.requests[0].query == "b=1"


def test_answers_instead_of_the_server(proxy: Proxy) -> None:
    proxy.on("GET", "/a", number=2, status=429, retry_after=3)
    replies = [requests.get(proxy.uri + "/a") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 429, 200]
    assert replies[1].headers["Retry-After"] == "3"
    assert len(Handler.seen) == 2


def test_fraction(proxy: Proxy) -> None:
    fault = proxy.on("POST", status=503, fraction=0.25)
    statuses = [requests.post(proxy.uri + "/", data="x").status_code for _ in range(8)]
    assert statuses.count(503) == 2 == fault.hits


def test_faults_after_commit(proxy: Proxy) -> None:
    proxy.on("POST", "/a", number=1, status=500, after_commit=True)
    proxy.on("POST", "/a", number=2, drop_reply=True)
    proxy.on("POST", "/a", number=3, drop_request=True)
    session = requests.Session()
    assert session.post(proxy.uri + "/a", data="1").status_code == 500
    for data in "23":
        with pytest.raises(requests.ConnectionError):
            session.post(proxy.uri + "/a", data=data)
    assert session.post(proxy.uri + "/a", data="4").text == "4"
    assert [body for _, _, body in Handler.seen] == [b"1", b"2", b"4"]


def test_hooks(proxy: Proxy) -> None:
    calls: List[Any] = []
    proxy.on(number=(2, 3), before=lambda request: calls.append(("before", request.number, len(Handler.seen))))
    proxy.on(number=3, after=lambda request: calls.append(("after", request.matched, len(Handler.seen))))
    for _ in range(3):
        requests.get(proxy.uri)
    assert calls == [("before", 2, 1), ("before", 3, 2), ("after", 3, 3)]


def test_delay_and_going_away(proxy: Proxy) -> None:
    proxy.on(delay=0.2, times=1)
    start = time.monotonic()
    assert requests.get(proxy.uri).ok
    assert time.monotonic() - start >= 0.2
    proxy.go_away(0.3)
    with pytest.raises(requests.ConnectionError):
        requests.get(proxy.uri)
    time.sleep(0.35)
    assert requests.get(proxy.uri).ok
    proxy.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(proxy.uri)
    proxy.start()
    assert requests.get(proxy.uri).ok
