"""The model as a dependency: `make wheel`, installed where nothing else of the project is."""

import hashlib
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from conftest import bake_into
from serving import ROW, bless, fitted, write_blessing

pytestmark = pytest.mark.slow

SERVER = ("bentoml", "uvicorn", "prometheus_client", "sklearn", "pandas", "flight_delays")
Installed = Callable[[BakedProject], Path]


@pytest.fixture(scope="module")
def run(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example, after a run of its whole pipeline."""
    project = bake_into(tmp_path_factory.mktemp("run")).be_patient()
    project.borrow_environments(environments)
    project.make("data", "schema", "pipeline", "gate")
    return project


@pytest.fixture(scope="module")
def blessed_skops(
    science: BakedProject, environments: BakedProject, tmp_path_factory: pytest.TempPathFactory
) -> BakedProject:
    """A regression that serves as skops."""
    del science
    project = bake_into(tmp_path_factory.mktemp("skops")).borrow_environments(environments)
    bless(project.path, "regression", "skops")
    return project


@pytest.fixture(scope="module")
def installed(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installs a project's wheel, with the dependencies that it names, into a new environment."""

    def install(project: BakedProject) -> Path:
        project.make("wheel")
        [wheel] = (project.path / "dist").glob("*.whl")
        folder = tmp_path_factory.mktemp("elsewhere")
        uv = str(environments.path / ".venv/bin/uv")
        python = folder / "venv/bin/python"
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
            [uv, "pip", "install", "--quiet", "--python", str(python), str(wheel)],
        ):
            subprocess.run(command, cwd=folder, check=True)
        return python

    return install


def ask(python: Path, code: str, data: Any = None) -> Any:
    """What ``code`` prints as JSON, in a process that knows the installed packages alone."""
    done = subprocess.run(
        [str(python), "-I", "-c", f"import json, sys\ndata = json.load(sys.stdin)\n{code}"],
        input=json.dumps(data),
        cwd=python.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ANSWERS = (
    "from flight_delays_model import MODEL_DIGEST, predict, predict_batch\n"
    "print(json.dumps([MODEL_DIGEST, predict_batch(data), [predict(row) for row in data]]))"
)
REFUSALS = """
from datetime import datetime
from flight_delays_model import Invalid, predict, predict_batch
found = {}
def refused(name, call, *given):
    try:
        call(*given)
    except Invalid as error:
        found[name] = [str(error), error.fields, error.__cause__ is None]
for name, change in {
    "unknown": {"nonsense": "secret"},
    "text for a number": {"size €": "secret"},
    "nan": {"size €": float("nan")},
    "date": {"built": "12"},
}.items():
    refused(name, predict, data | change)
refused("missing", predict, {k: v for k, v in data.items() if k != "size €"})
refused("no row", predict, 5)
refused("second", predict_batch, [data, data | {"nonsense": 1}])
assert predict(data) == predict(data | {"built": datetime.fromisoformat(data["built"])})
assert predict_batch([]) == []
print(json.dumps(found))
"""


def close(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """The labels are equal, and the numbers as far as ONNX promises."""
    return all(
        a["prediction"] == b["prediction"]
        and all(
            math.isclose(a["probabilities"][k], p, abs_tol=1e-5)
            for k, p in b["probabilities"].items()
        )
        for a, b in zip(theirs, ours, strict=True)
    )


def test_the_wheel_gives_the_golden_answers_and_needs_no_server(
    run: BakedProject, installed: Installed
) -> None:
    python = installed(run)
    golden = json.loads(run.read("predictions/golden.json"))
    digest, batch, single = ask(python, ANSWERS, golden["rows"])
    assert digest == golden["model_digest"]
    assert len(batch) == len(golden["answers"]) > 10
    assert close(batch, golden["answers"])
    assert close(single, golden["answers"])
    assert {answer["model_digest"] for answer in batch} == {digest}
    loaded = ask(
        python,
        "import flight_delays_model\n"
        f"print(json.dumps([name for name in {SERVER} if name in sys.modules]))",
    )
    assert loaded == []
    [wheel] = (run.path / "dist").glob("*.whl")
    assert wheel.name == f"flight_delays_model-0.1.0+{digest[7:19]}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert not any("train" in name or "app.py" in name for name in names), names


def test_the_same_model_gives_the_same_bytes(run: BakedProject) -> None:
    digests = set()
    for _ in range(2):
        run.make("wheel")
        [wheel] = (run.path / "dist").glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
        wheel.unlink()
    assert len(digests) == 1


def test_what_is_refused_is_named_and_its_values_are_not(
    science: BakedProject,
    environments: BakedProject,
    installed: Installed,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    del science
    project = bake_into(tmp_path_factory.mktemp("onnx")).borrow_environments(environments)
    bless(project.path, "binary")
    found = ask(installed(project), REFUSALS, ROW)
    assert found["unknown"][0] == "the row: nonsense: Extra inputs are not permitted"
    assert found["text for a number"][0] == "the row: size €: Input should be a valid number"
    assert found["nan"][0] == "the row: size €: Input should be a finite number"
    assert found["date"][0].startswith("the row: built: ")
    assert found["missing"][0] == "the row: size €: Field required"
    assert found["no row"][0] == "the row: must be a mapping of column names to values"
    assert found["second"][0] == "row 1: nonsense: Extra inputs are not permitted"
    assert found["unknown"][1][0]["field"] == "nonsense"
    assert "secret" not in json.dumps(found)
    assert all(without_cause for _, _, without_cause in found.values())


def test_a_model_that_serves_as_skops_brings_its_exact_versions(
    blessed_skops: BakedProject, installed: Installed
) -> None:
    python = installed(blessed_skops)
    _, batch, _ = ask(python, ANSWERS, [ROW, ROW | {"town": None, "built": None}])
    import pandas as pd

    frame = pd.DataFrame([ROW, ROW | {"town": None, "built": None}])
    frame["built"] = pd.to_datetime(frame["built"])
    expected = fitted("regression").predict(frame)
    assert [answer["prediction"] for answer in batch] == pytest.approx(list(expected), rel=1e-9)
    [wheel] = (blessed_skops.path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = archive.read(name).decode()
    lock = blessed_skops.read("requirements/serve-skops.txt")
    for package in ("scikit-learn", "skops", "pandas"):
        [line] = [
            line for line in metadata.splitlines() if line.startswith(f"Requires-Dist: {package}==")
        ]
        assert line.removeprefix("Requires-Dist: ") in lock


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"blessed": False}, "the model in model/ is not blessed: see `make gate`"),
        ({"model_digest": "sha256:0"}, "is not the one that was blessed: see `make gate`"),
        (None, "blessing.json is missing or damaged: run `make pipeline`"),
    ],
)
def test_a_model_that_is_not_blessed_becomes_no_wheel(
    blessed_skops: BakedProject, change: dict[str, Any] | None, sentence: str
) -> None:
    project, before = blessed_skops, blessed_skops.read("blessing.json")
    made = set((project.path / "dist").glob("*"))
    try:
        if change is None:
            (project.path / "blessing.json").unlink()
        else:
            write_blessing(project.path, "skops", **change)
        refused = project.run(".venv/bin/python", "-m", "flight_delays.wheel", code=2)
    finally:
        project.write("blessing.json", before)
    assert refused.stderr.startswith("wheel: ")
    assert refused.stderr.strip().endswith(sentence)
    assert refused.stderr.count("\n") == 1
    assert set((project.path / "dist").glob("*")) == made
