"""The one REST client: pooled connections, retries that never double a write, and no stall in kept-alive replies."""

from __future__ import annotations

import email.utils
import logging
import os
import random
import re
import socket
import threading
import time
import warnings
from contextlib import contextmanager
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union
from urllib.parse import quote, urlencode, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util.retry import Retry

from mlflow_migration.client import json_codec
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import BadInput, Gone, NotFound, Refused, Stopped, Unauthorized, Unavailable, redact
from mlflow_migration.client.gate import Gate

_log = logging.getLogger(__name__)

T = TypeVar("T")
Params = Union[str, Mapping[str, Any], Sequence[Tuple[str, Any]]]

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# what a load balancer answers while there is no server behind it
_NOBODY = frozenset({502, 503, 504})
# with 500 MLflow answers this where its store can't do it at all, such as one of files
_DISABLED = "FEATURE_DISABLED"
_MAX_WAIT = 20.0
_MAX_RETRY_AFTER = 300.0
_REDIRECTS = 3
_HEALTH_SECONDS = 10.0
_BLOCK = 256 * 1024
_BROKEN = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError)


class _Failures:
    """Counts the failed attempts at one request.

    MLflow answers 500 to some requests that can never work, so these are given up earlier; but they are counted apart,
    as a server that was away for a while may greet with one.
    """

    def __init__(self, most: int) -> None:
        self.number = 0
        self._most = {True: min(most, 5), False: most}

    def add(self, error: Unavailable) -> bool:
        """Count one, and tell whether to try again."""
        self.number += 1
        is_error = error.http_status_code == 500
        self._most[is_error] -= 1
        return self._most[is_error] >= 0


class _NoStall:
    """Acknowledge at once what arrives: a server with several workers waits some 40 ms for it in each reply."""

    sock: Optional[socket.socket]

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is not None and hasattr(socket, "TCP_QUICKACK"):
            # Linux takes the option back by itself, so it is set again before each read
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().getresponse(*args, **kwargs)  # type: ignore[misc]


class _Connection(_NoStall, HTTPConnection):
    pass


