"""Whether to train now, and a record of it on branch ``monitoring``.

What asks: a person (``demand``), new data (``data``), a worse model (``performance``), data that
have moved (``drift``), a model that has become old (``schedule``). The monitor is believed only
when it says the same for some windows, not again for some days, and only so often as the budget
allows; and what was trained once is not trained again.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gatehouse.core import doors
from gatehouse.core.project import Project
from gatehouse.monitoring.history import Line, moment

if TYPE_CHECKING:
    from gatehouse.core.config.monitor import Retrain

TRIGGERS = ("demand", "data", "performance", "drift", "schedule")  # the first that holds counts
BY_MONITOR = ("performance", "drift")
STALE = timedelta(hours=6)  # longer than the job may take: it was killed


@dataclass(frozen=True)
class Trained:
    """What a model was made of: its digest, path -> MD5 of the sources, when it was recorded."""

    model: str = ""
    data: dict[str, str] = field(default_factory=dict)
    when: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """All that a decision depends on, so that it can be repeated."""

    now: datetime
    data: dict[str, str]  # path -> MD5 of the sources as they are now
    champion: Trained
    main: Trained  # what the main branch has a model of; the champion, where that is newest
    passes: list[Line] = field(default_factory=list)
    serves: str = ""  # digest of the model in production, "" where the record names none
    retrain_days: int | None = None


@dataclass(frozen=True)
class Decision:
    """``state``: started, refused (``why`` says it), or known, where there is nothing to do."""

    trigger: str
    why: str
    key: str
    data: str
    model: str
    until: str = ""
    state: str = "started"

    def line(self) -> Line:
        """As it stands in training.jsonl."""
        return asdict(self)


def decide(
    triggers: tuple[str, ...],
    facts: Facts,
    settings: "Retrain",
    before: list[Line],
    *,
    reason: str = "",
    force: bool = False,
) -> Decision | None:
    """The decision on the first of ``triggers`` that holds, given all decisions ``before``.

    None where none holds. A person is held by key and budget, unless she forces it.
    """
    for trigger in (name for name in [*TRIGGERS, *doors.offered("triggers")] if name in triggers):
        if trigger != "demand" and (trigger not in settings.triggers or not facts.main.model):
            continue
        said = reason or "no reason given"
        why = said if trigger == "demand" else _holds(trigger, facts, settings)
        if not why:
            continue
        until = facts.passes[-1]["until"] if trigger in BY_MONITOR else ""
        data = digest(facts.data)
        key = digest([trigger, data, facts.champion.model, until])
        made = Decision(trigger, why, key, data, facts.champion.model, until)
        if not force and (known := _known(made, before, facts.now)):
            return replace(made, state="refused" if trigger == "demand" else "known", why=known)
        if not force and (refusal := _refusal(made, facts, settings, before)):
            return replace(made, state="refused", why=f"{refusal} (asked for by: {why})")
        return made
    return None


def _holds(trigger: str, facts: Facts, settings: "Retrain") -> str:
    """Why this trigger asks for a training; empty where it does not."""
    if trigger not in TRIGGERS:
        return str(doors.load("triggers", trigger)(facts, settings) or "")
    if trigger == "data":
        new = sorted(path for path, md5 in facts.data.items() if facts.main.data.get(path) != md5)
        return f"{', '.join(new)} changed since the model of the main branch" if new else ""
    if trigger == "schedule":
        if not facts.retrain_days or not facts.main.when:
            return ""
        days = (facts.now - facts.main.when) / timedelta(days=1)
        old = f"the model is {days:.0f} days old, and gets {facts.retrain_days} at most"
        return old if days >= facts.retrain_days else ""
    if not facts.passes:
        return ""
    model = facts.serves or facts.passes[-1].get("model")
    windows = [one for one in facts.passes if one.get("model") == model][-settings.windows :]
    # The newest pass may be of a model that is not in production any more: it says nothing.
    if len(windows) < settings.windows or windows[-1] is not facts.passes[-1]:
        return ""
    if not all(counts(trigger, one) for one in windows):
        return ""
    many = f"{len(windows)} window{'s' * (len(windows) != 1)}"
    return f"{trigger} in the last {many}, until {windows[-1]['until']}"


def counts(trigger: str, one: Line) -> bool:
    """Whether a window is a reason to train: estimates that cannot be relied on are none."""
    if trigger not in one["incidents"]:
        return False
    measured = (one.get("metrics") or {}).values()
    sure = any(m.get("realised") or (m.get("estimated") or {}).get("reliable") for m in measured)
    return trigger == "drift" or sure


def _known(made: Decision, before: list[Line], now: datetime) -> str:
    """What became of the same decision; of one that died without a word, nothing did."""
    for line in reversed(before):
        if line["key"] != made.key or line["state"] in ("refused", "failed"):
            continue
        if line["state"] != "started" or now - moment(line["when"]) < STALE:
            return f"this was trained already, {line['when'][:10]}: {line['state']}"
    return ""


def _refusal(made: Decision, facts: Facts, settings: "Retrain", before: list[Line]) -> str:
    ran = [line for line in before if line["state"] != "refused"]
    times = [(moment(line["when"]), line) for line in ran]
    if made.trigger in BY_MONITOR:
        for whose, known in (("champion", facts.champion), ("main branch", facts.main)):
            if facts.data == known.data:
                return f"no new labelled rows: the {whose} has learnt from all there are"
        same = [x for x in ran if (x.get("data"), x.get("model")) == (made.data, made.model)]
        if tried := [x["state"] for x in same if x["state"] not in ("failed", "started")]:
            return f"no new labelled rows since the last training, which ended: {tried[-1]}"
        last = max((t for t, x in times if x.get("trigger") in BY_MONITOR), default=None)
        if last and facts.now - last < timedelta(days=settings.cooldown_days):
            free = last + timedelta(days=settings.cooldown_days)
            when = f"the monitor had one on {last:%Y-%m-%d}, the next from {free:%Y-%m-%d}"
            return f"cool-down: {when}"
    today = sum(t.date() == facts.now.date() for t, _ in times)
    if today >= settings.per_day:
        return f"budget used up: {today} of {settings.per_day} trainings of {facts.now:%Y-%m-%d}"
    month = sum((t.year, t.month) == (facts.now.year, facts.now.month) for t, _ in times)
    if month >= settings.per_month:
        return f"budget used up: {month} of {settings.per_month} trainings of {facts.now:%Y-%m}"
    return ""


def digest(content: Any) -> str:
    """SHA-256 over a value's JSON, in hex."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_settings(project: Project) -> "Retrain":
    """``retrain`` of monitor.yaml; the budget of a month is that of the canvas, if it has one."""
    from gatehouse.core.config.canvas import load as canvas
    from gatehouse.core.config.monitor import load

    settings, budget = load(project).retrain, canvas(project).building_models.budget_per_month
    return settings if budget is None else settings.model_copy(update={"per_month": budget})
