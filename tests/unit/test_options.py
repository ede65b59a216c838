"""Options: what their texts become, and that the documentation has them."""

import json
import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mlflow_migration.bulk.kinds import KINDS
from mlflow_migration.client.credentials import Connection
from mlflow_migration.common import cli, options, umbrella
from mlflow_migration.common.cli import Command, command
from mlflow_migration.common.kinds import folder_of
from mlflow_migration.notebook import download_notebook
from mlflow_migration.tools import set_model_signature
from tests.support.stub import Reply, Stub, error, missing_route


def parsed(key, *args):
    got = {}
    option = options.click_option(key)
    option.required = False
    command = Command("c", params=[option], callback=lambda **values: got.update(values))
    result = CliRunner().invoke(command, list(args))
    if result.exit_code:
        assert result.exit_code == 2
        return result.output
    return got[key]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01", 0),
        ("2024-01-31", 1706659200000),
        ("2024-01-31 18:30", 1706725800000),
        ("2024-01-31 18:30:05", 1706725805000),
        ("2024-01-31T18:30:05.7", 1706725805700),
        ("2024-01-31T18:30:05.123456789Z", 1706725805123),
        ("2024-01-31T20:30:05+02:00", 1706725805000),
        ("1969-12-31 23:59:59.999", -1),
    ],
)
def test_times_are_ms_since_epoch_in_utc(text, ms):
    assert parsed("run_start_time", "--run-start-time", text) == ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-13-01", "2024-1-1", "1706659200", "2024-01-31 25:00", "20240131"]
)
def test_other_times_are_refused_with_an_example(text):
    assert "such as 2024-01-31" in parsed("runs_until", "--runs-until", text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500", 500), ("2KB", 2048), ("1.5 mb", 1572864), ("1GiB", 2**30), ("1t", 2**40)]
)
def test_sizes_are_bytes(text, size):
    assert parsed("max_artifact_size", "--max-artifact-size", text) == size


@pytest.mark.parametrize("text", ["-1", "many", "1 PB", "1,5MB", "KB"])
def test_other_sizes_are_refused_with_an_example(text):
    assert "such as 500000, 20KB" in parsed("max_artifact_size", f"--max-artifact-size={text}")


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ((), False),
        (("--dry-run",), True),
        (("--dry-run", "True"), True),
        (("--dry-run", "false"), False),
        (("--dry-run=False",), False),
        (("--dry-run=1",), True),
    ],
)
def test_bool_options_take_a_value_and_are_flags(args, value):
    assert parsed("dry_run", *args) is value


def test_a_bare_flag_does_not_swallow_the_next_option():
    got = {}
    params = [options.click_option(key) for key in ("dry_run", "verbose", "run_ids")]
    command = Command("c", params=params, callback=lambda **values: got.update(values))
    result = CliRunner().invoke(command, ["--dry-run", "--verbose", "--run-ids", "a"])
    assert result.exit_code == 0
    assert got == {"dry_run": True, "verbose": True, "run_ids": ["a"]}


def test_a_word_that_is_no_bool_is_refused():
    assert "'maybe' is not a valid boolean" in parsed("dry_run", "--dry-run", "maybe")


def test_lists_are_comma_separated_and_some_may_be_repeated():
    assert parsed("run_ids", "--run-ids", "a, b,,c") == ["a", "b", "c"]
    assert parsed("run_ids") is None
    assert parsed("include_artifacts", "--include-artifacts", "a,b", "--include-artifacts", "*.txt") == [
        "a",
        "b",
        "*.txt",
    ]
    assert parsed("exclude_artifacts") == []


def test_lists_of_choices():
    assert parsed("accept_loss", "--accept-loss", "Artifacts,values") == ["artifacts", "values"]
    assert "'prompts' is none of runs, artifacts, values" in parsed("accept_loss", "--accept-loss", "prompts")
    assert parsed("notebook_formats", "--notebook-formats", "html,SOURCE") == ["HTML", "SOURCE"]


