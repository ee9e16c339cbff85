"""What comes out of cookiecutter: exactly these files, complete, with nothing of ours left in."""

import hashlib
import re
import subprocess
import tomllib
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from baked import BakedProject
from conftest import Bake, bake_into
from cookiecutter.main import cookiecutter

import gatehouse
from gatehouse.core import environments

WHEEL = f"vendor/gatehouse_ml-{gatehouse.__version__}-py3-none-any.whl"
EVERYWHERE = [
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".github/CODEOWNERS",
    ".github/dependabot.yml",
    ".github/pull_request_template.md",
    ".github/workflows/cd.yml",
    ".github/workflows/ci.yml",
    ".github/workflows/ct.yml",
    ".github/workflows/monitor.yml",
    ".github/workflows/judge.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".python-version",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "data/.gitignore",
    "data/source.csv.dvc",
    "deploy.yaml",
    "dvc.yaml",
    "gatehouse",
    "gates.yaml",
    "ml-canvas.yaml",
    "monitor.yaml",
    "params.yaml",
    "pyproject.toml",
    "requirements/checks.in",
    "requirements/checks.txt",
    "requirements/serve.in",
    "requirements/serve.txt",
    "requirements/train.in",
    "requirements/train.txt",
    "schema.yaml",
    "src/PACKAGE/__init__.py",
    "src/PACKAGE/data.py",
    "src/PACKAGE/features.py",
    "src/PACKAGE/model.py",
    "tests/behaviour.yaml",
    "tests/test_features.py",
    "tests/test_model.py",
    WHEEL,
]
JINJA = r"(?<!\$)\{\{|\{%"
EXAMPLE_ONLY = {"data/fetch.py", "requirements/example.txt"}
OWN_TABLE = "a,b,y\n1,x,0\n2,y,1\n"


def expected(package: str) -> set[str]:
    return {name.replace("PACKAGE", package) for name in EVERYWHERE}


def test_the_example_has_exactly_these_files(example: BakedProject) -> None:
    assert example.files() == expected("flight_delays") | EXAMPLE_ONLY


