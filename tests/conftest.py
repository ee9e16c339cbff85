import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from baked import BakedProject
from cookiecutter.main import cookiecutter
from filelock import FileLock
from gate_files import PIPELINE, put
from real_tables import install

# Workflows run on Linux, and are the same files everywhere.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_workflows_*.py"]

TEMPLATE = Path(__file__).resolve().parents[1]

# Hundreds of processes import the same packages, which are compiled once.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Where cores are shared, a thread that waits for another by spinning takes the core from it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A grammar of web addresses that takes seconds to build; jsonschema does without it.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# So that a failure there shows its values.
pytest.register_assert_rewrite("real_trial")

Bake = Callable[..., BakedProject]
EVERY_TEST = pytest.StashKey[list[pytest.Item]]()  # where all were collected, before any choice


# A file's tests share what they made, so they stay together; the longest files begin.
LONGEST = (
    *("test_year.py", "test_release.py", "test_workflows_ci.py", "test_workflows_cd.py"),
    *("test_workflows_ct.py", "test_played_day.py", "test_real_tables.py"),
    "test_three_tasks.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if [Path(config.rootpath, word) for word in config.args] == [TEMPLATE / "tests"]:
        config.stash[EVERY_TEST] = items[:]


@pytest.fixture(scope="session")
def template_dir() -> Path:
    return TEMPLATE


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Generate a project with these answers; a refusal raises FailedHookException."""
    return lambda **answers: bake_into(Path(tempfile.mkdtemp(dir=tmp_path)), **answers)


def bake_into(folder: Path, **answers: str) -> BakedProject:
    """Generate a project in this folder."""
    made = cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(folder), extra_context=answers)
    return BakedProject(Path(made))


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example as generated; to be read, not changed."""
    return bake_into(tmp_path_factory.mktemp("example"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository to put a gate's files into."""
    monkeypatch.chdir(tmp_path)
    for name in ("reports", "data", "model"):
        (tmp_path / name).mkdir()
    put("dvc.yaml", PIPELINE)
    return tmp_path


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bare repository, for clones to push to."""
    folder = tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project that was set up, whose environments others borrow: one for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "environments.lock"):
        made = list((folder / "environments").glob("*/.ready"))
        if made:
            return BakedProject(made[0].parent)
        project = bake_into(folder / "environments")
        # With what a model needs that has no ONNX form, and what packs a Bento.
        project.run("sh", "gatehouse", "--version")
        ensure = "from gatehouse.core.environments import ensure as e; "
        ensure += "e('train', 'sign'), e('checks'), e('serve', 'skops', 'bento')"
        project.run(".venv/bin/python", "-c", ensure)
        (project.path / ".ready").touch()
        return project


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of requirements/tables.txt: one for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "packages.lock"):
        if not (folder / "packages").exists():
            install(folder / "packages.draft")
            (folder / "packages.draft").rename(folder / "packages")
    return folder / "packages"


@pytest.fixture(scope="session")
def checks_python(environments: BakedProject) -> Path:
    return environments.path / ".venv-checks" / "bin" / "python"
