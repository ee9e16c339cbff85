"""``gates.yaml``: what must hold before anything moves on.

Names are read strictly: what is unknown or stands twice is refused. What a number may be is for the
gate that asks for it, since a bound that cannot be judged closes that gate and no other.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from gatehouse.core.project import Project

from .reader import File, Section, read

PATH = Path("gates.yaml")


class Data(Section):
    """The data gate."""

    rows_min: Any = None


class Model(Section):
    """The blessing; ``rules`` are read by ``rules.read_rules``."""

    bootstrap: Any = None
    rows_min: Any = None
    resamples: Any = None
    rules: Any = None


class MissingValues(Section):
    """How much blanked cells may cost."""

    share: Any = None
    max_loss: Any = None


class Budget(Section):
    """The model on disk, and one row."""

    size_mb: Any = None
    latency_ms: Any = None


class ModelTests(Section):
    """The suite of the library and the user's own tests."""

    may_skip: Any = None
    timeout_minutes: Any = 10
    missing_values: MissingValues | None = None
    budget: Budget | None = None


class Image(Section):
    """The built image."""

    startup_seconds: Any = None
    latency_ms: Any = None
    memory_mb: Any = None
    size_mb: Any = None


class Release(Section):
    """A release while it is watched."""

    error_rate: Any = None
    p99_ms: Any = None


class Trial(Section):
    """The candidate beside the champion."""

    requests: Any = None
    keys: Any = None
    error_rate: Any = None
    changed: Any = None
    by: Any = None


class Vulnerabilities(Section):
    """Those that somebody accepted, each with a reason."""

    accepted: Any = None


class Gates(File):
    """The whole file; ``data_checks`` and ``model_checks`` are read where the checks run."""

    data: Data | None = None
    model: Model | None = None
    model_tests: ModelTests | None = None
    image: Image | None = None
    release: Release | None = None
    trial: Trial | None = None
    trusted_types: list[str] = Field(default_factory=list)
    vulnerabilities: Vulnerabilities | None = None
    data_checks: dict[str, Any] | None = None
    model_checks: dict[str, Any] | None = None


def section(project: Project, name: str) -> dict[str, Any]:
    """What one section says; an absent one is empty. Raises ``InputError``."""
    found = getattr(read(project / PATH, Gates), name)
    return {} if found is None else dict(found.model_dump(exclude_unset=True))


def trusted_types(path: Path) -> list[str]:
    """The types that a model file may ask for beyond those that skops trusts itself."""
    return read(path, Gates).trusted_types
