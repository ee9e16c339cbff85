"""Every server of the comparison: how it is started, asked, and read.

To add one, write a function from a project, a folder and a port to a ``Server`` and name it in
``SERVERS``.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import HERE, run
from environments import python_of
from projects import Project

PEERS = HERE / "peers"
Rows = list[dict[str, Any]]
Request = tuple[str, Any]  # path and body
PACKAGES = (
    *("bentoml", "fastapi", "httptools", "mlflow", "numpy", "onnxruntime", "orjson", "pandas"),
    *("pydantic", "pydantic-core", "ray", "scikit-learn", "starlette", "uvicorn", "uvloop"),
)


def one_row(rows: Rows) -> Request:
    """The row itself."""
    return "/predict", rows[0]


def many_rows(rows: Rows) -> Request:
    """A list of rows."""
    return "/predict_batch", {"rows": rows}


def by_columns(rows: Rows) -> Request:
    """A list of values for each column."""
    return "/predict_batch", {"columns": {name: [row[name] for row in rows] for name in rows[0]}}


def as_list(answer: Any) -> list[dict[str, Any]]:
    """One answer or many, as rows or as columns: as many."""
    if isinstance(answer, list):
        return answer
    if not isinstance(answer["prediction"], list):
        return [answer]
    labels, columns = list(answer["probabilities"]), answer["probabilities"].values()
    rows = [dict(zip(labels, values, strict=True)) for values in zip(*columns, strict=True)]
    return [
        {"prediction": said, "probabilities": row}
        for said, row in zip(answer["prediction"], rows, strict=True)
    ]


@dataclass(frozen=True)
class Server:
    """One server, ready to be started on its port."""

    command: list[str]
    cwd: Path
    python: Path  # whose packages it has
    env: dict[str, str] = field(default_factory=dict)
    ready: str = "/readyz"
    one: Callable[[Rows], Request] = one_row
    many: Callable[[Rows], Request] = many_rows
    columns: Callable[[Rows], Request] | None = None
    read: Callable[[Any], list[dict[str, Any]]] = as_list


def ours(project: Project, _folder: Path, port: int) -> Server:
    """The service of a generated project, as ``make serve`` starts it."""
    python = project.path / ".venv-serve/bin/python"
    return Server(
        [str(python), "-m", "gatehouse.serving"],
        project.path,
        python,
        {"SERVICE_PORT": str(port)},
        columns=by_columns,
    )


def ours_bentoml(project: Project, _folder: Path, port: int) -> Server:
    """The same service under ``bentoml serve``."""
    return Server(
        _bentoml(project.path / ".venv-serve/bin", "gatehouse.serving.bento:Service", port),
        project.path,
        project.path / ".venv-serve/bin/python",
        columns=by_columns,
    )


def tutorial(project: Project, folder: Path, port: int) -> Server:
    """BentoML as its tutorial shows it."""
    python = python_of(folder, "tutorial")

    def request(rows: Rows) -> Request:
        return "/predict", {"rows": rows}

    return Server(
        _bentoml(python.parent, "tutorial:Tutorial", port),
        PEERS,
        python,
        {"PROJECT": str(project.path)},
        one=request,
        many=request,
    )


def _bentoml(binaries: Path, name: str, port: int) -> list[str]:
    command = [str(binaries / "bentoml"), "serve", name]
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


def fastapi_sklearn(project: Project, folder: Path, port: int) -> Server:
    """FastAPI, DataFrame, scikit-learn."""
    return _uvicorn("fastapi_sklearn", project, folder, port)


def fastapi_onnx(project: Project, folder: Path, port: int) -> Server:
    """FastAPI and ONNX, written with care."""
    return _uvicorn("fastapi_onnx", project, folder, port)


def fastapi_bytes(project: Project, folder: Path, port: int) -> Server:
    """FastAPI for its routes alone: the hardest bar, without an OpenAPI page."""
    return _uvicorn("fastapi_bytes", project, folder, port)


def _uvicorn(module: str, project: Project, folder: Path, port: int) -> Server:
    python = python_of(folder, "fastapi")
    command = [str(python), "-m", "uvicorn", f"{module}:app", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return Server(command, PEERS, python, {"PROJECT": str(project.path)})


def mlflow_serve(project: Project, folder: Path, port: int) -> Server:
    """``mlflow models serve`` in its own environment."""
    python = python_of(folder, "mlflow")
    model = folder / "mlflow" / project.golden["model_digest"].removeprefix("sha256:")[:12]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PROJECT": str(project.path), "PATH": path}
    if not (model / "MLmodel").exists():
        shutil.rmtree(model, ignore_errors=True)
        run([str(python), str(PEERS / "mlflow_log.py"), str(model)], folder, "mlflow", **env)

    def request(rows: Rows) -> Request:
        names = list(rows[0])
        data = [[row[name] for name in names] for row in rows]
        return "/invocations", {"dataframe_split": {"columns": names, "data": data}}

    def read(answer: Any) -> list[dict[str, Any]]:
        classes, labels = project.card["classes"], project.labels
        return [
            {
                "prediction": classes[row.index(max(row))],
                "probabilities": dict(zip(labels, row, strict=True)),
            }
            for row in answer["predictions"]
        ]

    command = [str(python.parent / "mlflow"), "models", "serve", "--model-uri", str(model)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    return Server(command, folder, python, env, ready="/ping", one=request, many=request, read=read)


def ray_serve(project: Project, folder: Path, port: int) -> Server:
    """Ray Serve, one replica, ONNX."""
    python = python_of(folder, "ray")
    env = {"PROJECT": str(project.path), "PORT": str(port), "PYTHONPATH": str(PEERS)}
    return Server([str(python), str(PEERS / "ray_serve.py")], PEERS, python, env)


SERVERS: dict[str, Callable[[Project, Path, int], Server]] = {
    "ours": ours,
    "ours-bentoml": ours_bentoml,
    "fastapi-onnx": fastapi_onnx,
    "fastapi-bytes": fastapi_bytes,
    "fastapi-sklearn": fastapi_sklearn,
    "bentoml-tutorial": tutorial,
    "mlflow-serve": mlflow_serve,
    "ray-serve": ray_serve,
}
