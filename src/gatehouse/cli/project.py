"""Verbs about the project itself: what is lacking, what it is made of, where it lives."""

import sys
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from gatehouse.core import environments
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text

from .app import DAILY, HERE, PROJECT, verb
from .model import Json
from .run import all_of


@verb(DAILY)
def doctor(as_json: Json = False) -> int:
    """What is lacking here, with the command that mends it."""
    from gatehouse.doctor import doctor

    return doctor(HERE, as_json=as_json)


@verb(PROJECT)
def add(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="Its name, or a requirement: lightgbm>=4.6")
    ],
) -> int:
    """A package for training and serving, into the locks."""
    from gatehouse.gates.packages import add

    if code := add(HERE, package):
        return code
    environments.ensure("serve")
    environments.ensure("train")
    return GOOD


@verb(PROJECT)
def lock(
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take newer versions.")] = False,
) -> int:
    """Compile requirements/*.in again."""
    how = ["pip", "compile", "--quiet", *(["--upgrade"] if upgrade else []), "--universal"]
    how += ["--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    how += ["--no-emit-find-links", "--custom-compile-command", "gatehouse lock"]
    vendor = ["--find-links", str(Path("vendor").resolve())] if Path("vendor").is_dir() else []
    import os

    os.chdir(environments.LOCKS)
    uv = str(Path(sys.executable).with_name("uv"))
    names = ("train", "serve", "checks")
    return all_of(*([uv, *how, *vendor, "--output-file", f"{n}.txt", f"{n}.in"] for n in names))


@verb(PROJECT)
def eject(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="As --list names it, or a folder of these.")
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="What can be ejected.")] = False,
) -> int:
    """Copy a file that the library ships, or a folder, into the project, where it wins."""
    from gatehouse.core import shipped

    if listed or not file:
        for name in shipped.names():
            mark = " (yours)" if Path(name).exists() else ""
            sys.stdout.write(f"{name}{mark}\n")
        return GOOD
    asked = PurePosixPath(file)
    found = [Path(n) for n in shipped.names() if PurePosixPath(n).is_relative_to(asked)]
    if not found:
        raise Stop(
            "shipped-unknown",
            f"the library ships no {file!r}: `gatehouse eject --list` names what it does",
        )
    new = [path for path in found if not path.exists()]
    if not new:
        raise Stop("eject-exists", f"{file} is here already, and it is what counts: change it")
    texts = [shipped.text(HERE, path.as_posix()) for path in new]
    for path, text in zip(new, texts, strict=True):
        write_text(path, text)
        say(f"eject: {path} is yours now; a new version of the library no longer changes it")
    if any(path.is_relative_to(".github/workflows") for path in new):
        from gatehouse.github.trust import allow

        allow(HERE)
    return GOOD
