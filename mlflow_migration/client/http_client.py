"""Send single requests: the http-client script, and the classes that users of older tools know."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, Mapping, Optional, Union

import requests

from mlflow_migration.client import json_codec
from mlflow_migration.client.credentials import Connection, connect, resolve_uri
from mlflow_migration.client.errors import BadInput, MlflowExportImportException, Refused
from mlflow_migration.client.rest_client import RestClient

MLFLOW_API = "api/2.0/mlflow"
DATABRICKS_API = "api/2.0"

Data = Union[None, str, bytes, Mapping[str, Any]]


class HttpClient:
    """Sends requests to one API of a server. Failures raise MlflowExportImportException.

    :param api_name: Path that each resource is below, such as ``api/2.0/mlflow``.
    :param host: URI of the server, or name of a Databricks profile. Default: as for every command.
    :param token: Bearer token; default: the credentials that belong to the host.
    :param connection: Use this one instead of host and token.
    """

    def __init__(
        self,
        api_name: str,
        host: Optional[str] = None,
        token: Optional[str] = None,
        *,
        connection: Optional[Connection] = None,
    ) -> None:
        if host and not host.startswith(("http:", "https:", "databricks")):
            host = f"databricks://{host}"
        self.connection = connection or connect(host, token=token)
        self.api_uri = f"{self.connection.url}/{api_name}"
        self._path = f"/{api_name}/"
        self._client = RestClient(self.connection, workers=1)

    def get(self, resource: str, params: Data = None) -> Dict[str, Any]:
        """GET a JSON document.

        :param resource: Resource of the API, such as ``experiments/search``.
        :param params: Parameters; sent in the query.
        :return: The decoded document.
        """
        return _decoded(self._get(resource, params))

    def post(self, resource: str, data: Data = None) -> Dict[str, Any]:
        """POST a JSON document, once: after a failure it is not known whether it took effect."""
        return _decoded(self._post(resource, data))

    def put(self, resource: str, data: Data = None) -> Dict[str, Any]:
        """PUT a JSON document."""
        return _decoded(self._put(resource, data))

    def patch(self, resource: str, data: Data = None) -> Dict[str, Any]:
        """PATCH with a JSON document."""
        return _decoded(self._patch(resource, data))

    def delete(self, resource: str, *, data: Data = None) -> Dict[str, Any]:
        """DELETE, with a JSON document if the API wants one."""
        return _decoded(self._delete(resource, data))

    def _get(self, resource: str, params: Data = None) -> requests.Response:
        query = _parsed(params, "params") if isinstance(params, (str, bytes)) else params
        return self._send("GET", resource, params=query)

    def _post(self, resource: str, data: Data = None) -> requests.Response:
        return self._send("POST", resource, body=_encoded(data), retry=False)

    def _put(self, resource: str, data: Data = None) -> requests.Response:
        return self._send("PUT", resource, body=_encoded(data))

    def _patch(self, resource: str, data: Data = None) -> requests.Response:
        return self._send("PATCH", resource, body=_encoded(data))

    def _delete(self, resource: str, data: Data = None) -> requests.Response:
        return self._send("DELETE", resource, body=_encoded(data) if data else None)

    def _send(self, method: str, resource: str, **options: Any) -> requests.Response:
        return self._client.request(method, self._path + resource.lstrip("/"), **options)

    def get_api_uri(self) -> str:
        """Return the URI that resources are below."""
        return self.api_uri

    def get_token(self) -> Optional[str]:
        """Return the bearer token that is sent, or None."""
        request = requests.Request("GET", self.api_uri, headers=dict(self.connection.headers)).prepare()
        if self.connection.auth:
            request = self.connection.auth(request)
        scheme, _, token = str(request.headers.get("Authorization", "")).partition(" ")
        return token if scheme.lower() == "bearer" else None

    def __repr__(self) -> str:
        return self.api_uri


class DatabricksHttpClient(HttpClient):
    """Sends requests to the Databricks API of a workspace. Parameters as for :class:`HttpClient`."""

    def __init__(
        self, host: Optional[str] = None, token: Optional[str] = None, *, connection: Optional[Connection] = None
    ) -> None:
        super().__init__(DATABRICKS_API, host, token, connection=connection)


class MlflowHttpClient(HttpClient):
    """Sends requests to the MLflow API of a server. Parameters as for :class:`HttpClient`."""

    def __init__(
        self, host: Optional[str] = None, token: Optional[str] = None, *, connection: Optional[Connection] = None
    ) -> None:
        super().__init__(MLFLOW_API, host, token, connection=connection)


def _encoded(data: Data) -> Any:
    return data.encode() if isinstance(data, str) else {} if data is None else data


def _decoded(response: requests.Response) -> Dict[str, Any]:
    try:
        return _parsed(response.content or b"{}", f"the reply to {response.request.method}")
    except BadInput as ex:
        raise MlflowExportImportException(ex.message, http_status_code=response.status_code) from None


def _parsed(text: Union[str, bytes], what: str) -> Dict[str, Any]:
    try:
        doc = json_codec.loads(text)
    except ValueError:
        doc = None
    if not isinstance(doc, dict):
        raise BadInput(f"This is no JSON object: {what}.")
    return doc


def send(
    api: str,
    resource: str,
    method: str = "GET",
    params: Optional[str] = None,
    data: Optional[str] = None,
    *,
    tracking_uri: Optional[str] = None,
) -> bytes:
    """Send one request, as the http-client script does.

    :param api: ``mlflow`` or ``databricks``.
    :param resource: Resource of the API, such as ``experiments/search``.
    :param method: HTTP method.
    :param params: Parameters of a GET: JSON, or ``@FILE`` with JSON.
    :param data: Body of the other methods: likewise.
    :param tracking_uri: Server or local store; default as for every command. Of a local store a GET sees a copy.
    :return: The body of the reply.
    :raises BadInput: A file can't be read or holds no JSON, or it is for another method.
    :raises MlflowExportImportException: The server refuses, or does not answer.
    """
    from mlflow_migration.client import local_server

    if method == "GET" and data is not None:
        raise BadInput("A GET has no --data: give its parameters as --params.")
    if method != "GET" and params is not None:
        raise BadInput(f"A {method} has no --params: give its body as --data.")
    content = _document(params, "--params") if method == "GET" else _document(data, "--data")
    uri = resolve_uri(tracking_uri)
    with ExitStack() as stack:
        if not local_server.is_server_uri(uri):
            uri = stack.enter_context(local_server.serve(uri, writable=method != "GET"))
        client = HttpClient(DATABRICKS_API if api == "databricks" else MLFLOW_API, uri)
        sender = getattr(client, f"_{method.lower()}")
        response: requests.Response = sender(resource, content)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise Refused(
                f"{client.connection.uri} answers with a web page: is it the address of an MLflow tracking server, and"
                " are the credentials right?",
                http_status_code=response.status_code,
            )
        return response.content


def _document(text: Optional[str], option: str) -> Data:
    if text is None:
        return None
    if not text.startswith("@"):
        return _parsed(text, f"the value of {option}")
    try:
        with open(text[1:], "rb") as file:
            return _parsed(file.read(), f"the file of {option}")
    except OSError as ex:
        raise BadInput(f"The file {text[1:]} of {option} can't be read: {ex.strerror}.") from ex


def _save(content: bytes, output_file: str) -> None:
    with open(output_file, "wb") as file:
        file.write(content)


def __getattr__(name: str) -> Any:
    # the command line is made of what `common` has, and this layer imports `common` nowhere else: it is made on demand
    if name != "main":
        raise AttributeError(name)
    from mlflow_migration.common.cli import command, echo

    @command(
        "http-client",
        *("api", "resource", "method", "params", "data", "tracking_uri", "output_file"),
        common=("quiet", "verbose"),
        prints_data=True,
    )
    def main(
        api: str,
        resource: str,
        method: str,
        params: Optional[str],
        data: Optional[str],
        tracking_uri: Optional[str],
        output_file: Optional[str],
        **_: bool,
    ) -> int:
        content = send(api, resource, method, params, data, tracking_uri=tracking_uri)
        if output_file:
            _save(content, output_file)
        else:
            echo(content.decode("utf-8", "replace"))
        return 0

    return main


if __name__ == "__main__":
    __getattr__("main")()
