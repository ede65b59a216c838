"""Files behind signed URLs: whoever has one may read or write, so no credentials go along, and none is ever shown."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import BinaryIO, Callable, Dict, Iterator, Mapping, Tuple
from urllib.parse import urlsplit

import requests

from mlflow_migration.client.errors import Refused, Unavailable

Sign = Callable[[], Tuple[str, Dict[str, str]]]
"""Gives a fresh URL, and headers that must go with it."""

_ATTEMPTS = 5
_BLOCK = 256 * 1024
_TIMEOUT = (30, 300)
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_EXPIRED = frozenset({401, 403})


@contextmanager
def read_signed(sign: Sign) -> Iterator[Iterator[bytes]]:
    """Give a file's bytes.

    :raises Refused: The store answered 4xx, also with a second URL.
    :raises Unavailable: It did not answer, however often it was asked, or the body broke off.
    """
    response = _sent("GET", sign, lambda url, headers: _session_get(url, headers))
    try:
        yield _blocks(response)
    finally:
        response.close()


def write_signed(sign: Sign, open_body: Callable[[], BinaryIO], size: int) -> None:
    """Write a file of ``size`` bytes. Raises as :func:`read_signed`."""

    def put(url: str, headers: Mapping[str, str]) -> requests.Response:
        with open_body() as body:
            # requests sends an empty file in chunks, which stores refuse
            data = body if size else b""
            return requests.put(url, data=data, headers=dict(headers), timeout=_TIMEOUT, auth=_no_credentials)

    _sent("PUT", sign, put).close()


def _session_get(url: str, headers: Mapping[str, str]) -> requests.Response:
    return requests.get(url, headers=dict(headers), stream=True, timeout=_TIMEOUT, auth=_no_credentials)


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from looking into ~/.netrc."""
    return request


def _sent(method: str, sign: Sign, send: Callable[[str, Mapping[str, str]], requests.Response]) -> requests.Response:
    refused = False
    for attempt in range(_ATTEMPTS):
        url, headers = sign()
        host = urlsplit(url).hostname
        try:
            response = send(url, headers)
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as ex:
            error: Exception = Unavailable(f"{method}: no reply from the store at {host} ({type(ex).__name__})")
        else:
            status = response.status_code
            if status < 300:
                return response
            response.close()
            error = Refused(f"{method}: the store at {host} answered {status}", http_status_code=status)
            if status in _TRANSIENT:
                error = Unavailable(f"{method}: the store at {host} answered {status}", http_status_code=status)
            elif status not in _EXPIRED or refused:
                raise error
            refused = status in _EXPIRED
        if attempt < _ATTEMPTS - 1:
            time.sleep(0 if refused else 0.25 * 2**attempt)
    raise error


def _blocks(response: requests.Response) -> Iterator[bytes]:
    count = 0
    expected = response.headers.get("Content-Length")
    try:
        for block in response.iter_content(_BLOCK):
            count += len(block)
            yield block
    except requests.RequestException:
        raise Unavailable(f"the file broke off after {count} bytes") from None
    if expected is not None and not response.headers.get("Content-Encoding") and count != int(expected):
        raise Unavailable(f"the file broke off after {count} of {expected} bytes")
