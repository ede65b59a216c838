"""Compares a registered model with its copy, both read anew through REST: counts on both sides, values and bytes.

It shares nothing with the package but the names of the tags that a copy may have more.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Dict, List, Optional, Tuple

from tests.support.rest import API, Json, Rest, RestError

VERSION_KEY = "mlflow_exim.src_version.id"
_IDS = re.compile(rb"(?:m-)?[0-9a-f]{32}")
_LOCATION = re.compile(rb"artifact_path: .*|mlflow-artifacts:\S*")


class RegistryRest(Rest):
    """One server's registry and artifacts."""

    def model(self, name: str) -> Json:
        """A registered model."""
        return dict(self.get("registered-models/get", {"name": name})["registered_model"])

    def versions(self, name: str) -> List[Json]:
        """All its versions, by number."""
        params: Json = {"filter": f"name = '{name}'", "max_results": 500}
        found: List[Json] = []
        while True:
            reply = self.get("model-versions/search", params)
            found += reply.get("model_versions") or []
            if not reply.get("next_page_token"):
                return sorted(found, key=lambda version: int(version["version"]))
            params["page_token"] = reply["next_page_token"]

    def download_uri(self, name: str, number: str) -> str:
        """Where a version's model is."""
        found = self.get("model-versions/get-download-uri", {"name": name, "version": number})
        return str(found["artifact_uri"])

    def files(self, uri: str) -> Dict[str, str]:
        """Files below a location: path -> hash of the bytes, without what an import has to change in MLmodel files."""
        if uri.startswith("runs:/"):
            run_id, _, path = uri[len("runs:/") :].partition("/")
            found = self.run_files(run_id, path)
            return {name[len(path) :].strip("/"): _hash(name, self.run_file(run_id, name)) for name in found}
        assert uri.startswith("mlflow-artifacts:/"), uri
        root = uri[len("mlflow-artifacts:/") :].strip("/")
        return dict(self._walk(root, ""))

    def _walk(self, root: str, path: str) -> List[Tuple[str, str]]:
        where = f"{root}/{path}".rstrip("/")
        base = "/api/2.0/mlflow-artifacts/artifacts"
        found: List[Tuple[str, str]] = []
        for item in self.call("GET", base, params={"path": where}).get("files") or []:
            name = f"{path}/{item['path']}".lstrip("/")
            if item.get("is_dir"):
                found += self._walk(root, name)
            else:
                found.append((name, _hash(name, self._bytes(f"{base}/{root}/{name}", {}))))
        return found


def _hash(name: str, data: bytes) -> str:
    if name.rpartition("/")[2] == "MLmodel":
        data = _LOCATION.sub(b"", _IDS.sub(b"ID", data))
    return hashlib.sha256(data).hexdigest()


def _tags(thing: Json) -> Dict[str, str]:
    tags = {tag["key"]: tag.get("value", "") for tag in thing.get("tags") or ()}
    tags.pop(VERSION_KEY, None)
    return tags


def _described(thing: Json) -> Json:
    return {
        "description": thing.get("description") or "",
        "stage": thing.get("current_stage", "None"),
        "tags": _tags(thing),
    }


def model_differences(
    src: Tuple[str, str], dst: Tuple[str, str], *, only: Optional[List[int]] = None, run_gone: Tuple[int, ...] = ()
) -> List[str]:
    """Every difference between a registered model and its copy; empty if there is none.

    :param src: Server and name of the source.
    :param dst: Server and name of the copy.
    :param only: The numbers that should be there; default all.
    :param run_gone: Numbers whose run the source no longer has, so that its model can't be compared.
    """
    sides = [RegistryRest(uri) for uri, _ in (src, dst)]
    try:
        models = [side.model(name) for side, name in zip(sides, (src[1], dst[1]))]
    except RestError as ex:
        return [str(ex)]
    found: List[str] = []

    def equal(what: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            found.append(f"{what}: {ours!r} became {theirs!r}")

    equal("model", _described(models[0]), _described(models[1]))
    aliases = [{a["alias"]: a["version"] for a in model.get("aliases") or ()} for model in models]
    if only is not None:
        aliases[0] = {alias: number for alias, number in aliases[0].items() if int(number) in only}
    equal("aliases", *aliases)
    versions = [{int(v["version"]): v for v in side.versions(name)} for side, name in zip(sides, (src[1], dst[1]))]
    if only is not None:
        versions[0] = {number: version for number, version in versions[0].items() if number in only}
    equal("numbers", sorted(versions[0]), sorted(versions[1]))
    for number in sorted(versions[0].keys() & versions[1].keys()):
        ours, theirs = versions[0][number], versions[1][number]
        equal(f"version {number}", _described(ours), _described(theirs))
        if number in run_gone:
            continue
        uris = [side.download_uri(name, str(number)) for side, name in zip(sides, (src[1], dst[1]))]
        files = [side.files(uri) for side, uri in zip(sides, uris)]
        if not files[0]:
            found.append(f"version {number}: the source has no files at {uris[0]}")
        equal(f"files of version {number}", *files)
    return found


def delete_version(rest: Rest, name: str, number: int) -> None:
    """Delete a version."""
    rest.call("DELETE", f"{API}/model-versions/delete", json={"name": name, "version": str(number)})
