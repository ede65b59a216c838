"""What callers of today's two tools call: functions with their parameters, scripts with their options."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any, Dict, List, Set, Tuple

import pytest

from mlflow_migration.common import MlflowExportImportException, umbrella
from mlflow_migration.common.options import BOOL

# Parameters after the module and function, as both tools together have them: in this order, with these defaults.
# One of the tools lacks those in brackets, and has what follows them further to the front.
FUNCTIONS = {
    "experiment.export_experiment.export_experiment": (
        "experiment_id_or_name output_dir run_ids=None export_permissions=False run_start_time=None "
        "export_deleted_runs=False check_nested_runs=False notebook_formats=None "
        "[runs_until=None logged_models_filter=None] mlflow_client=None"
    ),
    "experiment.import_experiment.import_experiment": (
        "experiment_name input_dir import_source_tags=False import_permissions=False use_src_user_id=False "
        "dst_notebook_dir=None mlflow_client=None"
    ),
    "run.export_run.export_run": (
        "run_id output_dir export_deleted_runs=False skip_download_run_artifacts=False notebook_formats=None "
        "raise_exception=False mlflow_client=None export_logged_models=False"
    ),
    "run.import_run.import_run": (
        "input_dir experiment_name import_source_tags=False dst_notebook_dir=None use_src_user_id=False "
        "mlmodel_fix=True [import_logged_models=False] mlflow_client=None"
    ),
    "logged_model.export_logged_model.export_logged_model": "model_id output_dir mlflow_client=None",
    "logged_model.import_logged_model.import_logged_model": (
        "input_dir experiment_name run_id=None mlmodel_fix=True model_type=None step=None mlflow_client=None"
    ),
    "bulk.export_logged_models.export_logged_models": (
        "experiment_ids output_dir logged_models_filter=None mlflow_client=None"
    ),
    "bulk.import_logged_models.import_logged_models": "input_dir mlflow_client=None",
    "model.export_model.export_model": (
        "model_name output_dir stages=None versions=None export_latest_versions=False export_version_model=False "
        "export_permissions=False export_deleted_runs=False notebook_formats=None mlflow_client=None"
    ),
    "model.import_model.import_model": (
        "model_name experiment_name input_dir delete_model=False import_permissions=False import_source_tags=False "
        "verbose=False await_creation_for=None mlflow_client=None"
    ),
    "model.import_model.ModelImporter": (
        "mlflow_client=None import_permissions=False import_source_tags=False await_creation_for=None"
    ),
    "model.import_model.ModelImporter.import_model": (
        "self model_name input_dir experiment_name delete_model=False verbose=False"
    ),
    "model.import_model.ModelImporter.import_version": "self model_name src_vr dst_run_id input_dir=None",
    "model.import_model.BulkModelImporter": (
        "run_info_map import_permissions=False import_source_tags=False experiment_renames=None "
        "await_creation_for=None mlflow_client=None"
    ),
    "model.import_model.BulkModelImporter.import_model": "self model_name input_dir delete_model=False verbose=False",
    "model.import_model.BulkModelImporter.import_version": "self model_name src_vr dst_run_id input_dir=None",
    "model_version.export_model_version.export_model_version": (
        "model_name version output_dir export_version_model=False vrm_model_artifact_path='' "
        "skip_download_run_artifacts=False export_permissions=False notebook_formats=None mlflow_client=None"
    ),
    "model_version.import_model_version.import_model_version": (
        "model_name experiment_name input_dir create_model=False import_permissions=False import_source_tags=False "
        "import_stages_and_aliases=True import_metadata=False [model_id=None] mlflow_client=None"
    ),
    "bulk.export_all.export_all": (
        "output_dir run_start_time=None runs_until=None stages='' export_latest_versions=False "
        "export_deleted_runs=False export_version_model=False export_permissions=False notebook_formats=None "
        "use_threads=False mlflow_client=None"
    ),
    "bulk.import_all.import_all": (
        "input_dir delete_model delete_prompt=False delete_dataset=False import_permissions=False "
        "import_source_tags=False use_src_user_id=False experiment_renames=None model_renames=None verbose=False "
        "use_threads=False mlflow_client=None"
    ),
    "bulk.export_models.export_models": (
        "model_names output_dir stages='' export_latest_versions=False export_all_runs=False export_permissions=False "
        "run_start_time=None runs_until=None export_deleted_runs=False export_version_model=False "
        "notebook_formats=None use_threads=False mlflow_client=None"
    ),
    "bulk.import_models.import_models": (
        "input_dir delete_model import_permissions=False import_source_tags=False use_src_user_id=False "
        "experiment_renames=None model_renames=None verbose=False use_threads=False mlflow_client=None"
    ),
    "bulk.export_experiments.export_experiments": (
        "experiments output_dir export_permissions=False run_start_time=None runs_until=None "
        "export_deleted_runs=False notebook_formats=None use_threads=False [logged_models_filter=None] "
        "mlflow_client=None"
    ),
    "bulk.import_experiments.import_experiments": (
        "input_dir import_permissions=False import_source_tags=False use_src_user_id=False experiment_renames=None "
        "use_threads=False mlflow_client=None"
    ),
    "bulk.rename_utils.read_rename_file": "path",
    "bulk.rename_utils.rename": "name replacements object_name='object'",
    "bulk.rename_utils.get_renames": "filename_or_dict",
    "prompt.export_prompt.export_prompt": "prompt_name prompt_version output_dir mlflow_client=None",
    "prompt.import_prompt.import_prompt": "input_dir prompt_name=None delete_prompt=False mlflow_client=None",
    "evaluation_dataset.export_evaluation_dataset.export_evaluation_dataset": (
        "output_dir dataset_name=None dataset_id=None mlflow_client=None"
    ),
    "evaluation_dataset.import_evaluation_dataset.import_evaluation_dataset": (
        "input_dir dataset_name=None delete_dataset=False mlflow_client=None"
    ),
    "bulk.export_evaluation_datasets.export_evaluation_datasets": (
        "output_dir dataset_names=None experiment_ids=None use_threads=False mlflow_client=None"
    ),
    "bulk.import_evaluation_datasets.import_evaluation_datasets": (
        "input_dir delete_dataset=False use_threads=False mlflow_client=None"
    ),
    "bulk.export_prompts.export_prompts": "output_dir prompt_names=None use_threads=False mlflow_client=None",
    "bulk.import_prompts.import_prompts": "input_dir delete_prompt=False use_threads=False mlflow_client=None",
    "tools.get_model_signature.get_model_signature": "model_uri use_get_model_info=False",
    "tools.set_model_signature.set_signature": "model_uri input_file output_file overwrite_signature",
    "tools.list_model_versions_without_signatures.as_pandas_df": "filter use_get_model_info=False",
    "tools.list_model_versions_without_signatures.show": "filter output_file use_get_model_info",
    "tools.list_model_versions_without_signatures.search_model_versions": "client filter",
    "tools.signature_utils.to_json_signature": "sig",
    "common.find_artifacts.find_run_model_names": "client run_id",
    "common.find_artifacts.find_artifacts": f"client run_id path target max_level={sys.maxsize}",
    "copy.copy_run.copy": "src_run_id dst_experiment_name src_mlflow_uri=None dst_mlflow_uri=None",
    "copy.copy_model_version.copy": (
        "src_model_name src_model_version dst_model_name dst_experiment_name=None src_tracking_uri=None "
        "dst_tracking_uri=None src_registry_uri=None dst_registry_uri=None copy_permissions=False "
        "copy_stages_and_aliases=False copy_lineage_tags=False verbose=False"
    ),
    "copy.copy_run._copy": "src_run_id dst_experiment_name src_client=None dst_client=None",
    "verify.verify_migration.verify_migration": "src_mlflow_uri=None dst_mlflow_uri=None",
    "client.client_utils.create_http_client": "client model_name=None",
    "client.client_utils.create_dbx_client": "client",
    "client.client_utils.create_mlflow_client": "",
    "client.http_client.HttpClient": "api_name host=None token=None",
    "client.http_client.DatabricksHttpClient": "host=None token=None",
    "client.http_client.MlflowHttpClient": "host=None token=None",
    "client.http_client.HttpClient.get": "self resource params=None",
    "client.http_client.HttpClient.post": "self resource data=None",
    "client.http_client.HttpClient.put": "self resource data=None",
    "client.http_client.HttpClient.patch": "self resource data=None",
    "client.http_client.HttpClient.delete": "self resource",
    "client.http_client.HttpClient.get_api_uri": "self",
    "client.http_client.HttpClient.get_token": "self",
    "common.MlflowExportImportException": "ex message=None http_status_code=-1 **kwargs",
    "common.io_utils.write_export_file": "dir file script mlflow_attr info_attr=None",
    "common.io_utils.write_file": "path content file_type=None",
    "common.io_utils.read_file": "path file_type=None",
    "common.io_utils.get_info": "export_dct",
    "common.io_utils.get_mlflow": "export_dct",
    "common.io_utils.read_file_mlflow": "path",
    "common.io_utils.mk_manifest_json_path": "input_dir filename",
    "common.source_tags.fmt_timestamps": "tag dct tags",
    "common.source_tags.set_source_tags_for_field": "dct tags",
    "common.source_tags.mk_source_tags_mlflow_tag": "tags",
    "common.source_tags.mk_source_tags": "tags prefix",
    "common.timestamp_utils.fmt_ts_millis": "millis as_utc=True",
    "common.timestamp_utils.fmt_ts_seconds": "seconds as_utc=True",
    "common.timestamp_utils.utc_str_to_millis": "text",
    "common.timestamp_utils.utc_str_to_seconds": "text",
    "common.timestamp_utils.adjust_timestamps": "dct keys",
    "common.timestamp_utils.format_seconds": "seconds",
    "common.utils.getLogger": "name",
}

# of both tools; each command may have more
OPTIONS = {
    "export-experiment": "experiment! output-dir! run-ids export-permissions? run-start-time runs-until "
    "export-deleted-runs? check-nested-runs? notebook-formats",
    "import-experiment": "experiment-name! input-dir! import-permissions? import-source-tags? use-src-user-id? "
    "dst-notebook-dir",
    "export-run": "run-id! output-dir! notebook-formats",
    "import-run": "input-dir! experiment-name! import-source-tags? use-src-user-id? dst-notebook-dir mlmodel-fix?",
    "export-logged-model": "model-id! output-dir!",
    "import-logged-model": "input-dir! experiment-name! mlmodel-fix?",
    "export-logged-models": "experiment-ids! output-dir!",
    "import-logged-models": "input-dir!",
    "export-model": "model! output-dir! stages versions export-latest-versions? export-version-model? "
    "export-deleted-runs? export-permissions? notebook-formats",
    "import-model": "input-dir! model! experiment-name! delete-model? import-permissions? import-source-tags? "
    "await-creation-for verbose?",
    "export-model-version": "model! version! output-dir! vrm-export-version-model? vrm-model-artifact-path "
    "skip-download-run-artifacts? export-permissions? notebook-formats",
    "import-model-version": "model! experiment-name! input-dir! create-model? import-permissions? "
    "import-source-tags? import-stages-and-aliases? import-metadata?",
    "copy-model-version": "src-model! src-version! dst-model src-registry-uri dst-registry-uri dst-experiment-name "
    "copy-permissions? copy-stages-and-aliases? copy-lineage-tags? verbose?",
    "copy-run": "run-id! experiment-name! src-mlflow-uri dst-mlflow-uri",
    "export-all": "output-dir! export-latest-versions? stages run-start-time runs-until export-deleted-runs? "
    "export-version-model? export-permissions? notebook-formats use-threads?",
    "import-all": "input-dir! delete-model? import-permissions? experiment-rename-file model-rename-file "
    "import-source-tags? use-src-user-id? use-threads? verbose? delete-prompt? delete-evaluation-dataset?",
    "export-models": "models! output-dir! export-latest-versions? export-all-runs? stages export-permissions? "
    "export-deleted-runs? export-version-model? notebook-formats use-threads? run-start-time runs-until",
    "import-models": "input-dir! delete-model? import-permissions? experiment-rename-file model-rename-file "
    "import-source-tags? use-src-user-id? use-threads? verbose?",
    "export-experiments": "experiments! output-dir! export-permissions? run-start-time runs-until "
    "export-deleted-runs? notebook-formats use-threads?",
    "import-experiments": "input-dir! import-permissions? import-source-tags? use-src-user-id? "
    "experiment-rename-file use-threads?",
    "export-prompt": "prompt-name prompt-version! output-dir!",
    "import-prompt": "input-dir! prompt-name delete-prompt?",
    "export-prompts": "output-dir! prompts! use-threads?",
    "export-evaluation-dataset": "dataset-name dataset-id output-dir!",
    "import-evaluation-dataset": "input-dir! evaluation-dataset-name delete-evaluation-dataset?",
    "export-evaluation-datasets": "output-dir! evaluation-datasets! experiment-ids use-threads?",
    "import-evaluation-datasets": "input-dir! delete-evaluation-dataset? use-threads?",
    "import-prompts": "input-dir! delete-prompt? use-threads?",
    "get-model-signature": "model-uri! output-file use-get-model-info?",
    "set-model-signature": "model-uri! input-file! output-file overwrite-signature?",
    "list-model-versions-without-signatures": "filter output-file use-get-model-info?",
    "find-artifacts": "run-id! path target! max-level",
    "filter_one_model": "input-dir! output-dir! src-model! dst-model dst-experiment",
    "rewrite_export": "input-dir! custom-rewriters-module!",
    "run_submit": "profile spec-file! sleep-seconds timeout-seconds verbose?",
    "verify-migration": "src-mlflow-uri dst-mlflow-uri src-registry-uri dst-registry-uri input-dir experiments models "
    "prompts experiment-rename-file model-rename-file depth export-deleted-runs? report-dir",
    "make-report": "report-dir",
    "http-client": "api resource! method params data output-file",
}
DEFAULTS = {"mlmodel_fix": True, "depth": "metadata", "use_threads": None, "api": "mlflow", "method": "GET",
            "sleep_seconds": 5.0}  # fmt: skip


def found(path: str) -> Any:
    """What a dotted path below the package names."""
    parts, thing = path.split("."), importlib.import_module("mlflow_migration")
    for at, part in enumerate(parts):
        if not hasattr(thing, part):
            importlib.import_module(".".join(["mlflow_migration", *parts[: at + 1]]))
        thing = getattr(thing, part)
    return thing


def shape(function: Any) -> Tuple[List[str], List[inspect.Parameter]]:
    """The parameters as the table above writes them, and those that are keyword-only."""
    positional, named = [], []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named.append(parameter)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            positional.append(f"**{parameter.name}")
        else:
            assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, parameter
            default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}"
            positional.append(parameter.name + default)
    return positional, named


@pytest.mark.parametrize("path", FUNCTIONS)
def test_parameters(path: str) -> None:
    """Names, order and defaults are those of today's tools; what is new comes after them, by name only."""
    positional, named = shape(found(path))
    assert positional == FUNCTIONS[path].replace("[", "").replace("]", "").split()
    assert all(parameter.default is not inspect.Parameter.empty for parameter in named)