class _TlsConnection(_NoStall, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _AsGiven(AuthBase):
    """Leaves out a content type that is empty: what was signed elsewhere may have none."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if not r.headers.get("Content-Type"):
            r.headers.pop("Content-Type", None)
        return r


class RestClient:
    """Sends requests to one tracking server. It may be used by many threads at once.

    :param connection: Where to, and with which credentials.
    :param workers: The most requests that are ever in flight; the number really used follows what the server shows.
    :param direct: Use no proxy, whatever the environment says.
    """

    def __init__(self, connection: Connection, workers: int = 8, direct: bool = False) -> None:
        self.connection = connection
        self.url = connection.url
        self._adapter = _Adapter(pool_connections=2, pool_maxsize=max(workers, 1) + 2, max_retries=Retry(0, read=False))
        with requests.Session() as session:
            settings = session.merge_environment_settings(self.url, {}, None, connection.verify, connection.cert)
        self._send_options: Dict[str, Any] = {
            "verify": settings["verify"],
            "cert": connection.cert,
            "proxies": {} if direct else settings["proxies"],
        }
        if not settings["verify"] and self.url.startswith("https:"):
            # urllib3 would say it again and again, with a line of code
            warnings.filterwarnings("ignore", category=InsecureRequestWarning)
            _log.warning("The certificate of %s is not checked.", connection.uri)
        self._retries = int(_variable("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 8))
        self._timeout = float(_variable("MLFLOW_HTTP_REQUEST_TIMEOUT", 120))
        self._reads, self._writes = Gate(workers), Gate(workers)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.requests_sent = 0
        self._answered = False
        self._missing: Dict[str, bool] = {}
        self._workers = workers
        self._others: Dict[str, RestClient] = {}

    def without_credentials(self, url: str) -> RestClient:
        """Return a client of another host that stops with this one, and takes nothing of its credentials along.

        :param url: ``scheme://host[:port]``.
        """
        with self._lock:
            if url not in self._others:
                agent = {"User-Agent": self.connection.headers.get("User-Agent", "")}
                other = RestClient(Connection(url, agent, _AsGiven(), True, None, url), self._workers)
                other._closed = self._closed
                self._others[url] = other
            return self._others[url]

    def close(self) -> None:
        """End all pauses before repeated requests: the requests that wait raise Stopped."""
        self._closed.set()

    # -- JSON ---------------------------------------------------------------------------------------------------

    def get(self, path: str, params: Optional[Params] = None, timeout: Optional[float] = None) -> Dict[str, Any]:
        """GET a JSON document.

        :param path: Path of the endpoint, starting with ``/``.
        :param params: Query parameters; a list value is repeated.
        :param timeout: Seconds to wait for the reply, if other than usual.
        :raises Refused: The server answered 4xx.
        :raises Unavailable: It did not answer, or with 5xx or 429, however often it was asked.
        """
        return self._json(self.request("GET", path, params=params, timeout=timeout))

    def search(self, path: str, body: Any) -> Dict[str, Any]:
        """POST a search: it changes nothing, so it may be repeated like a GET. Raises as :meth:`get`."""
        return self._json(self.request("POST", path, body=body, read=True))

    def post(self, path: str, body: Any) -> Dict[str, Any]:
        """POST a write that may safely arrive twice. Raises as :meth:`get`."""
        return self._json(self.request("POST", path, body=body))

    def patch(self, path: str, body: Any) -> Dict[str, Any]:
        """PATCH; the body sets values, so it may arrive twice. Raises as :meth:`get`."""
        return self._json(self.request("PATCH", path, body=body))

    def put(self, path: str, body: Any) -> Dict[str, Any]:
        """PUT; the body sets values, so it may arrive twice. Raises as :meth:`get`."""
        return self._json(self.request("PUT", path, body=body))

    def delete(self, path: str, body: Any = None) -> Dict[str, Any]:
        """DELETE. Raises as :meth:`get`."""
        return self._json(self.request("DELETE", path, body=body))

    def post_once(self, path: str, body: Any, find: Callable[[], Optional[T]], parse: Callable[[Any], T]) -> T:
        """POST a write that must not take effect twice.

        When it is not known whether an attempt took effect (5xx, broken connection, no reply in time), the server is
        asked before the write is repeated.

        :param find: Returns what an earlier attempt made, or None if there is nothing.
        :param parse: Takes what is wanted out of the reply.
        :raises Refused: The server answered 4xx.
        :raises Unavailable: Retries are used up.
        """
        failures = _Failures(self._retries)
        while True:
            try:
                return parse(self._json(self.request("POST", path, body=body, retry=False)))
            except Refused:
                if failures.number == 0:
                    raise
                # a refusal after an attempt that may have worked can mean "that exists already"
                found = find()
                if found is None:
                    raise
                return found
            except Unavailable as ex:
                if not failures.add(ex):
                    raise self._gone_or(ex) from None
                self._wait(failures.number, ex)
                found = find()
                if found is not None:
                    return found

    # -- bytes --------------------------------------------------------------------------------------------------

    @contextmanager
    def stream(
        self,
        path: str,
        params: Optional[Params] = None,
        timeout: Optional[float] = None,
        *,
        headers: Optional[Mapping[str, str]] = None,
        start: int = 0,
    ) -> Iterator[Iterator[bytes]]:
        """GET a body as a stream of blocks.

        :param headers: Further headers.
        :param start: The first byte that is wanted.
        :return: A context manager giving the blocks; a body shorter than announced raises Unavailable.
        :raises Refused: The server answered 4xx.
        :raises Unavailable: It did not answer, or the connection broke while the body was read.
        """
        sent = {**(headers or {}), **({"Range": f"bytes={start}-"} if start else {})}
        response = self.request("GET", path, params=params, headers=sent, stream=True, timeout=timeout)
        try:
            blocks = self._blocks(response, path)
            yield blocks if response.status_code == 206 or not start else _without(blocks, start)
        finally:
            response.close()

    def upload(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        """PUT a file.

        :param open_body: Opens the file; called again when an attempt has to be repeated.
        :param size: Its size in bytes.
        :raises Refused: The server answered 4xx.
        :raises Unavailable: Retries are used up.
        """
        self.request("PUT", path, open_body=open_body, size=size)

    # -- requests -----------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        params: Optional[Params] = None,
        body: Any = None,
        *,
        headers: Optional[Mapping[str, str]] = None,
        open_body: Optional[Callable[[], BinaryIO]] = None,
        size: int = 0,
        stream: bool = False,
        read: bool = False,
        retry: bool = True,
        retries: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> requests.Response:
        """Send one request, and again while the failure is transient.

        :param method: HTTP method.
        :param path: Path of the endpoint, starting with ``/``; already percent-encoded.
        :param params: Query parameters; a text is the query itself.
        :param body: JSON document to send; ``bytes`` are sent as they are.
        :param headers: Further headers.
        :param open_body: Opens the file to send instead of a JSON document.
        :param size: Size of that file in bytes.
        :param stream: Leave the reply's body to be read by the caller.
        :param read: The request changes nothing, whatever its method.
        :param retry: Repeat after transient failures.
        :param retries: How often at most, if other than usual.
        :param timeout: Seconds to wait for the reply.
        :raises Refused: The server answered 4xx.
        :raises Unavailable: Retries are used up.
        """
        url = self.url + path
        if params:
            url += "?" + (params if isinstance(params, str) else urlencode(params, doseq=True, quote_via=quote))
        sent = body if isinstance(body, bytes) else None if body is None else json_codec.dumps(body)
        gate = self._reads if read or method == "GET" else self._writes
        failures = _Failures(self._retries if retries is None else retries)
        while True:
            try:
                with gate:
                    response = self._send(method, url, sent, headers, open_body, size, stream, timeout or self._timeout)
                if response.status_code < 300:
                    return response
                error = _error_of(response, method, path, self.connection.uri)
            except _BROKEN as ex:
                error = self._no_reply(f"{method} {path}", ex)
            if isinstance(error, Refused):
                raise error
            if error.http_status_code in (429, 503):
                gate.slow_down()
            if not retry:
                raise error
            if not failures.add(error):
                raise self._gone_or(error)
            self._wait(failures.number, error)

    def _send(
        self,
        method: str,
        url: str,
        body: Optional[bytes],
        headers: Optional[Mapping[str, str]],
        open_body: Optional[Callable[[], BinaryIO]],
        size: int,
        stream: bool,
        timeout: float,
    ) -> requests.Response:
        # the request is put together by hand: requests' own preparation costs as much time as a small reply
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = method, url, {"response": []}
        request.headers = CaseInsensitiveDict(self.connection.headers)
        if "/mlflow/workspaces" in url:
            request.headers.pop("X-MLFLOW-WORKSPACE", None)
        if headers:
            request.headers.update(headers)
        file: Optional[BinaryIO] = None
        if open_body is not None:
            file = open_body()
            request.body = file.read() if size <= _BLOCK else file  # type: ignore[assignment]
            request.headers["Content-Length"] = str(size)
            request.headers.setdefault("Content-Type", "application/octet-stream")
        elif body is not None:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
            request.headers.setdefault("Content-Type", "application/json")
        elif method in ("POST", "PUT", "PATCH"):
            request.headers["Content-Length"] = "0"
        try:
            for _ in range(_REDIRECTS):
                if self.connection.auth is not None:
                    request = self.connection.auth(request)
                with self._lock:
                    self.requests_sent += 1
                response = self._adapter.send(request, stream=stream, timeout=(30, timeout), **self._send_options)
                self._answered = True
                if not response.is_redirect or method != "GET":
                    if not stream:
                        response.content  # noqa: B018 -- read here, where a reply that breaks off is asked for again
                    break
                target = urljoin(url, response.headers["location"])
                if urlsplit(target)[:2] != urlsplit(self.url)[:2]:
                    break  # never carry credentials to another host
                response.close()
                request.url = url = target
            return response
        finally:
            if file is not None:
                file.close()

    def _gone_or(self, error: Unavailable) -> Unavailable:
        """Return the error of a request that is given up; Gone if the server does not answer another one either."""
        if error.http_status_code not in (-1, *_NOBODY):
            return error
        try:
            response = self._send("GET", self.url + "/health", None, None, None, 0, False, _HEALTH_SECONDS)
        except _BROKEN:
            pass
        else:
            if response.status_code not in _NOBODY:
                return error
        how = "does not answer any more" if self._answered else "can't be reached"
        text = f"{self.connection.uri} {how}: {error.kwargs.get('reason') or error.message}"
        return Gone(text, http_status_code=error.http_status_code)

    def _no_reply(self, what: str, ex: BaseException) -> Unavailable:
        reason = redact(_CONNECTION.sub("", _innermost(ex)))
        for sign, hint in _NEVER.items():
            if sign in reason:
                raise Gone(f"{self.connection.uri} can't be reached: {reason}: {hint}") from ex
        return Unavailable(f"{what}: no reply from {self.connection.uri}: {reason}", reason=reason)

    def pause(self, error: Unavailable) -> None:
        """Wait as long as a refused request asks to. Raises Stopped when the client is closed meanwhile."""
        self._wait(1, error)

    def _wait(self, attempt: int, error: Unavailable) -> None:
        if self._closed.wait(self._pause(attempt, error.kwargs.get("retry_after"))):
            raise Stopped("interrupted")

    def _pause(self, attempt: int, retry_after: Optional[float]) -> float:
        if retry_after is not None:
            return min(retry_after, _MAX_RETRY_AFTER) + random.uniform(0, 0.2)
        return float(min(_MAX_WAIT, 0.25 * 2**attempt)) * random.uniform(0.75, 1.25)

    def _json(self, response: requests.Response) -> Dict[str, Any]:
        content = response.content
        if not content:
            return {}
        try:
            doc = json_codec.loads(content)
        except ValueError:
            doc = None
        if not isinstance(doc, dict):
            raise Refused(
                f"{response.request.method} {urlsplit(response.url).path}: {self.connection.uri} answered no JSON;"
                " is it the address of an MLflow tracking server?",
                http_status_code=response.status_code,
            )
        return doc

    def _blocks(self, response: requests.Response, path: str) -> Iterator[bytes]:
        expected = response.headers.get("Content-Length")
        count = 0
        try:
            for block in response.raw.stream(_BLOCK, decode_content=True):
                count += len(block)
                yield block
        except Exception as ex:
            raise Unavailable(f"GET {path}: the reply broke off after {count} bytes: {redact(_innermost(ex))}") from ex
        if expected is not None and not response.headers.get("Content-Encoding") and count != int(expected):
            raise Unavailable(f"GET {path}: the reply broke off after {count} of {expected} bytes")

    # -- what a server has --------------------------------------------------------------------------------------

    def optional(self, route: str, call: Callable[[], T]) -> Optional[T]:
        """Call an endpoint that older servers do not have; ask a server that lacks it only once.

        :param route: Name under which the answer is remembered.
        :param call: Sends the request.
        :return: What the call returns, or None if the server has no such route.
        """
        if self._missing.get(route):
            return None
        try:
            value = call()
            self._missing[route] = False
            return value
        except NotFound as ex:
            # MLflow's own 404 names an error; a missing route gives a plain page, and so does a proxy without a server
            if ex.error_code or self._missing.get(route) is False:
                raise
        except Refused as ex:
            if ex.http_status_code not in (405, 501) or self._missing.get(route) is False:
                raise
        self._missing[route] = True
        return None

    def lacks(self, route: str) -> bool:
        """Tell whether :meth:`optional` has found that the server has no such route."""
        return self._missing.get(route, False)


def _without(blocks: Iterator[bytes], number: int) -> Iterator[bytes]:
    """Yield blocks without their first bytes, where a server does not know ranges."""
    for block in blocks:
        if number < len(block):
            yield block[number:]
        number = max(0, number - len(block))


def paged(fetch: Callable[[Optional[str]], Dict[str, Any]], field: str) -> Iterator[List[Any]]:
    """Yield the pages of a listing.

    :param fetch: Sends the request for a page token (None for the first page) and returns the reply.
    :param field: Name of the list in the reply.
    """
    token: Optional[str] = None
    while True:
        reply = fetch(token)
        page = reply.get(field) or []
        if page:
            yield page
        following = reply.get("next_page_token") or None
        if not following or following == token:
            return
        token = following


_UNAUTHORIZED = {401: "does not accept the credentials", 403: "does not permit that with these credentials"}


def _error_of(response: requests.Response, method: str, path: str, server: str) -> Union[Refused, Unavailable]:
    status = response.status_code
    if status < 400:
        where = redact(response.headers.get("location", "another page")).split("?")[0]
        return Unauthorized(
            f"{method} {path}: the server redirects to {where}; give the address of the tracking server itself,"
            " and credentials if that page is a login",
            http_status_code=status,
        )
    message, code = "", ""
    try:
        doc = json_codec.loads(response.content)
        if isinstance(doc, dict):
            code = str(doc.get("error_code") or "").replace("ENDPOINT_NOT_FOUND", "")  # a missing route has no code
            message = str(doc.get("message") or doc.get("detail") or "")
    except (ValueError, *_BROKEN):
        pass
    finally:
        response.close()
    text = redact(f"{method} {path}: {status} {code or response.reason or ''}: {message[:2000]}".rstrip(": "))
    if status in _TRANSIENT and code != _DISABLED:
        return Unavailable(text, http_status_code=status, retry_after=_retry_after(response))
    if status in _UNAUTHORIZED:
        text = f"{server} {_UNAUTHORIZED[status]} ({text})"
        return Unauthorized(text, http_status_code=status, error_code=code)
    kind = NotFound if status == 404 else Refused
    return kind(text, http_status_code=status, error_code=code)


def _retry_after(response: requests.Response) -> Optional[float]:
    value = response.headers.get("Retry-After")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):  # neither seconds nor a date; which error depends on the Python
        return None


def _variable(name: str, default: int) -> int:
    text = (os.environ.get(name) or str(default)).strip()
    if not text.isdigit():
        raise BadInput(f"{name} must be a whole number, not {text!r}")
    return int(text)


#: errors that asking again can't heal, and what may
_NEVER = {
    "CERTIFICATE_VERIFY_FAILED": "MLFLOW_TRACKING_SERVER_CERT_PATH may name the certificate that is to be trusted",
    "WRONG_VERSION_NUMBER": "it may be a server for http://, without TLS",
}
#: urllib3 begins its messages with the object that failed
_CONNECTION = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")


def _innermost(ex: BaseException) -> str:
    while ex.args and isinstance(ex.args[-1], BaseException):
        ex = ex.args[-1]
    reason = getattr(ex, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(ex)
