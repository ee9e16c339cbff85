"""Verbs about the model: make it, judge it, ask it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from gatehouse.core import environments
from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.files import read_json

from .app import DAILY, HERE, MODEL, verb
from .run import all_of, logged, own, program, told

Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
LOCK, LOG = Path("dvc.lock"), Path("reports/ci.log")


@verb(DAILY)
def check() -> int:
    """Format, lint, types and tests of your own code."""
    tests = [["pytest", "-q", "tests"]] if Path("tests").is_dir() else []
    return all_of(["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"], *tests)


@verb(MODEL, "format")
def format_() -> int:
    """Put all code into the one format."""
    return all_of(["ruff", "check", "--quiet", "--fix-only", "."], ["ruff", "format", "."])


@verb(DAILY)
def pipeline(
    force: Annotated[bool, typer.Option("--force", help="Run all stages.")] = False,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Go no further than this.")] = "",
) -> int:
    """Run the stages whose inputs changed; `gate` says what came of it."""
    from gatehouse.gates.run_checks import LEFT

    if not os.environ.get(LEFT):
        environments.ensure("checks")
    if code := _source():
        return code
    before = _trained()
    # In CI no result of another run is believed.
    options = [*(["--force"] if force else []), *(["--no-run-cache"] if _base() else [])]
    code = program("dvc", "repro", *options, *([until] if until else []))
    if not code and not until and before == _trained():
        say("nothing changed: what trains the model is as before, and so is the model")
    return code


def _source() -> int:
    from gatehouse.vcs.source import fetch_source

    return fetch_source(HERE)


def _base() -> str:
    return os.environ.get("BASE_REF", "")


def _trained() -> str:
    """What dvc.lock says of stage train."""
    text = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    _, found, rest = text.partition("\n  train:\n")
    lines = rest.splitlines() if found else []
    end = next((k for k, line in enumerate(lines) if line[:3].strip()), len(lines))
    return "\n".join(lines[:end])


@verb(MODEL)
def stage(
    name: Annotated[str, typer.Argument(metavar="NAME", help="as dvc.yaml calls it")],
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it left what it must.")
    ] = False,
) -> int:
    """Run one stage of the pipeline, as dvc.yaml calls it."""
    if check:
        from gatehouse.gates.own_stages import check as look

        return told(name, lambda: look(HERE, name))
    from .stages import run

    return run(name)


@verb(MODEL)
def measure() -> int:
    """Test the model again, its speed too, without training it again; then `gate`."""
    from gatehouse.vcs.dvc import alone

    alone(HERE)
    return all_of(
        ["dvc", "repro", "--single-item", "--force", "model_tests"],
        ["dvc", "repro", "--downstream", "model_tests"],
    )


@verb(DAILY)
def gate(as_json: Json = False) -> int:
    """Print the verdict; exit code 1 when a gate is closed."""
    from gatehouse.gates.verdict import show

    return show(HERE, as_json=as_json)


@verb(DAILY)
def report(
    html: Annotated[bool, typer.Option("--html", help="A page with plots, too.")] = False,
) -> int:
    """Write reports/report.md and the two cards: why, for a reviewer."""
    from gatehouse.report.write import write

    return write(HERE, html=html)


@verb(MODEL)
def thresholds() -> int:
    """Where gates.yaml is looser than BASE_REF's, take that one."""
    from gatehouse.gates.thresholds import restore

    return restore(HERE)


@verb(MODEL)
def bootstrap(
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why there is no champion yet.")],
) -> int:
    """Write into gates.yaml why there is no champion to compare with yet."""
    from gatehouse.gates.thresholds import bootstrap

    return bootstrap(HERE, reason)


@verb(DAILY)
def predict(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet file with the feature columns.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .csv or .parquet.")],
) -> int:
    """Predictions for a file."""
    from gatehouse.training.predict import predict

    return told("predict", lambda: predict(HERE, file, out))


@verb(MODEL)
def explain(
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="Position of a test row, or a JSON file of one.")
    ],
    as_json: Json = False,
) -> int:
    """How one prediction comes about, step by step."""
    from gatehouse.training.explain_verb import explain

    return explain(HERE, row, as_json=as_json)


@verb(DAILY)
def serve(
    port: Annotated[int, typer.Option(help="Where it listens.", envvar="SERVICE_PORT")] = 3000,
) -> int:
    """Serve the blessed model over HTTP."""
    python = environments.ensure("serve", *serving_parts())
    log = os.environ.get("SERVICE_LOG_FOLDER", "log")
    variables = {"SERVICE_PORT": str(port), "SERVICE_LOG_FOLDER": log}
    return program(str(python), "-P", "-m", "gatehouse.serving", **variables)


