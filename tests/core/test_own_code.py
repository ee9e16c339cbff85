"""The user's own functions: found, called, and told apart from ours where they fail."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stops import stops

from gatehouse.core import hooks
from gatehouse.core.errors import InputError
from gatehouse.core.project import Project

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module of the one package of a project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(hooks, "_added", [])

    def write(name: str, code: str) -> None:
        Path("src/mine").mkdir(parents=True, exist_ok=True)
        Path("src/mine/__init__.py").touch()
        Path(f"src/mine/{name}").write_text(code, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_what_is_not_there_is_none(write: Write) -> None:
    assert hooks.hook(Project(), "data", "prepare") is None
    write("other.py", "")
    assert hooks.hook(Project(), "data", "prepare") is None
    write("data.py", "prepare = None")
    assert hooks.hook(Project(), "data", "prepare") is None
    assert hooks.hook(Project(), "data", "clean") is None


def test_a_function_is_called_with_what_it_is_given(write: Write) -> None:
    write("helper.py", "ONE = 1")
    write("data.py", "from .helper import ONE\ndef prepare(a, b): return a + b + ONE")
    found = hooks.hook(Project(), "data", "prepare")
    assert found is not None
    assert found(2, 3) == 6


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import nothing_like_that", "src/mine/data.py, line 1: it cannot be imported (ModuleNotFoundError: No module named 'nothing_like_that'): correct it"),
        ("\n\ndef prepare(:", "src/mine/data.py, line 3: it cannot be imported (SyntaxError"),
        ("from .other import x", "src/mine/data.py, line 1: it cannot be imported (ModuleNotFoundError"),
        ("prepare = 3", "src/mine/data.py: prepare is no function: make it one, or rename it"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_used_gets_one_sentence(
    write: Write, code: str, sentence: str
) -> None:
    write("data.py", code)
    with pytest.raises(InputError) as refusal:
        hooks.hook(Project(), "data", "prepare")
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_a_function_raises_names_its_line_and_no_value(write: Write) -> None:
    write("helper.py", "def look(row):\n    return {}[row]")
    write("data.py", "from .helper import look\ndef prepare(row):\n    return look(row)")
    found = hooks.hook(Project(), "data", "prepare")
    assert found is not None
    with pytest.raises(InputError) as refusal:
        found("John")
    assert refusal.value.code == "hook-raised"
    assert "src/mine/helper.py, line 2: prepare ended with KeyError" in str(refusal.value)


def test_two_packages_are_one_too_many(write: Write) -> None:
    write("data.py", "")
    Path("src/yours").mkdir()
    Path("src/yours/__init__.py").touch()
    with stops("packages-several", "src", "mine, yours"):
        hooks.hook(Project(), "data", "prepare")


def test_a_package_with_the_name_of_an_installed_one_is_refused(write: Write) -> None:
    Path("src/email").mkdir(parents=True)
    Path("src/email/__init__.py").touch()
    Path("src/email/message.py").write_text("def prepare(): return 1", encoding="utf-8")
    with stops("package-name", "src/email"):
        hooks.hook(Project(), "message", "prepare")


def test_each_project_has_its_own(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        Path(name).mkdir(exist_ok=True)
        with monkeypatch.context() as there:
            there.chdir(name)
            write("data.py", f"def prepare(): return {name!r}")
            found = hooks.hook(Project(), "data", "prepare")
            assert found is not None
            assert found() == name
