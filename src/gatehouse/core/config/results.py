"""The JSON files that one stage leaves for another: a model for each, and ``read_result``.

All have ``version: 1`` but ``model/model.json``, whose bytes are part of the model's digest. What
stands in them is never made into what it is not: ``"true"`` blesses nothing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field

from gatehouse.core.digests import MODEL, Format, model_digest
from gatehouse.core.errors import CLOSED, InputError, Stop
from gatehouse.core.files import read_json, write_json
from gatehouse.core.findings import Finding
from gatehouse.core.layout import BLESSING

from .reader import File, Section, fit

Number = Annotated[float, Field(allow_inf_nan=False)]
Digests = dict[Literal["test_data", "gates", "code"], str]
Values = dict[str, int | Number | None]


class Part(Section):
    """A mapping in such a file."""

    model_config = ConfigDict(strict=True)


class Result(File):
    """Such a file."""

    model_config = ConfigDict(strict=True)


class Entry(Part):
    """A finding in a report. A status that nobody knows is kept: it closes the gate."""

    check: str
    status: str
    message: str
    fix: str = ""
    value: int | Number | str | None = None
    threshold: int | Number | str | None = None

    def finding(self) -> Finding:
        """What gates and report go on with."""
        return Finding(**self.model_dump())


def entries(findings: Iterable[Finding]) -> list[Entry]:
    """Findings as they stand in a report."""
    return [Entry(**finding.as_json()) for finding in findings]


class Checks(Result):
    """``reports/data.json``, ``model.json`` and ``model_tests.json``: what checks found."""

    findings: list[Entry]
    stage: str = ""
    rows: int | None = None
    rows_checked: int | None = None
    columns_checked: int | None = None
    columns_not_checked: list[str] = Field(default_factory=list)
    deepchecks: str | None = None

    def stated(self, path: Path) -> list[Finding]:
        """The findings; a report without any, at ``path``, is an error, never good news."""
        if not self.findings:
            raise Stop(
                "findings-empty",
                f"{path} holds no finding, so nothing was checked: run `make pipeline`",
            )
        return [entry.finding() for entry in self.findings]


class DataGate(Result):
    """``reports/data_gate.json``."""

    open: bool
    rows: int
    reasons: list[str]
    findings: list[Entry]


class Metrics(Result):
    """``metrics.json``: by side, the rows and the metrics; None is undefined on them."""

    train: Values
    test: Values


class Golden(Result):
    """``predictions/golden.json``: rows as a client sends them, and answers as they must be."""

    model_digest: str
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]


class Serving(Part):
    """Which form of the model serves, and why."""

    format: Format
    reason: str
    rows: int | None = None
    labels_differ: int | None = None
    max_difference: Number | None = None
    asked: dict[str, int] | None = None


class Parity(Serving, Result):
    """``predictions/parity.json``."""


class Differs(Part):
    """A way on which rows of the source get another answer, and the columns at fault."""

    way: str
    reason: str
    columns: list[str]


class Ways(Part):
    """Whether rows of the source mean the same on every way to the model."""

    rows: int
    ways: list[str]
    differ: list[Differs]
    note: str | None = None


class RoundTrip(Ways, Result):
    """``predictions/round_trip.json``."""


class Champion(Result):
    """``champion/champion.json``: whom a candidate is compared with, if there is one."""

    found: bool
    released: bool = False
    model_digest: str | None = None
    model_md5: str | None = None
    serving: Format | None = None
    data_rows: int | None = None


class Catalogue(Result):
    """``reports/catalogue.json``: the run of MLflow that has the candidate."""

    model_digest: str
    run_id: str = ""


class Against(Part):
    """The champion of a blessing, or why there is none."""

    model_digest: str | None = None
    data_rows: int | None = None
    bootstrap: str | None = None


class Judged(Part):
    """One rule on one slice."""

    metric: str
    slice: str
    passed: bool
    reason: str = ""
    against: str | None = None
    rows: int | None = None
    candidate: Number | None = None
    champion: Number | None = None
    difference: Number | None = None
    low: Number | None = None
    high: Number | None = None
    min: int | Number | None = None
    max: int | Number | None = None
    margin: int | Number | None = None
    gain: int | Number | None = None
    gap: int | Number | None = None
    groups: dict[str, Number] | None = None


class Left(Part):
    """A slice that was not judged."""

    slice: str
    rows: int
    reason: str


class Judge(Part):
    """Which library judged, and which stages were somebody's own."""

    version: str
    digest: str
    own: list[str]


class Blessing(Result):
    """``blessing.json``: whether the candidate may move on, and why."""

    blessed: bool
    model_digest: str
    serving: Serving
    reasons: list[str]
    rules: list[Judged]
    round_trip: Ways | None = None
    champion: Against | None = None
    beaten: str = ""
    not_judged: list[Left] = Field(default_factory=list)
    rows: int | None = None
    data_rows: int | None = None
    judge: Judge | None = None
    digests: Digests = Field(default_factory=dict)


Read = TypeVar("Read", bound=Section)


def read_result(
    path: Path, model: type[Read], remedy: str = "run `make pipeline`", *, old: bool = False
) -> Read:
    """The file as ``model``; one that is missing or damaged ends the command with ``remedy``.

    ``old``: it may be of a library that gave it no ``version`` yet; what that wrote beside is
    passed over.
    """
    try:
        return fit(read_json(path, remedy), model, old=old)
    except ValueError as fault:
        raise Stop("file-damaged", f"{path} is damaged ({fault}): {remedy}") from None


def write_result(path: Path, content: Result) -> None:
    """Write what was set in ``content``, and its version."""
    write_json(path, {"version": content.version, **dump(content)})


def dump(content: Section) -> dict[str, Any]:
    """What was set in it, without a version: to stand in another file."""
    return content.model_dump(exclude_unset=True, exclude={"version"})


def read_findings(path: Path) -> list[Finding]:
    """The findings of a checks report."""
    return read_result(path, Checks).stated(path)


class Blessed(NamedTuple):
    """What was blessed: the digest of the model's files, and which of them serves."""

    digest: str
    format: Format


def blessing(root: Path) -> Blessing:
    """What ``blessing.json`` says; raises ``Stop`` (1) where it does not bless the model here."""
    said = read_result(root / BLESSING, Blessing)
    if not said.blessed or said.model_digest != model_digest(root / MODEL):
        raise Stop(
            "model-not-blessed",
            "the model is not blessed, or not the one that was: see `make gate`",
            CLOSED,
        )
    return said


def blessed(root: Path) -> Blessed:
    """What ``blessing.json`` in ``root`` blesses, if it is what lies in ``model/`` there.

    Raises ``InputError`` where it is missing, damaged, says no, or blesses another model.
    """
    found = model_digest(root / MODEL)
    try:
        said = read_result(root / BLESSING, Blessing)
    except Stop as stop:
        raise InputError("blessing-damaged", str(stop)) from None
    if not said.blessed or said.model_digest != found:
        reason = "is not the one that was blessed" if said.blessed else "is not blessed"
        raise InputError("model-not-blessed", f"the model in {MODEL}/ {reason}: see `make gate`")
    return Blessed(found, said.serving.format)
