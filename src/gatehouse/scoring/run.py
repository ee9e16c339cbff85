"""A run: what was scored, by which model, and when."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatehouse.core.config.rules import value_text
from gatehouse.core.digests import file_digest
from gatehouse.core.inference_log import SECOND


@dataclass(frozen=True)
class Run:
    """One scoring of one source by one model; the same two give the same ``name``."""

    name: str
    source_digest: str
    model_digest: str
    when: datetime
    key: str | None
    labels: tuple[str, ...]

    @property
    def moment(self) -> str:
        """When, as the inference log writes it."""
        return self.when.strftime(f"{SECOND}.%fZ")


def run_of(file: Path, model_digest: str, key: str | None, schema: dict[str, Any]) -> Run:
    """The run of now: ``file`` scored by the model of this digest."""
    source = file_digest(file)
    name = hashlib.sha256(f"{source} {model_digest} {key or ''}".encode()).hexdigest()[:12]
    labels = tuple(value_text(value) for value in schema.get("classes") or [])
    return Run(name, source, model_digest, datetime.now(UTC).replace(tzinfo=None), key, labels)