class ReachedError(Exception):
    """What was looked for has happened."""


class Client:
    """As much of an MlflowClient as shows that it is asked, and as what."""

    tracking_uri = "http://given"

    @property
    def _tracking_client(self) -> Any:
        raise ReachedError


@pytest.mark.parametrize("path", [path for path in FUNCTIONS if "[" in FUNCTIONS[path]])
@pytest.mark.parametrize("both", [True, False])
def test_a_client_without_its_name(
    path: str, both: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two tools have it at different places, and at either it decides which server is meant."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another.invalid")
    before, _, rest = FUNCTIONS[path].partition("[")
    extra = rest.partition("]")[0].split()
    defaults: Dict[str, Any] = {"None": None, "False": False, "True": True}
    args = [defaults.get(text.partition("=")[2], str(tmp_path)) for text in before.split()]
    args += [defaults[text.partition("=")[2]] for text in extra] if both else []
    with pytest.raises(ReachedError):
        found(path)(*args, Client())


def test_kinds_of_errors() -> None:
    """A caller reads the attributes of an error, and its text is JSON of them."""
    inner = ValueError("inner")
    ex = MlflowExportImportException(inner, "outer", 404, key="value")
    assert (ex.message, ex.src_message, ex.src_exception, ex.http_status_code) == ("outer", "inner", inner, 404)
    assert ex.kwargs == {"message": "outer", "http_status_code": 404, "src_message": "inner", "key": "value"}
    plain = MlflowExportImportException("words")
    assert (plain.message, plain.src_message, plain.src_exception, plain.http_status_code) == (
        "words", "words", None, -1,
    )  # fmt: skip
    for name in ("BadInput", "BadDirectory", "Unavailable", "Refused", "NotFound", "Unauthorized"):
        assert issubclass(found(f"client.errors.{name}"), MlflowExportImportException)


