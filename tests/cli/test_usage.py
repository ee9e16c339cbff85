"""A slip in the words of a command is one sentence and exit code 2, as every other error."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def gatehouse(template_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(template_dir / "src"), "COLUMNS": "80"}
    command = [sys.executable, "-m", "gatehouse.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("predict",),
            "gatehouse predict: Missing argument 'FILE': see `gatehouse predict --help`",
        ),
        (("gates",), "gatehouse: No such command 'gates'. Did you mean 'gate'?"),
        (("gate", "--jsonn"), "gatehouse gate: No such option: --jsonn (Possible options: --json)"),
        (("deploy", "nowhere"), "gatehouse deploy: Invalid value for 'environment'"),
        (("github", "nope"), "gatehouse github: No such command 'nope'"),
    ],
    ids=" ".join,
)
def test_a_slip_is_one_sentence(template_dir: Path, words: tuple[str, ...], said: str) -> None:
    done = gatehouse(template_dir, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("github",), ("--help",), ("gate", "-h")], ids=" ".join)
def test_a_help_text_says_nothing_else_and_has_no_colours_in_a_pipe(
    template_dir: Path, words: tuple[str, ...]
) -> None:
    done = gatehouse(template_dir, *words)
    assert done.returncode == (0 if words[-1:] and words[-1][0] == "-" else 2)
    text = done.stdout + done.stderr
    assert "Usage: gatehouse" in text
    assert "\x1b" not in text
    assert ": see `" not in text


def test_every_command_that_a_text_names_is_there(template_dir: Path) -> None:
    import typer

    from gatehouse.cli import data, github, model, monitor, project, release  # noqa: F401
    from gatehouse.cli.app import app

    commands = {""}

    def walk(command: Any, called: str) -> None:
        for name, one in getattr(command, "commands", {}).items():
            commands.add(f"{called}{name}")
            walk(one, f"{called}{name} ")

    walk(typer.main.get_command(app), "")
    groups = {name.partition(" ")[0] for name in commands if " " in name}
    generated = template_dir / "{{cookiecutter.project_slug}}"
    makes = set(re.findall(r"^([a-z]+):", (generated / "Makefile").read_text("utf-8"), re.M))
    own = set(re.findall(r"^([a-z-]+):", (template_dir / "Makefile").read_text("utf-8"), re.M))
    texts = [p for p in (template_dir / "src").rglob("*") if p.suffix in (".py", ".yml", ".yaml")]
    texts += [*template_dir.glob("docs/*.md"), template_dir / "README.md", generated / "README.md"]
    unknown = []
    for path in texts:
        text = path.read_text("utf-8")
        known = makes | (own if path.suffix == ".md" else set())
        said = re.findall(r"`make ([a-z-]+)", text)
        unknown += [f"{path.name}: make {word}" for word in said if word not in known]
        for words in re.findall(r"`gatehouse ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text):
            first = words.partition(" ")[0]
            if (words if first in groups else first) not in commands:
                unknown.append(f"{path.name}: gatehouse {words}")
    assert not unknown, "\n".join(unknown)
