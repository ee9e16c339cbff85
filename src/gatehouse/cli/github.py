"""Verbs that workflows call, and the one that sets GitHub up."""

from enum import StrEnum
from typing import Annotated

import typer

from .app import HERE, PROJECT, app, verb
from .run import own as another
from .run import program

github = typer.Typer(help="What GitHub's workflows call, and `setup`.", no_args_is_help=True)
app.add_typer(github, name="github", rich_help_panel=PROJECT)
PANEL = "Commands"


class Telling(StrEnum):
    """Which end of a run of CI."""

    begin = "begin"
    end = "end"


class Oidc(StrEnum):
    """A token of this run, which runs the cloud is to trust, or which jobs may ask."""

    token = "token"
    trust = "trust"
    allow = "allow"


class Release(StrEnum):
    """What cd.yml tells."""

    look = "look"
    image = "image"
    propose = "propose"
    failed = "failed"


class Training(StrEnum):
    """What ct.yml does."""

    look = "look"
    decide = "decide"
    outcome = "outcome"
    store = "store"
    hand_over = "hand-over"
    failed = "failed"


class Alert(StrEnum):
    """After a pass of the monitor, or whether it still runs."""

    passed = "passed"
    stopped = "stopped"


@verb(PANEL, on=github)
def setup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    repository: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Else that of origin.")
    ] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="A new one is private.")
    ] = None,
) -> int:
    """Create or adopt the repository on GitHub, with its rules; again goes on."""
    from gatehouse.github.setup import setup

    return setup(HERE, dry_run=dry_run, repository=repository, private=private)


@verb(PANEL, on=github)
def judge() -> int:
    """Judge HEAD_SHA by the checkout of the base branch here; see judge.yml."""
    from gatehouse.github.judging import judge

    return judge(HERE, lambda words: another(*words))


@verb(PANEL, on=github)
def tell(step: Annotated[Telling, typer.Argument(help="Which.")]) -> int:
    """The commit status `pass`, and the one comment of a pull request."""
    from gatehouse.github import comment

    return comment.begin() if step is Telling.begin else comment.end()


@verb(PANEL, on=github)
def changes() -> int:
    """Which jobs of ci.yml a change wants."""
    from gatehouse.github.changes import changes

    return changes(HERE)


@verb(PANEL, on=github)
def oidc(what: Annotated[Oidc, typer.Argument(help="Which.")] = Oidc.token) -> int:
    """Let DVC read a bucket in CI, with no stored secret; `trust`: what the cloud must be told."""
    from gatehouse.github.trust import step

    return step(HERE, what.value)


@verb(PANEL, on=github)
def keys(words: Annotated[list[str], typer.Argument(metavar="VERB…", help="Another verb.")]) -> int:
    """Run another verb with the keys of a release, which end with it."""
    from gatehouse.github.keys import keys

    return keys(another(*words))


@verb(PANEL, on=github)
def release(step: Annotated[Release, typer.Argument(help="Which.")]) -> int:
    """What cd.yml tells: whether there is anything to release, its image, what failed."""
    from gatehouse.github.release import release

    return release(HERE, step.value)


@verb(PANEL, on=github)
def training(step: Annotated[Training, typer.Argument(help="Which.")]) -> int:
    """What ct.yml does: look, decide, hand the candidate over, say what failed."""
    from gatehouse.github import candidate, handover, training

    steps = {
        Training.look: training.look,
        Training.decide: candidate.decide,
        Training.outcome: candidate.outcome,
        Training.store: handover.store,
        Training.hand_over: handover.hand_over,
        Training.failed: training.failed,
    }
    return steps[step](HERE)


@verb(PANEL, on=github)
def alerts(what: Annotated[Alert, typer.Argument(help="Which.")] = Alert.passed) -> int:
    """Tell of what a pass of the monitor found; `stopped`: whether it still runs."""
    from gatehouse.github import alerts

    return alerts.stopped(HERE) if what is Alert.stopped else alerts.after_pass(HERE)


@verb(PANEL, on=github)
def take(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The number in a run's address.")],
) -> int:
    """Put the model that a run of CI made in place of this machine's, and record it."""
    from gatehouse.github.take import take

    return take(
        HERE,
        run,
        lambda until: program(*another("pipeline", *(["--until", until] if until else []))),
    )
