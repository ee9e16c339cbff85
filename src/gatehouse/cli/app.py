"""``gatehouse VERB``: what people and workflows call; a help text takes nothing heavy.

Exit codes: 0 good, 1 gate closed, 2 usage or broken input, 3 infrastructure.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from gatehouse.core.project import Project
from gatehouse.core.version import __version__

from .run import guarded

HERE = Project()  # the program works in the folder of the project that it was called in
DAILY, DATA, MODEL = "Every day", "Data", "Model"
RELEASE, MONITOR, PROJECT = "Release", "Monitor and train again", "Project"
Verb = TypeVar("Verb", bound=Callable[..., Any])

app = typer.Typer(
    name="gatehouse",
    help="An ML repository in which every change to code, data or model walks through gates that "
    "close. Exit codes: 0 good, 1 gate closed, 2 usage or broken input, 3 infrastructure.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def verb(panel: str, name: str | None = None, on: typer.Typer = app) -> Callable[[Verb], Verb]:
    """Make a command of a function that returns its exit code, or nothing for 0.

    A ``Stop`` becomes its sentence on standard error and its exit code.
    """

    def register(function: Verb) -> Verb:
        called = name or function.__name__.replace("_", "-")

        @functools.wraps(function)
        def command(*args: Any, **options: Any) -> None:
            raise typer.Exit(guarded(called, lambda: function(*args, **options)))

        on.command(called, rich_help_panel=panel)(command)
        return function

    return register


@app.callback(invoke_without_command=True)
def about(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """See ``app``."""
    if version:
        sys.stdout.write(f"gatehouse {__version__}\n")
        raise typer.Exit
