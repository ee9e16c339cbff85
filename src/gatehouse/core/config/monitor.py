"""``monitor.yaml``, read strictly: what is unknown or out of range is named, never passed over."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gatehouse.core.doors import known
from gatehouse.core.project import Project

from .reader import File, Section, read

PATH = Path("monitor.yaml")

Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
TRIGGERS = ("data", "drift", "performance", "schedule")


Trigger = Annotated[str, AfterValidator(known("triggers", *TRIGGERS))]


class Log(Section):
    """Where records and labels are."""

    url: str = "log"
    labels: str = "labels"


class Window(Section):
    """``reference``: ``training``, or how many days before the window it ended."""

    days: Count = 7
    rows_min: Count = 300
    reference: Literal["training"] | Count = "training"


class Volume(Section):
    """What too little is."""

    fresh_hours: Positive = 24
    share: Share = 0.5


class Quality(Section):
    """What broken is, in shares of the records."""

    missing: Share = 0.05
    unseen: Share = 0.02
    damaged: Share = 0.01


class Drift(Section):
    """What counts as moved."""

    level: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.05
    effect: Share = 0.1
    columns: Share = 0.3
    domain: Annotated[float, Field(strict=True, ge=0.5, le=1)] = 0.65
    ignore: tuple[str, ...] = ()


class Performance(Section):
    """What worse is, in the unit of the metric."""

    metric: str = "skill"
    loss: Positive = 0.1
    gap: Positive = 0.1
    labels_min: Count = 200


class Alerts(Section):
    """When an incident ends, and when monitoring counts as stopped."""

    clean_windows: Count = 2
    stopped_hours: Positive = 48


class Retrain(Section):
    """When a successor is trained, and what becomes of a blessed one."""

    triggers: tuple[Trigger, ...] = ("data", "performance", "drift", "schedule")
    windows: Count = 2
    cooldown_days: Annotated[float, Field(strict=True, ge=0)] = 7
    per_day: Count = 1
    per_month: Count = 4
    policy: Literal["pull-request", "promote"] = "pull-request"


class Batch(Section):
    """What is scored, and where to."""

    source: str | None = None
    out: str = "predictions.parquet"
    table: str = "predictions"
    key: str | None = None


class Review(Section):
    """What people are asked about."""

    below: Share | None = None
    most: Count = 100


class Settings(File):
    """The whole file."""

    log: Log = Log()
    window: Window = Window()
    volume: Volume = Volume()
    quality: Quality = Quality()
    drift: Drift = Drift()
    performance: Performance = Performance()
    alerts: Alerts = Alerts()
    retrain: Retrain = Retrain()
    batch: Batch = Batch()
    review: Review = Review()


def load(project: Project) -> Settings:
    """Read it; the environment says another place of the log and labels (LOG_URL, LABELS_URL)."""
    found = read(project / PATH, Settings)
    said = {"url": os.environ.get("LOG_URL"), "labels": os.environ.get("LABELS_URL")}
    there = found.log.model_copy(update={name: value for name, value in said.items() if value})
    return found.model_copy(update={"log": there})
