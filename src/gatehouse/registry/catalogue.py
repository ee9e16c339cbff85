"""Verb ``catalogue``: log the candidate to MLflow.

SQLite in ``.mlflow/`` by default, any server by ``MLFLOW_TRACKING_URI``. Git is the record and
MLflow its mirror: nothing reads a decision back from here.
"""

import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.config import results
from gatehouse.core.config.rules import value_text
from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL, file_digest, model_digest
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json, read_yaml
from gatehouse.core.layout import BLESSING, CATALOGUE, METRICS
from gatehouse.core.project import Project
from gatehouse.core.version import LIBRARY
from gatehouse.serving.derived import module_of
from gatehouse.vcs.git import git

# A module of its own, since MLflow runs it as a script: the library's are relative to each other.
# It imports late, since MLflow runs it to log the model, too, and scikit-learn takes seconds.
CODE = """import mlflow


class Catalogued(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        from gatehouse.training.catalogued import load

        self.answer = load(context.artifacts["model"])

    def predict(self, context, model_input, params=None):
        return self.answer(model_input)


mlflow.models.set_model(Catalogued())
"""
BESIDE = ("onnxruntime", "pyarrow", "pydantic", "pyyaml")
HOME = Path(".mlflow")
DEFAULTS = {  # bounded retries: a server that is down must not hold the pipeline for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def catalogue(project: Project) -> int:
    """Log params, metrics, digests, commit, verdict and the model with its signature."""
    uri = tracking_uri()
    where = urlsplit(uri)  # never the whole address: it may hold a password
    say(f"catalogue: logging to {where.scheme}://{where.hostname or project / HOME}")
    mlflow = connect(uri)
    try:
        run = _log(project, mlflow, uri)
    except Exception as error:  # whatever the server, its driver or its store may raise
        reason = type(error).__name__
        raise Stop(
            "mlflow-refuses",
            f"MLflow did not take the run ({reason}): start it, then `make pipeline`",
            INFRASTRUCTURE,
        ) from None
    logged = results.Catalogue(run_id=run, model_digest=model_digest(project / MODEL))
    results.write_result(project / CATALOGUE, logged)
    say(f"catalogue: run {run} logged; `make ui` shows it")
    return GOOD


def connect(uri: str) -> Any:
    """MLflow, quiet and bounded, for this tracking server; it takes seconds to import."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    for noisy in ("mlflow", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it looks for a pip
    mlflow.set_tracking_uri(uri)
    return mlflow


def tracking_uri() -> str:
    """Where MLflow is: SQLite here, unless ``MLFLOW_TRACKING_URI`` says another place."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{HOME}/mlflow.db"


def experiment(project: Project) -> str:
    """The name of the experiment, and of the registered model."""
    return str(read_yaml(project / "params.yaml").get("experiment", project.root.name))


def _log(project: Project, mlflow: Any, uri: str) -> str:
    card, metrics = (
        read_json(project / MODEL / CARD),
        results.read_result(project / METRICS, results.Metrics),
    )
    blessing = results.read_result(project / BLESSING, results.Blessing)
    name = experiment(project)
    if mlflow.get_experiment_by_name(name) is None:
        local = (
            None if uri.startswith("http") else (project / HOME / "artifacts").resolve().as_uri()
        )
        mlflow.create_experiment(name, artifact_location=local)
    mlflow.set_experiment(name)
    lock = read_yaml(project / "dvc.lock")["stages"]
    tags = {
        "commit": (git(project, "rev-parse", "HEAD") or "unknown").strip(),
        "dirty": str(git(project, "status", "--porcelain") != "").lower(),
        "dataset.md5": next(o["md5"] for o in lock["ingest"]["outs"]),
        "schema": file_digest(project / "schema.yaml"),
        "test_data": blessing.digests.get("test_data", ""),
        "gates": blessing.digests.get("gates", ""),
        "model": blessing.model_digest,
        "blessed": str(blessing.blessed).lower(),
    }
    with mlflow.start_run(tags=tags) as run:
        mlflow.log_params(_flat(read_yaml(project / "params.yaml")) | {"task": card["task"]})
        mlflow.log_metrics(
            {
                f"{side}_{metric}": value
                for side, values in results.dump(metrics).items()
                for metric, value in values.items()
                if value is not None
            }
        )
        _log_model(project, mlflow, card)
    return str(run.info.run_id)


def _log_model(project: Project, mlflow: Any, card: dict[str, Any]) -> None:
    """The model's files with the code that feeds them: raw columns in, classes out; no pickle."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "catalogued_model.py"
        code.write_text(CODE, encoding="utf-8")
        # It would like type hints and an example row: the signature says all, and no row leaves.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(code),
                artifacts={"model": str(MODEL), "gates": "gates.yaml"}
                | ({"features": path} if (path := module_of(card)) else {}),
                code_paths=code_paths(project),
                signature=signature(read_yaml(project / "schema.yaml"), card),
                metadata={"columns": {name: c["type"] for name, c in card["columns"].items()}},
                pip_requirements=[
                    *(f"{name}=={pin}" for name, pin in card["packages"].items()),
                    *(f"{name}=={version(name)}" for name in ("mlflow", *BESIDE)),
                ],
            )


def code_paths(project: Project) -> list[str]:
    """The folders of the library and of the user's package in ``src/``, for the model to import."""
    own = sorted((project / "src").glob("*/__init__.py"))
    return [str(LIBRARY), *(str(file.parent) for file in own)]


def signature(schema: dict[str, Any], card: dict[str, Any]) -> Any:
    """What schema.yaml takes. MLflow has no numbers or booleans that may be missing, and refuses a
    whole number for a broken one: those are of any type for it, and the model checks them itself.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    def kind(column: dict[str, Any]) -> Any:
        plain = {"string": "string"}
        if not column.get("nullable", True):
            plain |= {"integer": "long", "boolean": "boolean"}
        return plain.get(column["type"]) or AnyType()

    inputs = [
        ColSpec(kind(column), name, required=not column.get("nullable", True))
        for name, column in card["columns"].items()
    ]
    target = "double"
    if card["task"] != "regression":
        target = {bool: "boolean", int: "long"}.get(type(schema["classes"][0]), "string")
    labels = [value_text(value) for value in card["classes"]]
    outputs = [ColSpec(target, "prediction")]
    outputs += [ColSpec("double", f"probability {label}") for label in labels]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)[:500]  # the longest that every MLflow server takes
    return flat
