"""MLflow's registry, with real stores and a real server, follows the record."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from brokers import Server, eventually
from conftest import Bake
from test_release_record import candidate

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


class Tracking(Server):
    """An MLflow server on SQLite."""

    scheme = "http"

    def __init__(self, folder: Path, python: Path) -> None:
        super().__init__(folder)
        self.python = python

    def command(self) -> list[str]:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/store.db"]
        store += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(self.python), "-m", "mlflow", "server", *store, *where]

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
    """A project at whose record and registry one looks."""

    def __init__(self, project: BakedProject) -> None:
        self.project = project

    def python(self, program: str, *words: str) -> str:
        return self.project.run(".venv/bin/python", "-c", program, *words).stdout

    def registry(self) -> Any:
        return json.loads(self.python(READ).splitlines()[-1])

    def status(self) -> subprocess.CompletedProcess[str]:
        """Whatever the engine of this machine says."""
        return self.project.run(".venv/bin/python", "-m", "ops", "status", "--json", code=None)

    def release(self, version: str, champion: str = "") -> str:
        """A candidate that was logged and walks to production; its digest."""
        model = candidate(version, champion)
        self.python(RUN, model)
        for to in ("staging", "production"):
            said = self.project.ops("promote", "--to", to).stderr
            assert "MLflow" not in said
        return model


@pytest.fixture
def desk(
    bake: Bake, science: BakedProject, environments: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    project = bake().borrow_environments(environments)
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("BASE_REF", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(project.path)
    for folder in ("model", "reports"):
        Path(folder).mkdir()
    project.git("config", "user.name", "Jo")
    project.git("config", "user.email", "jo@example.invalid")
    return Desk(project)


@pytest.fixture
def server(tmp_path: Path, environments: BakedProject) -> Iterator[Tracking]:
    tracking = Tracking(tmp_path, environments.path / ".venv/bin/python")
    yield tracking
    tracking.stop()


BACK = "from ops.release import mirror, promote; promote.back('production', ''); mirror.mirror('x')"


def test_a_store_of_this_folder_follows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate("v0")
    said = desk.project.ops("promote", "--to", "staging").stderr
    assert "MLflow" not in said
    assert not Path(".mlflow").exists(), "who has no MLflow is not given one"
    desk.project.git("update-ref", "-d", "refs/heads/environments")
    Path(".mlflow").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    first = desk.release("v1")
    assert desk.registry()["aliases"] == {"champion": first, "staging": first}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    second = candidate("v2", first)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    desk.python(RUN, second)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for to in ("staging", "production"):
        desk.project.ops("promote", "--to", to)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.mlflow/mlflow.db")
    now = desk.registry()
    assert now["aliases"] == {"champion": second, "previous": first, "staging": second}
    image = json.loads(Path("reports/image.json").read_text())
    keys = ("model", "commit", "image", "blessing")
    want = {key: image[key] for key in keys} | {"environment": "production,staging"}
    assert now["versions"][second] == want
    assert now["versions"][first]["environment"] == ""
    desk.python(BACK)
    back = desk.registry()
    assert back["aliases"] == {"champion": first, "staging": second}
    assert back["versions"][first]["environment"] == "production"
    assert back["versions"][second]["environment"] == "staging"


def test_what_was_missed_while_the_server_was_down_is_made_up_for(
    desk: Desk, server: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    server.start()
    first = candidate("v1")
    second, third = candidate("v2", first), candidate("v3")
    desk.python(RUN, first, second)
    server.stop()
    candidate("v1")
    for version, champion in (("v1", ""), ("v2", first), ("v3", second)):
        candidate(version, champion)
        for to in ("staging", "production"):
            said = desk.project.ops("promote", "--to", to).stderr
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
    desk.python(BACK)
    assert desk.registry()["aliases"] == {"champion": second, "previous": first}
