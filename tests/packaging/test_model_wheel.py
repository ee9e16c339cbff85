"""The model as a dependency: what the wheel holds, and what it answers where nothing else is."""

import hashlib
import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from serving import ROW, bless, fitted, write_blessing

from gatehouse.core.project import Project

PYPROJECT = (
    '[project]\nname = "flight-delays"\nversion = "0.1.0"\nrequires-python = ">=3.11,<3.14"\n'
)
NAME = "flight_delays_model"
SERVER = ("bentoml", "uvicorn", "prometheus_client", "sklearn", "pandas", "flight_delays")
ROWS = [ROW, ROW | {"town": None, "built": None}]


def project(folder: Path, *task: str) -> Path:
    """A blessed model, and what names the wheel."""
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "src/flight_delays").mkdir(parents=True)
    (folder / "src/flight_delays/__init__.py").touch()
    return bless(folder, *task)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("onnx"), "binary")


@pytest.fixture(scope="module")
def skops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression that serves as skops."""
    return project(tmp_path_factory.mktemp("skops"), "regression", "skops")


def build(folder: Path) -> Path:
    """The wheel of the project in ``folder``."""
    from gatehouse.packaging.model_wheel import build

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = build(Project())
    [wheel] = (folder / "dist").glob("*.whl")
    assert said.startswith(f"dist/{wheel.name} (")
    return wheel


def requirements(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        lines = archive.read(name).decode().splitlines()
    return {line.split(": ", 1)[1] for line in lines if line.startswith("Requires-Dist: ")}


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Any]]:
    """The module of a wheel, which is unpacked beside the library."""

    def unpack(wheel: Path) -> Any:
        zipfile.ZipFile(wheel).extractall(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        return importlib.import_module(NAME)

    yield unpack
    sys.modules.pop(NAME, None)


def test_it_holds_the_model_and_no_code_but_its_own_door(onnx: Path) -> None:
    from gatehouse import __version__

    wheel = build(onnx)
    digest = json.loads((onnx / "blessing.json").read_text())["model_digest"]
    assert wheel.name == f"{NAME}-0.1.0+{digest[7:19]}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = {n.removeprefix(f"{NAME}/") for n in archive.namelist() if n.startswith(f"{NAME}/")}
    model = {f"model/{path.name}" for path in (onnx / "model").iterdir()}
    assert {name for name in held if name and not name.endswith("/")} == model | {
        *("__init__.py", "schema.yaml", "gates.yaml", "blessing.json")
    }
    named = requirements(wheel)
    assert f"gatehouse-ml=={__version__}" in named
    rest = {name.partition("~=")[0] for name in named if "~=" in name}
    assert rest == {"numpy", "onnxruntime", "pydantic", "pyyaml"}
    assert len(named) == 5


def test_a_model_with_columns_of_features_py_brings_that_module(
    tmp_path: Path, imported: Callable[[Path], Any]
) -> None:
    from serving import COLUMNS, frame

    from gatehouse.core.config.schema import Column
    from gatehouse.serving.derived import derived
    from gatehouse.serving.direct import Direct
    from gatehouse.serving.features import plain_columns
    from gatehouse.serving.predictor import load

    (folder := tmp_path / "project").mkdir()
    project(folder, "binary")
    module = folder / "src/flight_delays/features.py"
    module.write_text("def derive(frame):\n    return {'twice': 2 * frame['rooms']}\n")
    known = {name: Column(**about) for name, about in COLUMNS.items()}
    made = derived(Project(folder), plain_columns(frame(), known), known)
    bless(folder, "binary", model=fitted("binary", derive=made))
    served = Direct(load(folder)).predict_batch(ROWS)
    wheel = build(folder)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"{NAME}/features.py") == module.read_bytes()
    module.unlink()
    assert imported(wheel).predict_batch(ROWS) == served


def test_the_same_model_gives_the_same_bytes(onnx: Path) -> None:
    digests = set()
    for _ in range(2):
        wheel = build(onnx)
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
        wheel.unlink()
    assert len(digests) == 1


def test_it_answers_as_the_service_does(onnx: Path, imported: Callable[[Path], Any]) -> None:
    from gatehouse.serving.direct import Direct
    from gatehouse.serving.predictor import load

    served = Direct(load(onnx))
    module = imported(build(onnx))
    assert served.digest == module.MODEL_DIGEST
    assert module.predict_batch(ROWS) == served.predict_batch(ROWS)
    assert [module.predict(row) for row in ROWS] == served.predict_batch(ROWS)
    assert module.predict_batch([]) == []


def test_what_is_refused_is_named_and_its_values_are_not(
    onnx: Path, imported: Callable[[Path], Any]
) -> None:
    module = imported(build(onnx))

    def refused(call: Callable[..., Any], given: Any) -> Any:
        with pytest.raises(module.Invalid) as error:
            call(given)
        assert error.value.__cause__ is None
        assert "secret" not in f"{error.value} {error.value.fields}"
        return error.value

    unknown = refused(module.predict, ROW | {"nonsense": "secret"})
    assert str(unknown) == "the row: nonsense: Extra inputs are not permitted"
    assert unknown.fields[0]["field"] == "nonsense"
    for change, said in {
        "secret": "Input should be a valid number",
        float("nan"): "Input should be a finite number",
    }.items():
        row = ROW | {"size €": change}
        assert str(refused(module.predict, row)) == f"the row: size €: {said}"
    assert str(refused(module.predict, ROW | {"built": "12"})).startswith("the row: built: ")
    less = {name: value for name, value in ROW.items() if name != "size €"}
    assert str(refused(module.predict, less)) == "the row: size €: Field required"
    sentence = "the row: must be a mapping of column names to values"
    assert str(refused(module.predict, 5)) == sentence
    second = refused(module.predict_batch, [ROW, ROW | {"nonsense": 1}])
    assert str(second) == "row 1: nonsense: Extra inputs are not permitted"


def test_a_model_that_serves_as_skops_brings_its_exact_versions(
    skops: Path, imported: Callable[[Path], Any]
) -> None:
    import pandas as pd

    wheel = build(skops)
    exact = {f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "pandas")}
    assert exact <= requirements(wheel)
    frame = pd.DataFrame(ROWS)
    frame["built"] = pd.to_datetime(frame["built"])
    expected = fitted("regression").predict(frame)
    answers = imported(wheel).predict_batch(ROWS)
    assert [answer["prediction"] for answer in answers] == pytest.approx(list(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"blessed": False}, "model-not-blessed"),
        ({"model_digest": "sha256:0"}, "model-not-blessed"),
        (None, "blessing-damaged"),
    ],
)
def test_a_model_that_is_not_blessed_becomes_no_wheel(
    skops: Path, change: dict[str, Any] | None, code: str
) -> None:
    from gatehouse.core.errors import InputError

    blessing = skops / "blessing.json"
    before, made = blessing.read_text(), set((skops / "dist").glob("*"))
    try:
        if change is None:
            blessing.unlink()
        else:
            write_blessing(skops, "skops", **change)
        with pytest.raises(InputError) as refused:
            build(skops)
    finally:
        blessing.write_text(before)
    assert refused.value.code == code
    assert set((skops / "dist").glob("*")) == made


@pytest.mark.slow
@pytest.mark.parametrize("serves", ["onnx", "skops"])
def test_installed_elsewhere_it_needs_what_it_names_and_no_server(
    serves: str, template_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wheel, python = build(request.getfixturevalue(serves)), tmp_path / "venv/bin/python"
    library = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir"]
    new = [sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable]
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    for command in (
        [*library, str(tmp_path / "vendor"), str(template_dir)],
        [*new, str(tmp_path / "venv")],
        [*install, "--find-links", str(tmp_path / "vendor"), str(wheel)],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    code = (
        f"import json, sys\nfrom {NAME} import predict_batch\n"
        "answers = predict_batch(json.load(sys.stdin))\n"
        f"print(json.dumps([len(answers), [n for n in {SERVER} if n in sys.modules]]))"
    )
    done = subprocess.run(
        [str(python), "-I", "-c", code],
        input=json.dumps(ROWS),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, loaded = json.loads(done.stdout)
    assert count == 2
    assert loaded == ([] if serves == "onnx" else ["sklearn", "pandas"])