def test_second_spellings():
    assert (
        parsed("src_mlflow_uri", "--src-tracking-uri", "u") == parsed("src_mlflow_uri", "--src-mlflow-uri", "u") == "u"
    )


def test_workers_are_at_least_one():
    assert parsed("workers") == 8
    assert "0 is not in the range" in parsed("workers", "--workers", "0")


def test_every_option_is_made_and_explained():
    for key, option in options.OPTIONS.items():
        assert options.click_option(key).opts[0] == options.flag(key)
        assert option.help.endswith("."), key


def test_values_that_may_hold_secrets_are_not_loggable():
    assert options.loggable("data", '{"string_value": "hush"}') == "(24 characters)"
    assert options.loggable("data", None) is None
    assert options.loggable("run_id", "a") == "a"


def test_tables_of_the_documentation(monkeypatch, tmp_path):
    with_run_id = click.Command("c", params=[options.click_option("run_id"), options.click_option("workers")])
    without = click.Command("c", params=[options.click_option("workers")])
    monkeypatch.setattr(umbrella, "load", lambda name: with_run_id if name == "export-run" else without)
    path = tmp_path / "options.md"
    path.write_text(f"# Head\n{options._BEGIN}\nold\n{options._END}\nfoot\n", encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(options.main, ["--check", str(path)]).exit_code == 1
    assert "old" in path.read_text()
    assert runner.invoke(options.main, [str(path)]).exit_code == 0
    assert runner.invoke(options.main, ["--check", str(path)]).exit_code == 0
    text = path.read_text()
    assert "| `--run-id` | text | required | Id of the source run. | export-run |" in text
    assert "| `--workers` | 1 to 256 | `8` | Number of requests at a time, at most. | all |" in text
    assert "`--src-mlflow-uri`, `--src-tracking-uri`" in text
    assert text.startswith("# Head\n")
    assert text.endswith("\nfoot\n")
    assert "old" not in text


def test_options_md_is_up_to_date():
    result = CliRunner().invoke(options.main, ["--check", str(Path(__file__).parents[2] / "options.md")])
    assert result.exit_code == 0, result.output


def test_every_option_is_used_by_a_command():
    used = {param.name for name in umbrella.ALL for param in umbrella.load(name).params}
    assert set(options.OPTIONS) - used == set()


# ---- an option that a command has does something there


class Key(str):
    """An option's key that notes when somebody looks the option up."""

    looked_up = set()

    def __hash__(self):
        return str.__hash__(self)

    def __eq__(self, other):
        same = str.__eq__(self, other)
        # that all options are logged and written to the ledger is no use that is made of one
        if same and sys._getframe(1).f_code.co_filename != options.__file__:
            Key.looked_up.add(str(self))
        return same


@pytest.fixture
def unused(monkeypatch, tmp_path):
    """Runs a command once for each list of arguments; the keys of its options that nothing has ever looked up."""
    start = cli._start

    def watched(body, values, *rest):
        return start(body, {Key(key): value for key, value in values.items()}, *rest)

    monkeypatch.setattr(cli, "_start", watched)
    monkeypatch.chdir(tmp_path)
    for name in ("USERNAME", "PASSWORD", "TOKEN", "URI"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)

    def run(made, *calls):
        Key.looked_up = set()
        for args in calls:
            result = CliRunner().invoke(made, [str(arg) for arg in args])
            assert result.exit_code == 0, result.output
        return {param.name for param in made.params} - Key.looked_up

    return run


RUN = {
    "info": {
        "run_id": "r" * 32,
        "run_name": "one",
        "experiment_id": "7",
        "status": "FINISHED",
        "start_time": 1,
        "end_time": 2,
        "lifecycle_stage": "active",
        "artifact_uri": "mlflow-artifacts:/7/" + "r" * 32 + "/artifacts",
    },
    "data": {"params": [{"key": "p", "value": "1"}]},
}


RUN_ID = RUN["info"]["run_id"]
VERSION = {"name": "m", "version": "1", "creation_timestamp": 2, "source": f"runs:/{RUN_ID}/model", "run_id": RUN_ID}


PROMPT = {"name": "prompt", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}
DATASET = {"dataset_id": "d-1", "name": "questions", "tags": "{}"}
MODEL = {"info": {"model_id": "m-1", "experiment_id": "7", "name": "m", "status": "LOGGED_MODEL_READY"}}
TRACE = {"trace_id": "tr-1", "request_time": "2025-01-01T00:00:00Z", "state": "OK"}

ISSUE = {
    "issue_id": "iss-1", "experiment_id": "7", "name": "i", "description": "d", "status": "pending",
    "created_timestamp": 1,
}  # fmt: skip


def answer(request):
    """As much of a tracking server as the commands need: one experiment with one run."""
    experiment = {"experiment_id": "7", "name": "here", "lifecycle_stage": "active"}
    route = request.path.rpartition("/mlflow/")[2]
    if route == "experiments/get-by-name":
        name = request.query["experiment_name"][0]
        if name not in ("here", "gone"):
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        return Reply({"experiment": {**experiment, "lifecycle_stage": "deleted" if name == "gone" else "active"}})
    if route == "users/get":
        return missing_route()
    if request.path == "/api/2.0/workspace/export":
        return Reply({"content": "eA=="})
    if route == "get-trace-artifact":
        return error(404, "NOT_FOUND")
    asked = json.dumps(request.json) if route == "traces/search" else ""
    versions = [{**PROMPT, "version": "1"}] if "prompt" in str(request.query) else [VERSION]
    versions = [] if "none" in str(request.query) else versions
    if route.startswith("logged-models/m-"):
        return Reply({"model": MODEL})
    return Reply(
        {
            "experiments/search": {"experiments": [experiment]},
            "experiments/get": {
                "experiment": experiment
                if request.query.get("experiment_id") == ["7"]
                else {**experiment, "experiment_id": "8", "name": "there"}
            },
            "experiments/create": {"experiment_id": "8"},
            "runs/search": {"runs": [RUN]} if request.json.get("experiment_ids") == ["7"] else {},
            "runs/get": {"run": RUN},
            "registered-models/get": {"registered_model": PROMPT if "prompt" in str(request.query) else {"name": "m"}},
            "registered-models/search": {
                "registered_models": [PROMPT if "prompt" in str(request.query) else {"name": "m"}]
            },
            "model-versions/search": {"model_versions": versions},
            "logged-models/search": {"models": [MODEL]} if request.json.get("experiment_ids") == ["7"] else {},
            "logged-models": {"model": MODEL},
            "model-versions/create": {"model_version": {"name": "there", "version": "1"}},
            "registered-models/create": {"registered_model": {"name": "there"}},
            "traces": {"trace": {"trace_info": TRACE}},
            "traces/search": {"traces": [TRACE]} if '"7"' in asked and "run_id" not in asked else {},
            "traces/batchGetInfos": {"trace_infos": [TRACE] if request.path.endswith("Infos") else []},
            "datasets/search": {"datasets": [DATASET]},
            "datasets/d-1": {"dataset": DATASET},
            "issues/search": {"issues": [ISSUE]},
            "users/current": {"user": {"username": "root", "is_admin": True}},
            "users/list": {"users": [{"username": name, "is_admin": False} for name in ("ann", "bob", "root")]},
            "runs/create": {"run": {**RUN, "info": {**RUN["info"], "run_id": "d" * 32}}},
            "/api/2.1/jobs/runs/submit": {"run_id": 1},
            "/api/2.1/jobs/runs/get": {"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}},
        }.get(route, {})
    )


@pytest.fixture(scope="module")
def server():
    with Stub(answer) as stub:
        yield stub


@pytest.fixture
def arguments(server, tmp_path, monkeypatch):
    """What each command is called with, and with what else."""
    monkeypatch.setattr(set_model_signature, "_inferred", lambda *_: {"inputs": "[]"})  # a skinny MLflow can't
    workspace = Connection(server.uri, {}, None, True, None, "databricks", is_databricks=True)
    monkeypatch.setattr(download_notebook, "connect", lambda *_, **__: workspace)
    (tmp_path / "run").mkdir()
    (tmp_path / "experiment" / RUN["info"]["run_id"]).mkdir(parents=True)
    run = json.dumps({"info": {}, "mlflow": {"info": RUN["info"], "params": {"p": "1"}, "tags": {}, "metrics": {}}})
    (tmp_path / "run" / "run.json").write_text(run)
    (tmp_path / "experiment" / RUN["info"]["run_id"] / "run.json").write_text(run)
    experiment = {"experiment": {"experiment_id": "7", "name": "here"}, "runs": [RUN["info"]["run_id"]]}
    (tmp_path / "experiment" / "experiment.json").write_text(json.dumps({"mlflow": experiment}))
    (tmp_path / "model" / "version_models" / "1").mkdir(parents=True)
    (tmp_path / "model" / "version_models" / "1" / "MLmodel").write_text("flavors: {}")
    model = {"registered_model": {"name": "m", "versions": [{"version": "1", "name": "m"}]}}
    (tmp_path / "model" / "model.json").write_text(json.dumps({"mlflow": model}))
    (tmp_path / "version" / "version_model").mkdir(parents=True)
    (tmp_path / "version" / "version_model" / "MLmodel").write_text("flavors: {}")
    version = {"model_version": {"version": "1", "name": "m"}}
    (tmp_path / "version" / "version.json").write_text(json.dumps({"mlflow": version}))
    (tmp_path / "prompts" / "prompt_v2").mkdir(parents=True)
    prompt = json.dumps({"mlflow": {"prompt": {"name": "prompt", "version": 2, "template": "t"}}})
    (tmp_path / "prompts" / "prompt_v2" / "prompt.json").write_text(prompt)
    (tmp_path / "prompts" / "prompts_summary.json").write_text("{}")
    (tmp_path / "datasets" / "one").mkdir(parents=True)
    dataset = json.dumps({"mlflow": {"evaluation_dataset": {**DATASET, "tags": {}}}})
    (tmp_path / "datasets" / "one" / "evaluation_dataset.json").write_text(dataset)
    (tmp_path / "datasets" / "evaluation_datasets_summary.json").write_text("{}")
    bulk = tmp_path / "bulk"
    shutil.copytree(tmp_path / "model", bulk / "models" / "m")
    shutil.copytree(tmp_path / "experiment", bulk / "experiments" / "7")
    shutil.copytree(tmp_path / "prompts", bulk / "prompts")
    shutil.copytree(tmp_path / "datasets", bulk / "evaluation_datasets")
    (bulk / "experiments" / "experiments.json").write_text('{"mlflow": {"experiments": [{"id": "7"}]}}')
    (bulk / "models" / "models.json").write_text('{"mlflow": {"models": ["m"]}}')
    for kind in KINDS:
        text = json.dumps({"mlflow": {kind.plural: []}})
        for place in (tmp_path / folder_of(kind), bulk / folder_of(kind)):
            place.mkdir(exist_ok=True)
            (place / f"{kind.plural}.json").write_text(text)
    scripts = {folder_of(kind): folder_of(kind).replace("_", "-") for kind in KINDS}
    (tmp_path / "renames.csv").write_text("m,there\n")
    renamed = ["--model-rename-file", tmp_path / "renames.csv"]
    (tmp_path / "sample.csv").write_text("a\n1.5\n")
    (tmp_path / "job.json").write_text('{"tasks": [{}]}')
    (tmp_path / "profiles").write_text(f"[p]\nhost = {server.uri}\ntoken = t\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "profiles"))
    (tmp_path / "rewriters.py").write_text("def rewrite_model(dct, dir):\n    dct['mlflow']['more'] = 1\n")
    version_model = ["--model-uri", tmp_path / "version" / "version_model"]
    (tmp_path / "logged" / "m-1").mkdir(parents=True)
    for place in (tmp_path / "logged", tmp_path / "logged" / "m-1"):
        (place / "logged_model.json").write_text(json.dumps({"mlflow": {"model_id": "m-1", "name": "m"}}))
    listed = {"experiments": [{"id": "7", "name": "there", "logged_models": ["m-1"]}]}
    (tmp_path / "logged" / "logged_models.json").write_text(json.dumps({"mlflow": listed}))
    for place in (tmp_path / "trace", tmp_path / "traces" / "tr-1"):
        place.mkdir(parents=True)
        (place / "trace.json").write_text(json.dumps({"mlflow": {"info": TRACE, "spans": []}}))
    listed = {"experiments": [{"id": "7", "name": "there", "traces": ["tr-1"]}]}
    (tmp_path / "traces" / "traces.json").write_text(json.dumps({"mlflow": listed}))
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "ledger.jsonl").write_text('{"event":"start","command":"c"}\n')
    one = ["--tracking-uri", server.uri]
    both = ["--src-mlflow-uri", server.uri, "--dst-mlflow-uri", server.uri, "--experiment-name", "there"]
    return {
        "export-run": [[*one, "--run-id", RUN["info"]["run_id"], "--output-dir", tmp_path / "out"]],
        "import-run": [[*one, "--experiment-name", "there", "--input-dir", tmp_path / "run"]],
        "copy-run": [[*both, "--run-id", RUN["info"]["run_id"]]],
        "export-experiment": [
            [*one, "--experiment", "here", "--output-dir", tmp_path / "out"],
            [*one, "--experiment", "gone", "--output-dir", tmp_path / "out2", "--export-deleted-experiments"],
        ],
        "import-experiment": [[*one, "--experiment-name", "there", "--input-dir", tmp_path / "experiment"]],
        "copy-experiment": [
            [*both, "--experiment", "here"],
            [*both, "--experiment", "gone", "--export-deleted-experiments"],
        ],
        "export-logged-model": [[*one, "--model-id", "m-1", "--output-dir", tmp_path / "out"]],
        "import-logged-model": [[*one, "--experiment-name", "there", "--input-dir", tmp_path / "logged"]],
        "export-logged-models": [[*one, "--experiment-ids", "all", "--output-dir", tmp_path / "out"]],
        "import-logged-models": [[*one, "--input-dir", tmp_path / "logged"]],
        "export-trace": [[*one, "--request-id", "tr-1", "--output-dir", tmp_path / "out"]],
        "import-trace": [[*one, "--experiment-name", "there", "--input-dir", tmp_path / "trace"]],
        "export-traces": [[*one, "--experiment-ids", "all", "--output-dir", tmp_path / "out"]],
        "import-traces": [[*one, "--input-dir", tmp_path / "traces"]],
        "copy-traces": [
            [*both, "--experiment", "here"],
            [*both, "--experiment", "gone", "--export-deleted-experiments"],
        ],
        "export-model": [[*one, "--model", "m", "--output-dir", tmp_path / "out"]],
        "import-model": [
            [*one, "--model", "there", "--experiment-name", "there", "--input-dir", tmp_path / "model", "--dry-run"]
        ],
        "export-model-version": [[*one, "--model", "m", "--version", "1", "--output-dir", tmp_path / "out"]],
        "import-model-version": [
            [*one, "--model", "m", "--experiment-name", "there", "--input-dir", tmp_path / "version", "--dry-run"]
        ],
        "export-all": [[*one, "--output-dir", tmp_path / "out"]],
        "import-all": [[*one, "--input-dir", bulk, "--dry-run", *renamed]],
        "export-models": [[*one, "--models", "m", "--output-dir", tmp_path / "out"]],
        "import-models": [[*one, "--input-dir", bulk, "--dry-run", *renamed]],
        "export-experiments": [[*one, "--experiments", "here", "--output-dir", tmp_path / "out"]],
        "import-experiments": [[*one, "--input-dir", bulk / "experiments", "--dry-run"]],
        "export-prompt": [[*one, "--prompt-name", "prompt", "--prompt-version", "1", "--output-dir", tmp_path / "out"]],
        "import-prompt": [[*one, "--input-dir", tmp_path / "prompts" / "prompt_v2", "--dry-run"]],
        "export-prompts": [[*one, "--prompts", "all", "--output-dir", tmp_path / "out"]],
        "import-prompts": [[*one, "--input-dir", tmp_path / "prompts", "--dry-run"]],
        "export-evaluation-dataset": [[*one, "--dataset-name", "questions", "--output-dir", tmp_path / "out"]],
        "import-evaluation-dataset": [[*one, "--input-dir", tmp_path / "datasets" / "one", "--dry-run"]],
        "export-evaluation-datasets": [[*one, "--evaluation-datasets", "all", "--output-dir", tmp_path / "out"]],
        "import-evaluation-datasets": [[*one, "--input-dir", tmp_path / "datasets", "--dry-run"]],
        **{f"export-{name}": [[*one, "--output-dir", tmp_path / "out"]] for name in scripts.values()},
        **{f"import-{name}": [[*one, "--input-dir", tmp_path / plural]] for plural, name in scripts.items()},
        "export-jobs": [[*one, "--output-dir", tmp_path / "out"]],
        "copy-all": [[*both[:3], server.uri.replace("127.0.0.1", "localhost")]],
        "copy-model": [[*both[:4], "--src-model", "m", "--dst-model", "there", "--dst-experiment-name", "there"]],
        "copy-model-version": [[*both[:4], "--src-model", "m", "--src-version", "1", "--dst-experiment-name", "there"]],
        "list-registered-models": [one],
        "get-model-signature": [[*one, *version_model]],
        "set-model-signature": [[*one, *version_model, "--input-file", tmp_path / "sample.csv"]],
        "list-model-versions-without-signatures": [[*one, "--filter", "run_id = 'none'"]],
        "find-artifacts": [[*one, "--run-id", RUN["info"]["run_id"], "--target", "MLmodel"]],
        "filter_one_model": [
            ["--input-dir", bulk, "--output-dir", tmp_path / "out", "--src-model", "m"],
            ["--input-dir", bulk, "--output-dir", tmp_path / "out2", "--src-model", "m", "--dst-model", "n"],
        ],
        "rewrite_export": [["--input-dir", bulk, "--custom-rewriters-module", tmp_path / "rewriters.py"]],
        "run_submit": [["--profile", "p", "--spec-file", tmp_path / "job.json"]],
        "verify-migration": [
            [*both[:3], server.uri.replace("127.0.0.1", "localhost"), "--prompts", "prompt"],
            ["--input-dir", tmp_path / "prompts", "--report-dir", tmp_path / "out"],
        ],
        "download-notebook": [[*one, "--output-dir", tmp_path / "out", "--notebook", "/n"]],
        "make-report": [["--report-dir", tmp_path / "reports"]],
        "http-client": [[*one, "--resource", "experiments/search"]],
    }


@pytest.mark.parametrize("name", umbrella.ALL)
def test_every_option_is_used_by_its_command(name, arguments, unused):
    assert unused(umbrella.load(name), *arguments[name]) == set()


def test_an_option_that_reaches_nothing_is_found(unused):
    @command("c", "run_ids", "recheck", "filter", common=("quiet", "verbose", "workers", "use_threads"), help="h")
    def body(**values):
        copied = {**values, "more": 1}
        return len(copied["run_ids"]) - len(values.get("run_ids")) + (0 if copied.get("recheck") else 1)

    assert unused(body, ["--run-ids", "a"]) == {"filter", "workers"}
