"""A small HTTP server on a thread that answers as a test says, for tests of what goes over the wire."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Request:
    """What the server got."""

    method: str
    path: str  # decoded, without the query
    query: Dict[str, List[str]]
    headers: Dict[str, str]
    body: bytes
    raw: str  # path and query as they were sent
    port: int  # of the client: one for each connection

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body or b"{}")


@dataclass
class Reply:
    """What the server answers."""

    body: Any = field(default_factory=dict)  # bytes are sent as they are, anything else as JSON
    status: int = 200
    headers: Dict[str, str] = field(default_factory=dict)
    missing: int = 0  # bytes announced but not sent


def missing_route() -> Reply:
    """What MLflow's server answers where it has no such route."""
    return Reply(b"<!doctype html><title>404 Not Found</title>", 404)


def error(status: int, code: str = "", message: str = "") -> Reply:
    """An error as MLflow's server words it."""
    return Reply({"error_code": code, "message": message}, status)


class Stub:
    """A server; as a context manager it listens. `answer` gives the reply to a request, None breaks the connection."""

    def __init__(
        self, answer: Callable[[Request], Optional[Reply]], tls: Optional[ssl.SSLContext] = None
    ) -> None:
        """Nothing listens yet. `tls`: it speaks TLS."""
        self.requests: List[Request] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                request = Request(
                    self.command,
                    unquote(parts.path),
                    parse_qs(parts.query),
                    dict(self.headers),
                    body,
                    self.path,
                    self.client_address[1],
                )
                stub.requests.append(request)
                reply = answer(request)
                if reply is None:
                    self.close_connection = True
                    return
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) + reply.missing))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = self.close_connection or bool(reply.missing)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 -- names that http.server wants

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        if tls is not None:
            # each connection shakes hands on its own thread, when it first reads
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.uri = self.uri.replace("http:", "https:")

    def __enter__(self) -> Stub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