def test_an_own_table_has_exactly_these_files(bake: Bake, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(OWN_TABLE)
    project = bake(data=str(table), target="y", project_name="My Model")
    assert project.files() == expected("my_model") | {"data/source.csv"}
    assert project.read("data/source.csv") == OWN_TABLE


MOST_FILES, MOST_LINES, MOST_PYTHON = 45, 1300, 250


def test_a_project_stays_small(example: BakedProject) -> None:
    names = example.files() - {"LICENSE", WHEEL}
    lines = {
        name: example.read(name).count("\n")
        for name in names
        if not re.fullmatch(r"requirements/\w+\.txt", name)
    }
    python = sum(count for name, count in lines.items() if name.endswith(".py"))
    assert len(example.files()) <= MOST_FILES
    assert sum(lines.values()) <= MOST_LINES, sorted(lines.items(), key=lambda pair: -pair[1])
    assert python <= MOST_PYTHON


def test_a_workflow_can_be_read(example: BakedProject) -> None:
    for name in example.files():
        if name.startswith(".github/workflows/"):
            assert example.read(name).count("\n") < 100, name


@pytest.mark.parametrize("kind", ["s3", "gs", "azure", "ssh"])
def test_another_data_remote_is_a_line_of_dvcs_configuration(bake: Bake, kind: str) -> None:
    project = bake(data_remote=f"{kind}://place/folder")
    assert project.files() == expected("flight_delays") | EXAMPLE_ONLY
    assert f"url = {kind}://place/folder\n" in project.read(".dvc/config")
    assert may_ask_a_cloud(project) is (kind != "ssh")


def test_without_a_bucket_no_workflow_may_ask_a_cloud_for_a_token(example: BakedProject) -> None:
    assert may_ask_a_cloud(example) is False


def may_ask_a_cloud(project: BakedProject) -> bool:
    """Whether all jobs that ask for a token may have one; False where none may."""
    found: set[bool] = set()
    for name in ("ci", "judge", "cd", "ct", "monitor"):
        for job in project.yaml(f".github/workflows/{name}.yml")["jobs"].values():
            asks = [s for s in job["steps"] if s.get("run") == "./gatehouse github oidc"]
            found |= {job["permissions"].get("id-token") == "write"} if asks else set()
    assert len(found) == 1
    return found.pop()


@pytest.fixture(scope="module")
def plain_name(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example under a name that nothing reads as anything else; to be read, not changed."""
    names = {"project_slug": "zebra-slug", "package_name": "zebra_package"}
    return bake_into(tmp_path_factory.mktemp("plain"), **names)


LICENSES = {
    "MIT": "Permission is hereby granted",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "Redistribution and use",
    "Proprietary": "All rights reserved",
}


@pytest.mark.parametrize(
    ("task", "python", "terms"),
    [
        *product(["auto", "binary", "multiclass", "regression"], ["3.11"], ["MIT"]),
        *product(["auto"], ["3.12", "3.13"], ["MIT"]),
        *product(["auto"], ["3.11"], ["Apache-2.0", "BSD-3-Clause", "Proprietary"]),
    ],
)
def test_every_answer_reaches_its_place(bake: Bake, task: str, python: str, terms: str) -> None:
    project = bake(task=task, python_version=python, license=terms, author_name="Ada & Co")
    assert project.yaml("schema.yaml")["task"] == task
    assert project.read(".python-version").strip() == python
    assert LICENSES[terms] in project.read("LICENSE")
    if terms != "Apache-2.0":
        assert "Ada & Co" in project.read("LICENSE")


@pytest.mark.parametrize("target", ["late", "arr_delay", "air_time"])
def test_the_example_ignores_what_is_known_only_after_landing(bake: Bake, target: str) -> None:
    project = bake(target=target)
    ignored = set(project.yaml("schema.yaml")["ignore"])
    assert ignored == {"arr_delay", "arr_time", "air_time"} - {target}
    derived = project.yaml("params.yaml")["ingest"]["derive_target"]
    assert (derived is not None) == (target == "late")


def test_nothing_of_the_template_is_left(example: BakedProject) -> None:
    for name in example.files() - {WHEEL}:
        # A workflow has expressions of its own, with a dollar sign in front.
        assert not re.search(JINJA, example.read(name)), name
        assert "cookiecutter" not in example.read(name).lower(), name


def test_every_yaml_and_toml_file_is_valid(example: BakedProject) -> None:
    names = [name for name in example.files() if name.endswith((".yaml", ".yml", ".dvc"))]
    assert len(names) >= 5
    for name in names:
        assert isinstance(yaml.safe_load(example.read(name)), dict), name
    assert tomllib.loads(example.read("pyproject.toml"))["project"]["name"] == "flight-delays"


def renamed(value: Any, old: str, new: str) -> Any:
    """The same with another name in every text of it."""
    if isinstance(value, dict):
        return {renamed(key, old, new): renamed(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, old, new) for inner in value]
    return value.replace(old, new) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("Null", "null"),
        ("2024", "model_2024"),
        ("On", "on"),
        ("1e3", "model_1e3"),
        ("Yes", "yes"),
        ("0x1F", "model_0x1f"),
        ("2024-01-02", "model_2024_01_02"),
        ("true", "true"),
    ],
)
def test_a_name_that_yaml_and_toml_may_read_otherwise_stays_text(
    bake: Bake, plain_name: BakedProject, name: str, package: str
) -> None:
    project = bake(project_name=name)
    places = set()
    slug = name.lower()
    for file in plain_name.files():
        if not file.endswith((".yaml", ".yml", ".toml")):
            continue
        parse = (
            tomllib.loads if file.endswith(".toml") else lambda text: [*yaml.safe_load_all(text)]
        )
        plain = parse(plain_name.read(file))
        expected = renamed(renamed(plain, "zebra_package", package), "zebra-slug", slug)
        assert parse(project.read(file)) == expected, file
        places |= {file} if expected != plain else set()
    assert {"params.yaml", "pyproject.toml"} <= places


def test_locks_are_hashed_and_name_no_host(example: BakedProject) -> None:
    for name, few in {"serve": 20, "train": 150, "checks": 100}.items():
        lock = example.read(f"requirements/{name}.txt")
        pins = re.findall(r"^[A-Za-z0-9][^ \n]*==", lock, re.MULTILINE)
        hashed = re.findall(r"^[A-Za-z0-9][^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE)
        assert len(pins) == len(hashed) > few
        assert "://" not in lock
        assert "index-url" not in lock


def test_locks_name_the_library_by_its_hash(example: BakedProject) -> None:
    digest = hashlib.sha256((example.path / WHEEL).read_bytes()).hexdigest()
    for name in ("serve", "train", "checks"):
        lock = example.read(f"requirements/{name}.txt")
        line = f"gatehouse-ml=={gatehouse.__version__} \\\n    --hash=sha256:{digest}\n"
        assert lock.count(line) == 1


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of a lock; more than one where Pythons differ."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ \n]+)", lock, re.MULTILINE
    ):
        found.setdefault(package, set()).add(version)
    return found


def test_train_and_serve_share_versions(
    example: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.path)
    train, serve = (pins(example.read(f"requirements/{n}.txt")) for n in ("train", "serve"))
    skops = pins(environments.skops_part())
    assert {"numpy", "onnxruntime", "pydantic"} <= train.keys() & serve.keys()
    assert {"scikit-learn", "pandas", "skops", "scipy", "joblib"} <= skops.keys()
    assert not {"mlflow", "dvc", "pyarrow", "typer"} & skops.keys()
    assert not skops.keys() & serve.keys()
    shared = train.keys() & serve.keys()
    assert {n: train[n] for n in shared} == {n: serve[n] for n in shared}
    assert skops == {n: train[n] for n in skops}


@pytest.mark.parametrize("part", ["bento", "nats", "redis", "kafka"])
def test_what_comes_on_top_of_what_serves_fits_it(example: BakedProject, part: str) -> None:
    serve = pins(example.read("requirements/serve.txt"))
    more = pins((files("gatehouse") / f"files/locks/{part}.txt").read_text("utf-8"))
    assert more
    assert not more.keys() & serve.keys()


@pytest.mark.parametrize("part", ["sign", "s3", "gs", "azure", "ssh"])
def test_what_comes_on_top_of_what_trains_fits_it(example: BakedProject, part: str) -> None:
    train = pins(example.read("requirements/train.txt"))
    more = pins((files("gatehouse") / f"files/locks/{part}.txt").read_text("utf-8"))
    assert more
    assert not more.keys() & train.keys()


def test_make_alone_prints_help(example: BakedProject) -> None:
    targets = ["setup", "check", "pipeline", "gate", "serve", "predict", "deploy", "ui"]
    said = example.make().stdout
    assert all(re.search(rf"^ +{target} ", said, re.MULTILINE) for target in targets)
    assert said.count("\n") < 24


def test_git_ignores_no_file_of_the_template(template_dir: Path) -> None:
    # The ignore rules meant for generated projects hold in the template's own folders, too.
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=template_dir, capture_output=True, text=True, check=True)
    inside = [name for name in done.stdout.split("\0") if name.startswith("{{")]
    assert inside == []


def test_a_folder_that_a_repository_ignores_gets_one_of_its_own(
    template_dir: Path, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n", encoding="utf-8")
    for folder in ("ignored", "watched"):
        cookiecutter(str(template_dir), no_input=True, output_dir=str(tmp_path / folder))
    assert (tmp_path / "ignored/flight-delays/.git").is_dir()
    assert not (tmp_path / "watched/flight-delays/.git").exists()
