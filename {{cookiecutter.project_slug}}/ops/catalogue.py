"""Verb ``catalogue``: log the candidate to MLflow.

SQLite in ``.mlflow/`` by default, any server by ``MLFLOW_TRACKING_URI``. Git is the record and
MLflow its mirror: nothing reads a decision back from here.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .console import GOOD, INFRASTRUCTURE, Stop, read_json, read_yaml, say, write_json
from .digests import MODEL, file_digest, model_digest
from .git import git

HOME = Path(".mlflow")
RECORD = Path("reports/catalogue.json")
DEFAULTS = {  # bounded retries: a server that is down must not hold the pipeline for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def catalogue() -> int:
    """Log params, metrics, digests, commit, verdict and the model with its signature."""
    pipeline, trusted = _load_pipeline()
    uri = tracking_uri()
    where = urlsplit(uri)  # never the whole address: it may hold a password
    say(f"catalogue: logging to {where.scheme}://{where.hostname or HOME}")
    mlflow = connect(uri)
    try:
        run = _log(mlflow, uri, pipeline, trusted)
    except Exception as error:  # whatever the server, its driver or its store may raise
        reason = type(error).__name__
        raise Stop(
            f"MLflow did not take the run ({reason}): start it, then `make pipeline`",
            INFRASTRUCTURE,
        ) from None
    write_json(RECORD, {"run_id": run, "model_digest": model_digest()})
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


def experiment() -> str:
    """The name of the experiment, and of the registered model."""
    return str(read_yaml(Path("params.yaml")).get("experiment", Path.cwd().name))


def _load_pipeline() -> tuple[Any, list[str]]:
    """The fitted pipeline; only types that gates.yaml trusts are built, whatever the file asks."""
    import skops.io

    allowed = set(read_yaml(Path("gates.yaml")).get("trusted_types") or [])
    path = MODEL / "model.skops"
    wanted = skops.io.get_untrusted_types(file=path)
    foreign = sorted(set(wanted) - allowed)
    if foreign:
        raise Stop(
            f"{path} asks for types that gates.yaml does not trust ({', '.join(foreign)}): "
            "choose another model, or review and add them"
        )
    return skops.io.load(path, trusted=wanted), list(wanted)


def _log(mlflow: Any, uri: str, pipeline: Any, trusted: list[str]) -> str:
    card, metrics = read_json(MODEL / "model.json"), read_json(Path("metrics.json"))
    blessing = read_json(Path("blessing.json"))
    name = experiment()
    if mlflow.get_experiment_by_name(name) is None:
        local = None if uri.startswith("http") else (HOME / "artifacts").resolve().as_uri()
        mlflow.create_experiment(name, artifact_location=local)
    mlflow.set_experiment(name)
    lock = read_yaml(Path("dvc.lock"))["stages"]
    tags = {
        "commit": (git("rev-parse", "HEAD") or "unknown").strip(),
        "dirty": str(git("status", "--porcelain") != "").lower(),
        "dataset.md5": next(o["md5"] for o in lock["ingest"]["outs"]),
        "schema": file_digest(Path("schema.yaml")),
        "test_data": blessing["digests"]["test_data"],
        "gates": blessing["digests"]["gates"],
        "model": blessing["model_digest"],
        "blessed": str(blessing["blessed"]).lower(),
    }
    with mlflow.start_run(tags=tags) as run:
        mlflow.log_params(_flat(read_yaml(Path("params.yaml"))) | {"task": card["task"]})
        mlflow.log_metrics(
            {
                f"{side}_{metric}": value
                for side, values in metrics.items()
                for metric, value in values.items()
                if value is not None
            }
        )
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="skops",
            skops_trusted_types=trusted,
            signature=_signature(mlflow, pipeline, card["task"]),
            pip_requirements=[f"{name}=={pin}" for name, pin in card["packages"].items()],
        )
    return str(run.info.run_id)


def _signature(mlflow: Any, pipeline: Any, task: str) -> Any:
    """What the logged pipeline eats: numbers and text by name, after the calendar is taken out."""
    from mlflow.types import ColSpec, Schema

    kinds = {"numeric": "double", "categorical": "string"}
    branches = {
        column: kinds[branch]
        for branch, _, columns in pipeline[0].transformers_
        if branch in kinds
        for column in columns
    }
    inputs = Schema([ColSpec(branches[n], n, required=False) for n in pipeline.feature_names_in_])
    outputs = Schema([ColSpec("double" if task == "regression" else "long")])
    return mlflow.models.ModelSignature(inputs=inputs, outputs=outputs)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)[:500]  # the longest that every MLflow server takes
    return flat
