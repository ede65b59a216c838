"""Classes of today's tools, for callers that have imported the runs of versions themselves."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, Optional

from mlflow_migration.client.errors import BadDirectory, MlflowExportImportException
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.object_files import read_model
from mlflow_migration.common.old_layouts import canonical_version
from mlflow_migration.common.session import open_job, tell
from mlflow_migration.model.carriers import Source
from mlflow_migration.model.destination import VersionSettings
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.model.sources import locate
from mlflow_migration.run.run_importer import ImportSettings

Json = Dict[str, Any]


class _GivenRuns:
    """Makes versions from runs that are there: see ``model_importer.Sources``."""

    def __init__(self, tracking: Tracking, run_ids: Mapping[str, str]) -> None:
        self._tracking, self._run_ids = tracking, run_ids

    def source(self, version: Json) -> Source:
        """Return the place of a version's model in the run that was made from its own."""
        self.check(version)
        run_id = version["run_id"]
        roots = {run_id: version.get("_run_artifact_uri") or ""}
        place = locate(version["source"], version["_download_uri"], roots, {})
        if place is None:
            raise BadDirectory(f"its source {version['source']} is not in its run {run_id}")
        root = self._tracking.run(self._run_ids[run_id])["info"]["artifact_uri"]
        return Source(posixpath.join(root, place.path).rstrip("/"), self._run_ids[run_id])

    def holds(self, version: Json) -> bool:
        """No run is made for it."""
        return False

    def check(self, version: Json) -> None:
        """Refuse a version whose run is not given."""
        if version["run_id"] not in self._run_ids:
            raise BadDirectory(f"its run {version['run_id'] or ''} is not among those that were imported")


class _Importer:
    """What both classes share.

    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    """

    def __init__(self, mlflow_client: Any, import_source_tags: bool, import_permissions: bool) -> None:
        self._client = mlflow_client
        self._settings = ImportSettings(source_tags=import_source_tags, permissions=import_permissions)

    @contextmanager
    def _opened(self, about: Mapping[str, Any]) -> Iterator[Any]:
        with open_tracking(None, "dst", mlflow_client=self._client) as tracking, open_registry(
            tracking, None, "dst"
        ) as registry, Ledger(None, "import_model", about) as ledger, open_job(
            ledger, "versions", {"quiet": True}
        ) as job:
            yield tracking, registry, job
            tell(ledger)

    def _import(
        self,
        registry: Registry,
        tracking: Tracking,
        job: Job,
        doc: Json,
        name: str,
        how: VersionSettings,
        run_ids: Mapping[str, str],
        delete: bool = False,
    ) -> RegisteredModelImporter:
        importer = RegisteredModelImporter(registry, job, self._settings, how, IdMap(None, tracking.identity), name)
        conflicts = importer.prepare(doc, anew=delete)
        if conflicts:
            importer.refuse(conflicts)
            return importer
        given = _GivenRuns(tracking, run_ids)
        if delete:
            for version in doc["versions"]:
                given.check(version)
            registry.delete_model(name)
        importer.import_model(given)
        return importer

    def import_version(
        self, model_name: str, src_vr: Mapping[str, Any], dst_run_id: str, input_dir: Optional[str] = None
    ) -> Any:
        """Make a version from a run that has been imported; it gets the next free number.

        :param model_name: Name of the destination's registered model; it is created if absent.
        :param src_vr: The source's version, as ``model.json`` lists it.
        :param dst_run_id: Id of the destination's run.
        :param input_dir: For callers of today's tools.
        :return: The version as an MLflow entity.
        :raises MlflowExportImportException: It can't be made.
        """
        version = canonical_version(src_vr)
        version["name"] = version.get("name") or model_name
        model = {"name": version["name"], "description": "", "tags": {}}
        aliases = dict.fromkeys(version["aliases"], version["version"])
        doc = {"model": model, "versions": [version], "aliases": aliases, "failed": [], "incomplete": {}}
        how = VersionSettings("next", of_model=False, when_created=False)
        with self._opened({"model": model_name, "run_id": dst_run_id}) as (tracking, registry, job):
            importer = self._import(registry, tracking, job, doc, model_name, how, {version["run_id"]: dst_run_id})
            number = importer.numbers.get(version["version"])
            if number is None:
                raise MlflowExportImportException(job.ledger.summary())
            from mlflow_migration.model.entities import version_entity

            return version_entity(registry.version(model_name, number))


class BulkModelImporter(_Importer):
    """Imports registered models whose runs have been imported with their experiments.

    :param run_info_map: What ``import_experiments`` returns, as a dict: the destination's RunInfo by source run id, by
        source experiment id.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param experiment_renames: For callers of today's tools.
    :param await_creation_for: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    """

    def __init__(
        self,
        run_info_map: Mapping[str, Mapping[str, Any]],
        import_permissions: bool = False,
        import_source_tags: bool = False,
        experiment_renames: Any = None,
        await_creation_for: Optional[int] = None,
        mlflow_client: Any = None,
    ) -> None:
        super().__init__(mlflow_client, import_source_tags, import_permissions)
        of_all = (runs for runs in run_info_map.values() if runs)  # an experiment that failed has None
        self._run_ids = {src_id: info.run_id for runs in of_all for src_id, info in runs.items()}

    def import_model(self, model_name: str, input_dir: str, delete_model: bool = False, verbose: bool = False) -> None:
        """Import a registered model and its versions; each is made from the run that its own has become.

        :param model_name: Name of the destination's registered model; it is created if absent.
        :param input_dir: Directory of the exported model.
        :param delete_model: First delete the destination's model with all its versions.
        :param verbose: For callers of today's tools.
        :raises MlflowExportImportException: The import can't start.
        """
        doc = read_model(ExportDir(input_dir))
        with self._opened({"model": model_name, "input_dir": input_dir}) as (tracking, registry, job):
            self._import(registry, tracking, job, doc, model_name, VersionSettings(), self._run_ids, delete_model)


class ModelImporter(_Importer):
    """Imports registered models with their runs.

    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param await_creation_for: For callers of today's tools.
    """

    def __init__(
        self,
        mlflow_client: Any = None,
        import_permissions: bool = False,
        import_source_tags: bool = False,
        await_creation_for: Optional[int] = None,
    ) -> None:
        super().__init__(mlflow_client, import_source_tags, import_permissions)

    def import_model(
        self, model_name: str, input_dir: str, experiment_name: str, delete_model: bool = False, verbose: bool = False
    ) -> None:
        """Import a registered model; see :func:`mlflow_migration.model.import_model.import_model`."""
        from mlflow_migration.model.import_model import import_model

        import_model(
            model_name,
            experiment_name,
            input_dir,
            delete_model,
            import_permissions=self._settings.permissions,
            import_source_tags=self._settings.source_tags,
            mlflow_client=self._client,
        )