# ---- options


def words(name: str) -> Set[str]:
    """The options that a command must have."""
    return {word.rstrip("!?") for word in OPTIONS[name].split()}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str) -> None:
    """Every option of today's tools is there, required where it was, and of its type and default."""
    params = {flag: param for param in umbrella.load(name).params for flag in param.opts}
    assert {f"--{word}" for word in words(name)} <= set(params)
    needed = [word for param in params.values() if param.required for word in (param.opts[0], "given")]
    got = umbrella.load(name).make_context(name, needed).params
    for word in OPTIONS[name].split():
        param = params["--" + word.rstrip("!?")]
        key = str(param.name)
        assert param.required == word.endswith("!"), word
        assert (param.type is BOOL) == (word.endswith("?")), word
        assert param.required or got[key] == DEFAULTS.get(key, False if word.endswith("?") else None), word


@pytest.mark.parametrize("name", umbrella.ALL)
def test_bool_options(name: str) -> None:
    """Each of them takes a value, in any case, and is a flag as well, wherever it stands."""
    command = umbrella.load(name)
    needed = [word for param in command.params if param.required for word in (param.opts[0], "given")]
    flags = [param for param in command.params if param.type is BOOL]
    assert flags

    def parsed(*args: str) -> Dict[str, Any]:
        return command.make_context(name, list(args)).params

    for param in flags:
        key, flag = str(param.name), param.opts[0]
        for text, value in (("True", True), ("False", False), ("true", True), ("false", False)):
            assert parsed(*needed, flag, text)[key] is value
            assert parsed(f"{flag}={text}", *needed)[key] is value
        assert parsed(*needed, flag)[key] is True
        got = parsed(flag, *needed)
        assert got[key] is True
        assert all(got[str(other.name)] in ("given", ["given"]) for other in command.params if other.required)
