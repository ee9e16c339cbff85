"""The program ``gatehouse``."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from gatehouse.core.actions import lend_token
from gatehouse.core.console import say
from gatehouse.core.environments import steady
from gatehouse.core.errors import BROKEN, GOOD, Stop
from gatehouse.core.hooks import CONFINED, on_path
from gatehouse.core.project import Project

from .run import guarded


def prepare() -> None:
    """What holds for all that is started from here: nothing is sent home, our tools first.

    No file of the folder steers Python or uv.
    """
    if sys.argv[1:2] == ["judge"]:
        os.environ[CONFINED] = "1"  # nothing of the change is imported
    on_path(Project())  # a model may be of a class of the user's own
    for name, value in {
        "DVC_NO_ANALYTICS": "1",
        "BENTOML_DO_NOT_TRACK": "true",  # BentoML wants the word
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY": "true",
    }.items():
        os.environ.setdefault(name, value)
    os.environ.update(steady())
    # Compiled modules halve the start of every stage.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([programs, *(p for p in path if p != programs)])


def main() -> None:
    """The program."""
    prepare()
    lend_token()
    with suppress(Stop):  # a help text is for everywhere; a verb says what it misses
        os.chdir(Project.here().root)
    words = sys.argv[1:]
    if len(words) == 2 and words[0] == "stage" and not words[1].startswith("-"):
        from .stages import run  # a pipeline starts ten of these: without a parser

        raise SystemExit(guarded(words[1], lambda: run(words[1])))
    from typer.exceptions import Abort, TyperException

    from . import data, github, model, monitor, project, release  # noqa: F401  each adds its verbs
    from .app import app

    try:
        code = app(prog_name=app.info.name, standalone_mode=False)
        raise SystemExit(code if isinstance(code, int) else GOOD)
    except TyperException as error:  # a slip in the words, told as every other error
        called = getattr(getattr(error, "ctx", None), "command_path", app.info.name)
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        if what := " ".join(said.split()).rstrip("."):  # else it was the help text
            say(f"{called}: {what}: see `{called} --help`")
        raise SystemExit(BROKEN) from None
    except Abort:  # Ctrl-C at a question
        raise SystemExit(130) from None
    except UnicodeEncodeError:
        say("gatehouse: the terminal lacks a letter of the answer: set PYTHONIOENCODING=utf-8")
        raise SystemExit(BROKEN) from None
