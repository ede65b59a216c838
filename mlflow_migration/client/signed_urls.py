"""Files behind presigned URLs: who has one may read or write, so no credentials go along, and no URL is ever shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, BinaryIO, Callable, ContextManager, Dict, Iterator, Optional
from urllib.parse import urlsplit

from mlflow_migration.client.errors import NotFound, Unauthorized, Unavailable
from mlflow_migration.client.rest_client import RestClient

Json = Dict[str, Any]
OpenBody = Callable[[], BinaryIO]

_ATTEMPTS = 5  # of a file, without a byte's progress


class Signed:
    """A presigned URL.

    :param rest: Client of its host, without any credentials.
    :param path: Path of the URL.
    :param query: Its query, in which the secrets are.
    :param headers: Headers that were signed with it.
    :param type: One of ``ArtifactCredentialType``.
    """

    def __init__(self, rest: RestClient, path: str, query: str, headers: Dict[str, str], type: str) -> None:
        self._rest, self._path, self._query = rest, path, query
        # an empty type is not sent at all: one that was not signed could spoil the signature
        self._headers = {"Content-Type": "", **headers}
        self.type = type

    @classmethod
    def of(cls, rest: RestClient, info: Json) -> Signed:
        """Return the URL of an ``ArtifactCredentialInfo``.

        :param rest: Client of the workspace.
        :param info: With ``signed_uri``, ``headers`` and ``type``.
        """
        parts = urlsplit(info["signed_uri"])
        client = rest.without_credentials(f"{parts.scheme}://{parts.netloc}")
        headers = {str(header["name"]): str(header["value"]) for header in info.get("headers") or ()}
        return cls(client, parts.path, parts.query, headers, str(info.get("type") or ""))

    def stream(self, start: int) -> ContextManager[Iterator[bytes]]:
        """GET the file from a byte on."""
        return self._rest.stream(self._path, self._query, headers=self._headers, start=start)

    def send(
        self,
        method: str,
        body: Optional[bytes] = None,
        more: str = "",
        headers: Optional[Dict[str, str]] = None,
        open_body: Optional[OpenBody] = None,
        size: int = 0,
    ) -> Any:
        """Send a request that may be repeated, and return the reply.

        :param more: Is added to the query.
        :param headers: Are sent, too.
        """
        query = "&".join(filter(None, (self._query, more)))
        return self._rest.request(
            method, self._path, query, body,
            headers={**self._headers, **(headers or {})}, open_body=open_body, size=size,
        )  # fmt: skip


@contextmanager
def read_signed(sign: Callable[[], Signed]) -> Iterator[Iterator[bytes]]:
    """Read a file; a URL that has expired is renewed, and what broke off is gone on with.

    :param sign: Gives a new URL.
    :raises Refused: The store answered 4xx, also to a new URL.
    :raises Unavailable: It did not answer, or the body broke off again and again without a byte's progress.
    """
    yield _blocks(sign)


def _blocks(sign: Callable[[], Signed]) -> Iterator[bytes]:
    done, failed = 0, 0
    while True:
        signed = sign()
        try:
            with signed.stream(done) as blocks:
                for block in blocks:
                    done += len(block)
                    failed = 0
                    yield block
            return
        except NotFound as ex:  # of a store, which has no routes that could be missing
            raise NotFound(ex.message, http_status_code=404, error_code=ex.error_code or "NO_SUCH_FILE") from ex
        except (Unauthorized, Unavailable):
            failed += 1
            if failed == _ATTEMPTS:
                raise


def renewing(signed: Signed, sign: Callable[[], Signed], send: Callable[[Signed], Any]) -> Signed:
    """Send with a URL, and once more with a new one if it has expired; return the one that worked."""
    try:
        send(signed)
    except Unauthorized:
        signed = sign()
        send(signed)
    return signed
