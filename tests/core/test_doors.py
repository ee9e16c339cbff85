"""A small package of a stranger offers a metric, a check, a target, a trigger and a sink."""

import importlib
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from stops import stops

from gatehouse.core import doors
from gatehouse.core.project import Project

CODE = """
from contextlib import nullcontext

from gatehouse.checks.rules import Check
from gatehouse.metrics.table import Metric


def _within(rows):
    hit = (abs(rows.error) <= 1) * 1.0
    return float(hit.mean()), hit - hit.mean()


within_one = Metric(_within, +1, ("regression",))
no_monday = Check("data", "share of rows of a Monday", "Wait until Tuesday.", lambda i, t: {(): 0.5})


class Shelf:
    def __init__(self, where):
        self.where = where

    def running(self):
        return None

    def present(self, image):
        return image == "here"


def full_moon(facts, settings):
    return "the moon is full" if facts.now.day == 1 else ""


class Pigeon:
    def __init__(self, out, table, run):
        self.out, self.sent = out, []

    def has(self):
        return 0

    def write(self, answers):
        self.sent.append(answers)
"""
POINTS = """
[gatehouse.metrics]
within_one = stranger:within_one
gone = stranger:nowhere
[gatehouse.checks]
no_monday = stranger:no_monday
[gatehouse.targets]
shelf = stranger:Shelf
[gatehouse.triggers]
full_moon = stranger:full_moon
[gatehouse.sinks]
pigeon = stranger:Pigeon
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package, installed for one test."""
    site = tmp_path / "site"
    info = site / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "stranger.py").write_text(CODE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    doors.offered.cache_clear()
    yield importlib.import_module("stranger")
    sys.modules.pop("stranger", None)
    monkeypatch.undo()
    doors.offered.cache_clear()


def test_without_a_package_there_is_nothing_behind_the_doors() -> None:
    from gatehouse.metrics.table import METRICS

    assert "within_one" not in METRICS
    assert METRICS.get("within_one") is None
    with pytest.raises(KeyError):
        METRICS["within_one"]


def test_a_metric_can_be_judged_by(stranger: Any) -> None:
    from gatehouse.metrics.table import METRICS, Rows

    try:
        assert METRICS["skill"].direction == 1
        assert "within_one" in METRICS
        truth = np.array([0.0, 1.0, 2.0, 9.0])
        measured = METRICS["within_one"].measure(Rows(truth, np.zeros(4)))
        assert measured is not None
        assert measured[0] == 0.5
        assert measured[1].tolist() == [0.5, 0.5, -0.5, -0.5]
    finally:
        METRICS.pop("within_one", None)


def test_a_check_is_asked_for_in_gates(stranger: Any, tmp_path: Path) -> None:
    from gatehouse.checks.rules import read_rules

    gates = tmp_path / "gates.yaml"
    asked = {"no_monday": {"severity": "fail", "max": 0.1}}
    gates.write_text(yaml.safe_dump({"data_checks": {"checks": asked}}), encoding="utf-8")
    [rule] = read_rules(gates, "data")[2]
    assert (rule.name, rule.severity, rule.threshold) == ("no_monday", "fail", 0.1)
    assert rule.own is not None
    assert rule.own(None, None) == {(): 0.5}
    gates.write_text(yaml.safe_dump({"model_checks": {"checks": asked}}), encoding="utf-8")
    with stops("rules-unknown-key", "no_monday"):
        read_rules(gates, "model")


def test_a_target_can_be_deployed_to(
    stranger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.deploy.targets import present, running

    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    said: dict[str, Any] = {"image": {"proxy": "haproxy:3.2-alpine"}}
    said["environments"] = {"staging": {"target": "shelf", "height": 3}}
    Path("deploy.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    assert running(Project(), "staging") is None
    assert present(Project(), "staging", "here") is True
    said["environments"] = {"production": {"target": "shelve"}}
    Path("deploy.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    with stops("config-entry", "swarm, compose, kubernetes, shelf"):
        running(Project(), "production")


def test_a_trigger_starts_a_training(stranger: Any) -> None:
    from gatehouse.core.config.monitor import Retrain
    from gatehouse.retraining.policy import Facts, Trained, decide

    settings = Retrain(triggers=["full_moon"])
    for day, asks in ((1, True), (2, False)):
        facts = Facts(datetime(2026, 12, day), {"a": "1"}, Trained("m"), Trained("m"))
        made = decide(("full_moon",), facts, settings, [])
        assert (made is not None) is asks
        if made:
            assert (made.trigger, made.why) == ("full_moon", "the moon is full")
    with pytest.raises(ValueError, match="new_moon"):
        Retrain(triggers=["new_moon"])


def test_a_sink_takes_predictions(stranger: Any) -> None:
    from gatehouse.scoring.run import Run
    from gatehouse.scoring.sinks import sink_of

    run = Run("r", "s", "m", datetime(2026, 12, 1), None, ())
    made = sink_of("pigeon://roof", "t", run)
    assert (type(made).__name__, made.has()) == ("Pigeon", 0)
    with stops("suffix-unknown", "owl"):
        sink_of("owl://roof", "t", run)


def test_what_cannot_be_loaded_is_named(stranger: Any) -> None:
    with stops("plugin-broken", "gone of gatehouse.metrics is stranger:nowhere"):
        doors.load("metrics", "gone")
