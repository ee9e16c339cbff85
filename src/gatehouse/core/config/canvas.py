"""``ml-canvas.yaml``: why this project exists, and the numbers of it that machinery asks for."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from gatehouse.core.errors import Stop
from gatehouse.core.project import Project

from .reader import File, Section, read
from .rules import value_text

PATH = Path("ml-canvas.yaml")

Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Probability = Annotated[float, Field(strict=True, ge=0, le=1)]


class Box(Section):
    """What people wrote; a box that is plain text has only this."""

    model_config = ConfigDict(str_strip_whitespace=True)

    text: str | None = None


class Value(Box):
    """``owner``: the person or team who answers for the model."""

    owner: str | None = None


class Decisions(Box):
    """``low_confidence``: below this probability a person decides."""

    low_confidence: Probability | None = None


class Predictions(Box):
    """``latency_ms``: how long the one who asks for a prediction can wait."""

    when: Literal["online", "batch", "both"] | None = None
    latency_ms: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None


class Impact(Box):
    """``gain``: truth -> prediction -> what it brings, in ``unit``; a negative one is a cost."""

    unit: str | None = None
    gain: dict[Any, dict[Any, Number]] | None = None


class Building(Box):
    """``retrain_days``: the oldest that a model gets; ``budget_per_month``: trainings."""

    retrain_days: Annotated[int, Field(strict=True, ge=1)] | None = None
    budget_per_month: Count | None = None


class Monitoring(Box):
    """``label_delay_days``: from a prediction until its truth is known."""

    business_metric: str | None = None
    label_delay_days: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None


class Canvas(File):
    """The ten boxes of the Machine Learning Canvas of Louis Dorard; null is unfilled."""

    value_proposition: Value = Value()
    data_sources: Box = Box()
    data_collection: Box = Box()
    features: Box = Box()
    prediction_task: Box = Box()
    decisions: Decisions = Decisions()
    making_predictions: Predictions = Predictions()
    impact_simulation: Impact = Impact()
    building_models: Building = Building()
    monitoring: Monitoring = Monitoring()

    @field_validator("*", mode="before")
    @classmethod
    def _box(cls, said: Any, info: ValidationInfo) -> Any:
        if info.field_name == "version":
            return said
        return {} if said is None else {"text": said} if isinstance(said, str) else said


def load(project: Project) -> Canvas:
    """Read and check the canvas; every fault is one sentence that names the field."""
    return read(project / PATH, Canvas, {"model_type": "it must be text or a mapping of fields"})


def unfilled(project: Project) -> list[str]:
    """The boxes in which nothing stands, in their order."""
    boxes = load(project)
    return [
        name
        for name, box in boxes
        if name != "version" and all(value in (None, "", {}) for _, value in box)
    ]


def cost_matrix(project: Project, labels: list[str]) -> list[list[float]] | None:
    """Gain of predicting column j for a row of class i, both in the order of ``labels``.

    None where the canvas gives no gain, and for a regression, which has no labels. Raises ``Stop``
    unless every class stands once in every row, and no other.
    """
    gain = load(project).impact_simulation.gain
    if not gain or not labels:
        return None
    _same(gain, labels, "impact_simulation.gain")
    rows = {value_text(truth): row for truth, row in gain.items()}
    for truth in labels:
        _same(rows[truth], labels, f"impact_simulation.gain.{truth}")
    texts = {t: {value_text(guess): value for guess, value in rows[t].items()} for t in labels}
    return [[float(texts[truth][guess]) for guess in labels] for truth in labels]


def _same(mapping: dict[Any, Any], labels: list[str], where: str) -> None:
    named = [value_text(key) for key in mapping]
    if missing := [label for label in labels if label not in named]:
        what = f"lacks the class {missing[0]!r}"
    elif unknown := [name for name in named if name not in labels]:
        what = f"names {unknown[0]!r}, which is no class"
    elif len(named) > len(labels):
        what = "names a class twice"
    else:
        return
    raise Stop(
        "canvas-classes",
        f"{PATH}: {where} {what}: name every class of schema.yaml once, as it stands there",
    )
