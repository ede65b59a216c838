"""Build of the distribution mlflow-migration."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

SCRIPTS = {
    "export-run": "run.export_run",
    "import-run": "run.import_run",
    "copy-run": "copy.copy_run",
    "export-experiment": "experiment.export_experiment",
    "import-experiment": "experiment.import_experiment",
    "copy-experiment": "copy.copy_experiment",
    "export-logged-model": "logged_model.export_logged_model",
    "import-logged-model": "logged_model.import_logged_model",
    "export-logged-models": "bulk.export_logged_models",
    "import-logged-models": "bulk.import_logged_models",
    "export-trace": "trace.export_trace",
    "import-trace": "trace.import_trace",
    "export-traces": "bulk.export_traces",
    "import-traces": "bulk.import_traces",
    "copy-traces": "copy.copy_traces",
    "export-model": "model.export_model",
    "import-model": "model.import_model",
    "export-model-version": "model_version.export_model_version",
    "import-model-version": "model_version.import_model_version",
    "copy-all": "copy.copy_all",
    "copy-model": "copy.copy_model",
    "copy-model-version": "copy.copy_model_version",
    "export-prompt": "prompt.export_prompt",
    "import-prompt": "prompt.import_prompt",
    "export-all": "bulk.export_all",
    "import-all": "bulk.import_all",
    "export-experiments": "bulk.export_experiments",
    "import-experiments": "bulk.import_experiments",
    "export-models": "bulk.export_models",
    "import-models": "bulk.import_models",
    "export-prompts": "bulk.export_prompts",
    "import-prompts": "bulk.import_prompts",
    "export-scorers": "scorer.export_scorers",
    "import-scorers": "scorer.import_scorers",
    "export-evaluation-dataset": "evaluation_dataset.export_evaluation_dataset",
    "import-evaluation-dataset": "evaluation_dataset.import_evaluation_dataset",
    "export-evaluation-datasets": "bulk.export_evaluation_datasets",
    "import-evaluation-datasets": "bulk.import_evaluation_datasets",
    "export-issues": "issue.export_issues",
    "import-issues": "issue.import_issues",
    "export-label-schemas": "label_schema.export_label_schemas",
    "import-label-schemas": "label_schema.import_label_schemas",
    "export-review-queues": "review_queue.export_review_queues",
    "import-review-queues": "review_queue.import_review_queues",
    "export-webhooks": "webhook.export_webhooks",
    "import-webhooks": "webhook.import_webhooks",
    "export-gateway": "gateway.export_gateway",
    "import-gateway": "gateway.import_gateway",
    "export-mcp-servers": "mcp_server.export_mcp_servers",
    "import-mcp-servers": "mcp_server.import_mcp_servers",
    "export-users": "access.export_users",
    "import-users": "access.import_users",
    "export-jobs": "server_job.export_jobs",
    "list-registered-models": "tools.list_registered_models",
    "get-model-signature": "tools.get_model_signature",
    "set-model-signature": "tools.set_model_signature",
    "list-model-versions-without-signatures": "tools.list_model_versions_without_signatures",
    "find-artifacts": "common.find_artifacts",
    "verify-migration": "verify.verify_migration",
    "download-notebook": "notebook.download_notebook",
    "make-report": "common.make_report",
    "http-client": "client.http_client",
    "mlflow-migration": "common.umbrella",
}

EXTRAS = {
    # sources and destinations that are no servers: sqlite:///..., a folder, ...
    "local": ["mlflow>=2.9"],
    # older releases of s3fs know no exact listing, and pip would fall back to them
    "s3": ["s3fs>=2023.1", "boto3"],
    "gcs": ["gcsfs", "google-cloud-storage"],
    "azure": ["adlfs", "azure-storage-blob"],
    "databricks": ["databricks-sdk"],
    # --engine
    "dask": ["joblib>=1.3", "distributed"],
    "spark": ["joblib>=1.3", "joblibspark", "pyspark"],
    "sigv4": ["requests-auth-aws-sigv4"],
}
TEST = [
    "mlflow>=2.9",
    "build",
    "setuptools>=61",
    "wheel",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "boto3",
    "moto[s3,server]",
    "s3fs>=2023.1",
    "psycopg2-binary",
    "Flask-WTF",  # MLflow's basic-auth app needs it
    "trustme",
    *EXTRAS["dask"],
]
EXTRAS["test"] = TEST
EXTRAS["dev"] = [*TEST, "ruff", "mypy", "types-PyYAML", "types-requests", "types-tabulate"]


def _version() -> str:
    text = (ROOT / "mlflow_migration" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not match:
        raise RuntimeError("mlflow_migration/__init__.py has no __version__")
    return match[1]


def _readme() -> str:
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="mlflow-migration",
    version=_version(),
    description="Move MLflow objects between tracking servers, whole and repeatably",
    long_description=_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
    ],
    packages=find_packages(include=["mlflow_migration", "mlflow_migration.*"]),
    package_data={"mlflow_migration.common": ["report_page.html", "report_page.js"]},
    python_requires=">=3.8",
    install_requires=[
        "mlflow-skinny>=2.9",
        "click>=8.0",
        "pyyaml",
        "requests",
        "pandas",
        "tabulate",
        "rich",
        "orjson",
        "fsspec",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [f"{name} = mlflow_migration.{module}:main" for name, module in SCRIPTS.items()],
    },
)
