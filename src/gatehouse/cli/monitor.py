"""Verbs about what runs: its log, a look at it, people's answers, the next training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gatehouse.core import environments
from gatehouse.core.errors import Stop

from .app import DAILY, HERE, MONITOR, app, verb
from .model import Json

Days = Annotated[float | None, typer.Option(metavar="N", help="So many days before the end.")]
training = typer.Typer(help="Whether to train now, and what became of it.", no_args_is_help=True)
app.add_typer(training, name="training", rich_help_panel=MONITOR)


class Action(StrEnum):
    """What is done with the rows that wait for a person."""

    export = "export"
    import_ = "import"
    status = "status"


class Trigger(StrEnum):
    """What can ask for a training."""

    demand = "demand"
    data = "data"
    performance = "performance"
    drift = "drift"
    schedule = "schedule"


class Ended(StrEnum):
    """How a training can end."""

    blessed = "blessed"
    not_blessed = "not-blessed"
    quarantined = "quarantined"
    nothing = "nothing"
    failed = "failed"


@verb(DAILY)
def monitor(
    as_json: Json = False,
    checks: Annotated[bool, typer.Option("--checks", help="Draw Deepchecks' page, too.")] = False,
) -> int:
    """One look at the live model, by its inference log."""
    from gatehouse.monitoring.monitor import monitor

    if checks:
        environments.ensure("checks")
    return monitor(HERE, as_json=as_json, checks=checks)


@verb(MONITOR)
def log(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601, UTC.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601; else now.")] = None,
    days: Days = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Whose truth is known.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write them: .parquet or .csv.")] = None,
    as_json: Json = False,
) -> int:
    """What the service answered, as a summary or a table."""
    from gatehouse.monitoring.log import log

    return log(
        HERE, since=since, until=until, days=days, labelled=labelled, out=out, as_json=as_json
    )


@verb(MONITOR)
def batch(
    source: Annotated[str | None, typer.Option(help="CSV, Parquet, or database#TABLE.")] = None,
    out: Annotated[str | None, typer.Option(help="Parquet, or a database's URL.")] = None,
    table: Annotated[str | None, typer.Option(help="Of the predictions in a database.")] = None,
    key: Annotated[str | None, typer.Option(help="What names a row; else id_column.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Score again.")] = False,
    as_json: Json = False,
) -> int:
    """Predictions of the blessed model for a whole table."""
    from gatehouse.scoring.batch import run

    return run(HERE, source, out, table, key, force=force, as_json=as_json)


@verb(MONITOR)
def review(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.export,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The review file.")] = None,
    days: Days = None,
    again: Annotated[bool, typer.Option("--again", help="Ask again what has no answer.")] = False,
    issue: Annotated[bool, typer.Option("--issue", help="List them in an issue.")] = False,
    as_json: Json = False,
) -> int:
    """Unsure predictions to a person, the answers back as labels."""
    from gatehouse.labelling import review

    if action is Action.status:
        return review.status(HERE, as_json=as_json)
    if action is Action.import_:
        if not file:
            raise Stop(
                "review-no-file", "say which file holds the answers: gatehouse review import FILE"
            )
        return review.take_in(HERE, file, as_json=as_json)
    if issue:
        from gatehouse.github.review import export

        return export(HERE, days=days, as_json=as_json)
    return review.export(HERE, file, days=days, again=again, as_json=as_json)


@verb(MONITOR, on=training)
def update() -> int:
    """Bring imported sources up to date."""
    from gatehouse.retraining.facts import refresh

    return refresh(HERE)


@verb(MONITOR, on=training)
def decide(
    triggers: Annotated[
        list[Trigger] | None, typer.Option("--for", help="What may ask; else all but demand.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why a person asks, with --for demand.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Past key and budget.")] = False,
    record: Annotated[bool, typer.Option("--record", help="On branch monitoring.")] = False,
    as_json: Json = False,
) -> int:
    """Say whether to train now, and why."""
    from gatehouse.retraining.facts import consider

    asked = tuple(one.value for one in triggers or Trigger if triggers or one is not Trigger.demand)
    return consider(HERE, asked, reason, force=force, write=record, as_json=as_json)


@verb(MONITOR, "record", on=training)
def record_(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Of the decision that started it.")],
    state: Annotated[Ended, typer.Argument(help="How it ended.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Written beside it.")] = "",
) -> int:
    """Write how a training ended."""
    from gatehouse.retraining.facts import end

    return end(HERE, key, state.value, why)


@verb(MONITOR, "list", on=training)
def list_(as_json: Json = False) -> int:
    """Every decision, newest first."""
    from gatehouse.retraining.facts import listed

    return listed(HERE, as_json=as_json)
