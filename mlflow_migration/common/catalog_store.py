"""Where Unity Catalog keeps the files of a version: reached with credentials that it gives for a while."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, Callable, ContextManager, Dict, Iterator, List, Mapping, Tuple
from urllib.parse import unquote, urlsplit

from mlflow_migration.client.databricks import directory_entries
from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.client.signed_urls import Signed, read_signed, renewing
from mlflow_migration.client.unity_catalog import UnityCatalog
from mlflow_migration.common.artifact_stores import File, LocalStore, RepositoryStore, Store, sorted_out

Json = Dict[str, Any]

_DEFAULT_STORAGE = "DEFAULT_STORAGE"


def catalog_store(registry: UnityCatalog, name: str, number: str, uri: str, *, writes: bool = False) -> Store:
    """Return the store of a version's files.

    :param uri: Where the registry says that they are.
    :param writes: They are going to be written.
    :raises MlflowExportImportException: It gives no credentials that this package can use.
    """
    if urlsplit(uri).scheme == "file":
        return LocalStore(unquote(urlsplit(uri).path))
    credentials = registry.credentials(name, number, writes)
    if credentials.get("storage_mode") == _DEFAULT_STORAGE:
        return _SignedStore(registry, f"/Models/{name.replace('.', '/')}/{number}")
    return _CloudStore(uri, credentials, lambda: registry.credentials(name, number, writes))


class _SignedStore(Store):
    """Databricks' own storage, where each file has a signed URL.

    :param root: Directory of the version.
    """

    def __init__(self, registry: UnityCatalog, root: str) -> None:
        self._registry, self._root = registry, root

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        return sorted_out(directory_entries(self._registry.server.rest, self._root, path), exact=True)

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        return read_signed(lambda: self._signed(path, False))

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        def put(to: Signed) -> None:
            to.send("PUT", open_body=open_body, size=size)

        renewing(self._signed(path, True), lambda: self._signed(path, True), put)

    def _signed(self, path: str, writes: bool) -> Signed:
        return self._registry.signed_url(posixpath.join(self._root, path), writes)


class _CloudStore(RepositoryStore):
    """An object store, reached by MLflow's repository for it with credentials for this version alone.

    :param uri: Where the files are.
    :param credentials: The first ones.
    :param renew: Gives new ones.
    """

    def __init__(self, uri: str, credentials: Json, renew: Callable[[], Json]) -> None:
        super().__init__(uri)
        self._credentials, self._renew = credentials, renew

    @property
    def location(self) -> None:
        """None: nothing else may be copied to or from there with these credentials."""

    def repository(self) -> Any:
        if self._repository is None:
            self._repository = _repository(self._uri, self._credentials, self._renew)
        return self._repository

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        try:
            with super().read(path) as blocks:
                yield blocks
        except ImportError as ex:
            raise _lacks(ex) from None


def _repository(uri: str, credentials: Json, renew: Callable[[], Json]) -> Any:
    """Return MLflow's repository for the credentials that are there: of AWS, Azure, Google or Cloudflare."""
    makers: Mapping[str, Callable[[str, Json, Callable[[], Json]], Any]] = {
        "aws_temp_credentials": _s3,
        "azure_user_delegation_sas": _azure,
        "gcp_oauth_token": _google,
        "r2_temp_credentials": _r2,
    }
    kind = next((kind for kind in makers if credentials.get(kind)), None)
    if kind is None:
        raise MlflowExportImportException(f"Unity Catalog gives no credentials for {uri} that are known here")
    try:
        return makers[kind](uri, credentials, renew)
    except ImportError as ex:
        raise _lacks(ex) from None


def _lacks(ex: ImportError) -> MlflowExportImportException:
    return MlflowExportImportException(f"the store of Unity Catalog needs a package that is not installed: {ex.name}")


def _keys(found: Json) -> Json:
    return {name: found[name] for name in ("access_key_id", "secret_access_key", "session_token")}


def _s3(uri: str, credentials: Json, renew: Callable[[], Json]) -> Any:
    from mlflow.store.artifact.optimized_s3_artifact_repo import OptimizedS3ArtifactRepository

    def keys(found: Json) -> Json:
        return {**_keys(found["aws_temp_credentials"]), "s3_upload_extra_args": _encryption(found)}

    first = {name: value for name, value in keys(credentials).items() if value}  # older ones know no extra_args
    return OptimizedS3ArtifactRepository(uri, **first, credential_refresh_def=lambda: keys(renew()))


def _encryption(credentials: Json) -> Json:
    details = (credentials.get("encryption_details") or {}).get("sse_encryption_details") or {}
    if details.get("algorithm") == "AWS_SSE_S3":
        return {"ServerSideEncryption": "AES256"}
    if details.get("algorithm") == "AWS_SSE_KMS":
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": details.get("aws_kms_key_arn")}
    return {}


def _r2(uri: str, credentials: Json, renew: Callable[[], Json]) -> Any:
    from mlflow.store.artifact.r2_artifact_repo import R2ArtifactRepository

    def keys(found: Json) -> Json:
        return _keys(found["r2_temp_credentials"])

    return R2ArtifactRepository(uri, **keys(credentials), credential_refresh_def=lambda: keys(renew()))


def _azure(uri: str, credentials: Json, renew: Callable[[], Json]) -> Any:
    from mlflow.store.artifact.azure_data_lake_artifact_repo import AzureDataLakeArtifactRepository

    def credential(found: Json) -> Any:
        sas = found["azure_user_delegation_sas"]["sas_token"]
        return import_module("azure.core.credentials").AzureSasCredential(sas)

    return AzureDataLakeArtifactRepository(
        uri, credential=credential(credentials), credential_refresh_def=lambda: {"credential": credential(renew())}
    )


def _google(uri: str, credentials: Json, renew: Callable[[], Json]) -> Any:
    from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

    def token(found: Json) -> str:
        return str(found["gcp_oauth_token"]["oauth_token"])

    login = import_module("google.oauth2.credentials").Credentials(token(credentials))
    client = import_module("google.cloud.storage").Client(project="mlflow", credentials=login)
    return GCSArtifactRepository(uri, client=client, credential_refresh_def=lambda: {"oauth_token": token(renew())})
