"""MLflow's registry, with real stores and a real server, follows the record."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from brokers import Server, eventually
from manifests import name_project
from projects import rendered
from records import candidate
from repositories import git

pytestmark = pytest.mark.slow

RUN = """
import sys, mlflow
from sklearn.dummy import DummyRegressor
if mlflow.get_experiment_by_name("flight-delays") is None:
    mlflow.create_experiment("flight-delays")
mlflow.set_experiment("flight-delays")
for model in sys.argv[1:]:
    with mlflow.start_run(tags={"model": model}):
        fitted = DummyRegressor().fit([[0.0]], [1.0])
        mlflow.sklearn.log_model(fitted, name="model", serialization_format="skops",
                                 pip_requirements=["scikit-learn"])
    with mlflow.start_run(tags={"model": model}):
        pass  # one that was killed before it had the model
"""
READ = """
import json, mlflow
client = mlflow.MlflowClient()
names = [found.name for found in client.search_registered_models()]
assert names in ([], ["flight-delays"]), names
said = {"aliases": {}, "versions": {}}
if names:
    aliases = client.get_registered_model("flight-delays").aliases
    for v in client.search_model_versions("name = 'flight-delays'"):
        assert v.run_id and v.source.startswith("models:/m-"), v
        assert v.tags["model"] not in said["versions"], "one version a model"
        said["versions"][v.tags["model"]] = dict(v.tags)
        names = [alias for alias, n in aliases.items() if str(n) == str(v.version)]
        said["aliases"] |= dict.fromkeys(names, v.tags["model"])
    assert len(said["aliases"]) == len(aliases)
print(json.dumps(said))
"""


PRELOADED = [
    *("mlflow.sklearn", "mlflow.store.tracking.sqlalchemy_store", "sklearn.dummy", "skops.io"),
    *("gatehouse.registry.promote", "gatehouse.registry.mirror", "gatehouse.deploy.status"),
]


class Said(NamedTuple):
    """What a process said."""

    stdout: str
    stderr: str


def work(
    folder: Path,
    program: str,
    words: tuple[str, ...],
    environment: dict[str, str],
    streams: tuple[Path, Path],
) -> None:
    """What ``python -c program words`` does, in a process of its own."""
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *words]
    exec(program, {"__name__": "__main__"})


class Tracking(Server):
    """An MLflow server on SQLite."""

    scheme = "http"

    def command(self) -> list[str]:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/store.db"]
        store += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "mlflow", "server", *store, *where]

    def start(self) -> "Tracking":
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command(), stdout=quiet, stderr=quiet, env=environment, cwd=self.folder
        )
        eventually(self.healthy, 180, 0.5)
        return self

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Desk:
    """A project at whose record and registry one looks, each time from a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Which begins as a fork of one that has imported MLflow: that takes longer than its work.
        self.processes = get_context("forkserver")
        self.processes.set_forkserver_preload(PRELOADED)

    def run(self, program: str, *words: str) -> Said:
        streams = self.path.with_name("stdout"), self.path.with_name("stderr")
        asked = (self.path, program, words, dict(os.environ), streams)
        process = self.processes.Process(target=work, args=asked)
        process.start()
        process.join()
        said = Said(*(stream.read_text(encoding="utf-8") for stream in streams))
        assert process.exitcode == 0, said.stderr
        return said

    def registry(self) -> Any:
        return json.loads(self.run(READ).stdout.splitlines()[-1])

    def promote(self, to: str) -> str:
        """What is said of it."""
        return self.run(PROMOTE, to).stderr

    def status(self) -> Said:
        """Whatever the engine of this machine says."""
        return self.run(STATUS)

    def release(self, version: str, champion: str = "") -> str:
        """A candidate that was logged and walks to production; its digest."""
        model = candidate(version, champion)
        self.run(RUN, model)
        for to in ("staging", "production"):
            assert "MLflow" not in self.promote(to)
        return model


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    path = tmp_path / "desk"
    name_project(path)
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("BASE_REF", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(path)
    for folder in ("model", "reports"):
        Path(folder).mkdir()
    for file in ("deploy.yaml", "params.yaml"):
        Path(file).write_text(rendered(file), encoding="utf-8")
    git("init", "--quiet", "-b", "main")
    git("config", "user.name", "Jo")
    git("config", "user.email", "jo@example.invalid")
    return Desk(path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Tracking]:
    tracking = Tracking(tmp_path)
    yield tracking
    tracking.stop()


PROMOTE = "import sys; from gatehouse.core.project import Project; from gatehouse.registry.promote import promote; promote(Project(), sys.argv[1], '', as_json=False)"
STATUS = "from gatehouse.core.project import Project; from gatehouse.deploy.status import status; status(Project(), as_json=True, html=False)"
BACK = "from gatehouse.core.project import Project; from gatehouse.registry import mirror, promote; promote.back(Project(), 'production', ''); mirror.mirror(Project(), 'x')"


def test_a_store_of_this_folder_follows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate("v0")
    said = desk.promote("staging")
    assert "MLflow" not in said
    assert not Path(".mlflow").exists(), "who has no MLflow is not given one"
    git("update-ref", "-d", "refs/heads/environments")
    Path(".mlflow").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    first = desk.release("v1")
    assert desk.registry()["aliases"] == {"champion": first, "staging": first}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    second = candidate("v2", first)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    desk.run(RUN, second)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for to in ("staging", "production"):
        desk.promote(to)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    now = desk.registry()
    assert now["aliases"] == {"champion": second, "previous": first, "staging": second}
    image = json.loads(Path("reports/image.json").read_text())
    keys = ("model", "commit", "image", "blessing")
    want = {key: image[key] for key in keys} | {"environment": "production,staging"}
    assert now["versions"][second] == want
    assert now["versions"][first]["environment"] == ""
    desk.run(BACK)
    back = desk.registry()
    assert back["aliases"] == {"champion": first, "staging": second}
    assert back["versions"][first]["environment"] == "production"
    assert back["versions"][second]["environment"] == "staging"


def test_what_was_missed_while_the_server_was_down_is_made_up_for(
    desk: Desk, server: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    # As often as ever, but at once.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    server.start()
    first = candidate("v1")
    second, third = candidate("v2", first), candidate("v3")
    desk.run(RUN, first, second)
    server.stop()
    candidate("v1")
    for version, champion in (("v1", ""), ("v2", first), ("v3", second)):
        candidate(version, champion)
        for to in ("staging", "production"):
            said = desk.promote(to)
            assert said.count("MLflow was not told (") == 1, said
            assert "the record holds all the same" in said
    status = desk.status()
    assert "MLflow was not told" in status.stderr
    assert [one["record"]["model"] for one in json.loads(status.stdout)] == [third, third]
    server.start()
    # The next look makes up for it, a model that was never logged being said.
    said = desk.status().stderr
    assert f"MLflow has no run of 1 model(s), so no version: {third[7:14]}" in said
    now = desk.registry()
    assert now["aliases"] == {"previous": second}
    assert set(now["versions"]) == {first, second}
    assert "MLflow" not in desk.status().stderr, "once is enough"
    desk.run(BACK)
    assert desk.registry()["aliases"] == {"champion": second, "previous": first}
