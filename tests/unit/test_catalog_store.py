"""The store of a version of Unity Catalog: which repository of MLflow's gets which of the credentials, and new ones."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Dict, List

import pytest

from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.common.catalog_store import catalog_store

KEYS = ("access_key_id", "secret_access_key", "session_token")


class Catalog:
    """Gives credentials of one kind, other ones each time."""

    def __init__(self, kind: str, *fields: str, **more: Any) -> None:
        self.kind, self.fields, self.more, self.asked = kind, fields, more, []  # type: ignore[var-annotated]

    def credentials(self, name: str, number: str, writes: bool) -> Dict[str, Any]:
        self.asked.append((name, number, writes))
        return {self.kind: {field: f"{field} {len(self.asked)}" for field in self.fields}, **self.more}


class Made:
    """Stands for a repository or a client, and keeps what it was made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


def repository(monkeypatch: pytest.MonkeyPatch, name: str, catalog: Catalog, uri: str) -> Made:
    """What is made in the place of a repository, such as ``r2_artifact_repo.R2ArtifactRepository``."""
    pytest.importorskip("mlflow")
    monkeypatch.setattr(f"mlflow.store.artifact.{name}", Made)
    made = catalog_store(catalog, "a.b.c", "3", uri, writes=True).repository()  # type: ignore[arg-type, attr-defined]
    assert made.args == (uri,) and catalog.asked == [("a.b.c", "3", True)]
    return made  # type: ignore[no-any-return]


def keys(number: int) -> Dict[str, str]:
    return {name: f"{name} {number}" for name in KEYS}


@pytest.mark.parametrize(
    ("details", "extra"),
    [
        ({}, {}),
        ({"algorithm": "AWS_SSE_S3"}, {"ServerSideEncryption": "AES256"}),
        (
            {"algorithm": "AWS_SSE_KMS", "aws_kms_key_arn": "arn:1"},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:1"},
        ),
    ],
)
def test_aws(monkeypatch: pytest.MonkeyPatch, details: Dict[str, str], extra: Dict[str, str]) -> None:
    catalog = Catalog("aws_temp_credentials", *KEYS, encryption_details={"sse_encryption_details": details})
    name = "optimized_s3_artifact_repo.OptimizedS3ArtifactRepository"
    made = repository(monkeypatch, name, catalog, "s3://b/x")
    refresh = made.kwargs.pop("credential_refresh_def")
    assert made.kwargs == {**keys(1), **({"s3_upload_extra_args": extra} if extra else {})}
    assert refresh() == {**keys(2), "s3_upload_extra_args": extra}


def test_cloudflare(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog("r2_temp_credentials", *KEYS)
    made = repository(monkeypatch, "r2_artifact_repo.R2ArtifactRepository", catalog, "r2://b@account/x")
    refresh = made.kwargs.pop("credential_refresh_def")
    assert made.kwargs == keys(1) and refresh() == keys(2)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """Put a module into the place of one that is not installed."""
    made = ModuleType(name)
    for key, value in content.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)


def test_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "azure.core.credentials", AzureSasCredential=Made)
    catalog = Catalog("azure_user_delegation_sas", "sas_token")
    name = "azure_data_lake_artifact_repo.AzureDataLakeArtifactRepository"
    made = repository(monkeypatch, name, catalog, "abfss://c@a.dfs.core.windows.net/x")
    assert made.kwargs["credential"].args == ("sas_token 1",)
    assert made.kwargs["credential_refresh_def"]()["credential"].args == ("sas_token 2",)


def test_google(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "google.oauth2.credentials", Credentials=Made)
    module(monkeypatch, "google.cloud.storage", Client=Made)
    catalog = Catalog("gcp_oauth_token", "oauth_token")
    made = repository(monkeypatch, "gcs_artifact_repo.GCSArtifactRepository", catalog, "gs://b/x")
    assert made.kwargs["client"].kwargs["credentials"].args == ("oauth_token 1",)
    assert made.kwargs["credential_refresh_def"]() == {"oauth_token": "oauth_token 2"}


def test_what_is_not_known_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(catalog: Catalog) -> str:
        with pytest.raises(MlflowExportImportException) as caught:
            catalog_store(catalog, "a.b.c", "3", "gs://b/x").repository()  # type: ignore[arg-type, attr-defined]
        return caught.value.message

    assert "no credentials for gs://b/x that are known here" in fails(Catalog("other_credentials", "token"))
    lacking: List[str] = ["google.oauth2.credentials", "google.oauth2", "google"]
    for name in lacking:
        monkeypatch.setitem(sys.modules, name, None)
    assert "a package that is not installed: google" in fails(Catalog("gcp_oauth_token", "oauth_token"))