@verb(MODEL)
def consume() -> int:
    """Answer requests from the message broker at BROKER_URL: nats://, redis:// or kafka://."""
    url = os.environ.get("BROKER_URL", "")
    kind = url.partition("://")[0].replace("rediss", "redis")
    if kind not in ("nats", "redis", "kafka"):
        raise Stop(
            "broker-unknown", "BROKER_URL names no broker: set it, such as nats://localhost:4222"
        )
    python = environments.ensure("serve", *serving_parts(), kind)
    return program(str(python), "-P", "-m", "gatehouse.serving.consumer")


def serving_parts() -> list[str]:
    """What a model needs besides where it serves: without ONNX, scikit-learn."""
    from gatehouse.core.config.results import blessed

    return ["skops"] if blessed(HERE.root).format == "skops" else []


@verb(MODEL)
def client() -> int:
    """Write a typed Python client of the service into client/."""
    from gatehouse.serving.client import make

    return told("client", lambda: make(HERE))


@verb(MODEL)
def wheel() -> int:
    """The blessed model as a dependency: dist/*.whl, no server."""
    from gatehouse.packaging.model_wheel import build

    return told("wheel", lambda: build(HERE))


@verb(MODEL)
def contract() -> int:
    """Build the Bento, start it, hold it against golden requests and its OpenAPI page."""
    from gatehouse.packaging.contract.run import contract

    # What BentoML makes of a name is its own affair: it says the tag.
    words = [str(bentoml()), "build", "--output", "tag"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode or contract(done.stdout.strip().removeprefix("__tag__:"))


@verb(MODEL)
def bento() -> int:
    """Build a Bento from the blessed model."""
    return program(str(bentoml()), "build")


def bentoml() -> Path:
    """BentoML's program, in the environment that serves."""
    return environments.ensure("serve", *serving_parts(), "bento").with_name("bentoml")


@verb(DAILY)
def ui(port: Annotated[int, typer.Option(help="Where it listens.")] = 5000) -> int:
    """MLflow: the runs and the models that were logged."""
    from gatehouse.registry.catalogue import tracking_uri

    return program("mlflow", "ui", "--backend-store-uri", tracking_uri(), "--port", str(port))


@verb(MODEL)
def judge(
    head: Annotated[str, typer.Argument(metavar="COMMIT", help="Else what is checked out.")] = "",
) -> int:
    """As CI's judge: a commit, and the model in handed/, by the base branch checked out here."""
    from gatehouse.judge import bench

    environments.ensure("checks")
    os.environ.setdefault("BASE_REF", "HEAD")
    return bench.judge(HERE, head) if head else bench.judge_here(HERE)


@verb(MODEL)
def ci(
    part: Annotated[
        str, typer.Argument(metavar="all|code|candidate|model|service", help="One part of it.")
    ] = "all",
) -> int:
    """What CI asks of a change."""
    distrust = [own("thresholds"), own("distrust")] if _base() else []
    if part == "candidate":
        return _candidate(distrust)
    if part == "model":
        code = _told(logged(LOG, *distrust, own("pipeline"), own("gate")))
        return code or all_of(own("report", "--html"))
    if part == "code":
        return check()
    if part == "service":
        return contract()
    if part != "all":
        raise Stop(
            "ci-job-unknown",
            f"there is no part {part!r}: it is all, code, candidate, model or service",
        )
    return check() or ci("model") or contract()


def _candidate(distrust: list[list[str]]) -> int:
    """Make what the judge judges; the checks that only it believes are left to it.

    Not where the pin changes: then this run is the new library's own verdict.
    """
    from gatehouse.core.owned import pins
    from gatehouse.gates.run_checks import LEFT
    from gatehouse.judge.bench import HANDED, hand_over
    from gatehouse.vcs.git import changed

    log = HERE / HANDED / "ci.log"
    repinned = bool(pins(*changed(HERE)))
    if not repinned:
        os.environ[LEFT] = "1"
    with ThreadPoolExecutor() as beside:
        checked = beside.submit(subprocess.run, own("check"), capture_output=True, check=False)
        code = logged(log, *distrust, own("pipeline", "--until", "blessing"))
        if not code:
            told("ci", lambda: hand_over(HERE, repinned=repinned))
        said = checked.result()
    for stream in (said.stdout, said.stderr):
        sys.stdout.buffer.write(stream)
    sys.stdout.flush()
    if said.returncode:
        with log.open("ab") as kept:
            kept.write(said.stdout + said.stderr)
    code = code or said.returncode
    return code if code or not read_json(HERE / "blessing.json")["blessed"] else contract()


def _told(code: int) -> int:
    """A closed gate leaves its report."""
    if code:
        program(*own("report", "--html"))
    return code


@verb(MODEL)
def distrust() -> int:
    """Take dvc.lock from before this change: CI believes no result that it brings along."""
    from gatehouse.gates.distrust import distrust

    return distrust(HERE)
