"""Whether to train: what asks, what holds it back, and that the same is never trained twice."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gatehouse.core.project import Project

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
MODEL = "sha256:" + "a" * 64
OLD, NEW = {"data/source.csv": "old"}, {"data/source.csv": "new"}
EVERY = ("demand", "data", "performance", "drift", "schedule")


def window(day: int, model: str = MODEL, metrics: Any = None, **incidents: str) -> dict[str, Any]:
    until = f"2026-11-{day:02}T00:00:00Z"
    return {"until": until, "model": model, "incidents": incidents, "metrics": metrics or {}}


DRIFT = [window(26, drift="warn"), window(27, drift="warn")]
REALISED = {"skill": {"realised": {"value": 0.1}, "estimated": None}}
GUESSED = {"skill": {"realised": None, "estimated": {"value": 0.1, "reliable": False}}}
RELIED = {"skill": {"realised": None, "estimated": {"value": 0.1, "reliable": True}}}


@pytest.fixture
def facts() -> Any:
    from gatehouse.retraining.policy import Facts, Trained

    trained = Trained(MODEL, OLD, NOW - timedelta(days=3))
    return Facts(NOW, OLD, trained, trained, serves=MODEL)


def decide(
    facts: Any, *triggers: str, before: Any = (), force: bool = False, **settings: Any
) -> Any:
    from gatehouse.core.config.monitor import Retrain
    from gatehouse.retraining.policy import decide

    usual = {"per_day": 9, "per_month": 99} | settings
    made = Retrain(**usual)
    return decide(triggers or EVERY[1:], facts, made, list(before), reason="", force=force)


def line(days_ago: float, state: str = "blessed", trigger: str = "drift", **more: Any) -> Any:
    when = (NOW - timedelta(days=days_ago)).isoformat()
    return {"when": when, "state": state, "trigger": trigger, "key": f"k{days_ago}"} | more


# --- what asks ----------------------------------------------------------------------------------


def test_where_nothing_asks_there_is_no_decision(facts: Any) -> None:
    assert decide(facts) is None
    assert decide(replace(facts, passes=[window(26), window(27)])) is None


def test_a_person_always_asks(facts: Any) -> None:
    made = decide(facts, "demand")
    assert (made.state, made.trigger, made.why) == ("started", "demand", "no reason given")


def test_data_that_the_lock_does_not_know(facts: Any) -> None:
    made = decide(replace(facts, data=NEW))
    assert (made.state, made.trigger) == ("started", "data")
    assert made.why == "data/source.csv changed since the model of the main branch"


def test_a_model_that_has_become_old(facts: Any) -> None:
    old = replace(facts, main=replace(facts.main, when=NOW - timedelta(days=30)))
    made = decide(replace(old, retrain_days=30))
    assert (made.state, made.trigger) == ("started", "schedule")
    assert "30 days old" in made.why
    assert decide(replace(old, retrain_days=31)) is None
    assert decide(replace(old, retrain_days=None)) is None


def test_before_the_first_model_only_a_person_asks(facts: Any) -> None:
    from gatehouse.retraining.policy import Trained

    new = replace(facts, data=NEW, main=Trained(), champion=Trained(), passes=DRIFT)
    assert decide(new) is None
    assert decide(new, "demand").state == "started"


def test_a_trigger_that_is_not_wanted_is_none(facts: Any) -> None:
    assert decide(replace(facts, data=NEW), triggers=["drift"]) is None


def moved(facts: Any, passes: list[Any]) -> Any:
    """New rows that main has no model of, and what the monitor saw."""
    return replace(facts, data=NEW, passes=passes)


def test_drift_must_stand_for_some_windows(facts: Any) -> None:
    made = decide(moved(facts, DRIFT), "drift")
    assert (made.state, made.until) == ("started", "2026-11-27T00:00:00Z")
    assert decide(moved(facts, DRIFT[1:]), "drift") is None
    assert decide(moved(facts, [*DRIFT, window(28)]), "drift") is None, "the latest is clean"
    assert decide(moved(facts, [DRIFT[0], window(27), window(28, drift="fail")]), "drift") is None
    assert decide(moved(facts, DRIFT[1:]), "drift", windows=1).state == "started"


def test_windows_of_another_model_do_not_count(facts: Any) -> None:
    other = window(26, model="sha256:" + "b" * 64, drift="fail")
    assert decide(moved(facts, [other, DRIFT[1]]), "drift") is None
    late = window(28, model="sha256:" + "b" * 64, drift="fail")
    assert decide(moved(facts, [*DRIFT, late]), "drift") is None
    assert decide(moved(facts, []), "drift") is None


def test_where_the_record_names_nobody_the_latest_pass_says_which_model(facts: Any) -> None:
    nobody = replace(moved(facts, DRIFT), serves="")
    assert decide(nobody, "drift").state == "started"
    other = window(26, model="sha256:" + "b" * 64, drift="fail")
    assert decide(replace(nobody, passes=[other, DRIFT[1]]), "drift") is None


@pytest.mark.parametrize(
    ("metrics", "trains"), [(REALISED, True), (RELIED, True), (GUESSED, False), ({}, False)]
)
def test_only_a_loss_that_is_sure_is_one(facts: Any, metrics: Any, trains: bool) -> None:
    passes = [window(day, metrics=metrics, performance="fail") for day in (26, 27)]
    made = decide(moved(facts, passes), "performance", "drift")
    assert (made is not None) is trains
    assert made is None or made.trigger == "performance"


# --- what holds it back -------------------------------------------------------------------------


def test_without_new_labels_the_monitor_trains_nothing(facts: Any) -> None:
    made = decide(replace(facts, passes=DRIFT), "drift")
    assert made.state == "refused"
    assert made.why.startswith("no new labelled rows: the champion has learnt from all")


def test_a_model_that_waits_for_its_release_has_learnt_it_already(facts: Any) -> None:
    waits = replace(facts.main, model="sha256:" + "c" * 64, data=NEW)
    made = decide(replace(moved(facts, DRIFT), main=waits), "drift")
    assert made.state == "refused"
    assert made.why.startswith("no new labelled rows: the main branch has learnt from all")


def test_data_that_were_tried_are_not_tried_for_the_monitor(facts: Any) -> None:
    first = decide(moved(facts, DRIFT), "drift")
    tried = first.line() | {"when": (NOW - timedelta(days=20)).isoformat(), "state": "not-blessed"}
    later = moved(facts, [DRIFT[1], window(28, drift="warn")])
    made = decide(later, "drift", before=[tried])
    assert made.key != first.key
    assert made.state == "refused"
    assert "the last training, which ended: not-blessed" in made.why


def test_the_cool_down_holds_the_monitor_and_nobody_else(facts: Any) -> None:
    before = [line(6.9)]
    made = decide(moved(facts, DRIFT), "drift", before=before)
    assert made.state == "refused"
    assert made.why.startswith(
        "cool-down: the monitor had one on 2026-11-20, the next from 2026-11-27"
    )
    assert decide(moved(facts, DRIFT), "drift", before=[line(7.1)]).state == "started"
    assert decide(moved(facts, DRIFT), "data", before=before).state == "started"
    assert decide(moved(facts, DRIFT), "demand", before=before).state == "started"
    assert decide(moved(facts, DRIFT), "drift", before=[line(1, trigger="data")]).state == "started"
    assert decide(moved(facts, DRIFT), "drift", before=[line(1, "refused")]).state == "started"


@pytest.mark.parametrize("trigger", ["data", "drift", "demand"])
def test_the_budget_holds_everybody_but_force(facts: Any, trigger: str) -> None:
    new = moved(facts, DRIFT)
    today = [line(0.1, trigger="data"), line(0.2, "failed", trigger="data")]
    made = decide(new, trigger, before=today, per_day=2)
    assert made.state == "refused"
    assert "budget used up: 2 of 2 trainings of 2026-11-27" in made.why
    assert decide(new, trigger, before=today, per_day=3).state == "started"
    assert decide(new, trigger, before=today, per_day=2, force=True).state == "started"
    month = [line(day, trigger="schedule") for day in (9, 10, 11)]
    made = decide(new, trigger, before=[*month, line(40)], per_month=3)
    assert "budget used up: 3 of 3 trainings of 2026-11" in made.why
    assert decide(new, trigger, before=month, per_month=4).state == "started"


def test_ninety_days_of_drift_stay_within_the_budget(facts: Any) -> None:
    """Every successor sees the drift again, and new rows arrive each day."""
    from gatehouse.retraining.policy import Trained

    before: list[Any] = []
    passes: list[Any] = []
    started: list[datetime] = []
    for day in range(90):
        now, model = NOW + timedelta(days=day), f"sha256:{len(started):064}"
        until = {"until": now.isoformat(), "model": model, "metrics": {}}
        passes.append(until | {"incidents": {"drift": "warn"}})
        trained = Trained(model, {"data/source.csv": f"seen {len(started)}"}, now)
        then = replace(facts, now=now, data={"data/source.csv": f"day {day}"}, champion=trained)
        made = decide(
            replace(then, main=trained, passes=list(passes), serves=model),
            *("performance", "drift"),
            before=before,
            per_day=1,
            per_month=3,
            cooldown_days=7,
        )
        if made is None:
            continue  # one window of a new model is no reason yet
        ended = "blessed" if made.state == "started" else made.state
        before.append(made.line() | {"when": now.isoformat(), "state": ended})
        started += [now] if made.state == "started" else []
    months = Counter((moment.year, moment.month) for moment in started)
    assert max(months.values()) == 3, "the budget is used, and no more"
    assert min(b - a for a, b in pairwise(started)) >= timedelta(days=7)
    assert len(started) >= 8


# --- the key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["blessed", "not-blessed", "quarantined", "nothing", "started"])
@pytest.mark.parametrize("trigger", ["data", "demand"])
def test_the_same_is_never_trained_twice(facts: Any, trigger: str, state: str) -> None:
    new = replace(facts, data=NEW)
    first = decide(new, trigger)
    before = [first.line() | {"when": (NOW - timedelta(hours=5)).isoformat(), "state": state}]
    made = decide(new, trigger, before=before)
    assert made.state == ("refused" if trigger == "demand" else "known")
    assert made.why == f"this was trained already, 2026-11-27: {state}"
    assert decide(new, trigger, before=before, force=True).state == "started"


@pytest.mark.parametrize(("state", "hours"), [("failed", 1), ("refused", 1), ("started", 7)])
def test_what_did_not_end_is_tried_again(facts: Any, state: str, hours: int) -> None:
    new = replace(facts, data=NEW)
    first = decide(new, "data")
    before = [first.line() | {"when": (NOW - timedelta(hours=hours)).isoformat(), "state": state}]
    assert decide(new, "data", before=before).state == "started"


def test_the_key_is_of_trigger_data_champion_and_window(facts: Any) -> None:
    new = moved(facts, DRIFT)
    key = decide(new, "drift").key
    assert key == decide(new, "drift").key
    assert len(key) == 64
    others = [
        decide(new, "data"),
        decide(replace(new, data={"data/source.csv": "newer"}), "drift"),
        decide(replace(new, passes=[DRIFT[1], window(28, drift="warn")]), "drift"),
        decide(replace(new, champion=replace(new.champion, model=""), passes=DRIFT), "drift"),
    ]
    assert len({key, *(one.key for one in others)}) == 5
    assert decide(new, "data").key == decide(replace(new, passes=[]), "data").key


# --- settings and files -------------------------------------------------------------------------


def test_the_budget_of_the_canvas_goes_before(
    here: Path,
) -> None:
    from gatehouse.retraining.policy import read_settings

    canvas, settings = here / "ml-canvas.yaml", here / "monitor.yaml"
    settings.write_text("retrain: {per_month: 9}\n")
    for said, budget in (("null", 9), ("2", 2), ("0", 0)):
        canvas.write_text(f"building_models: {{budget_per_month: {said}}}\n")
        assert read_settings(Project()).per_month == budget


def test_sources_and_what_a_lock_read_of_them() -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.vcs.dvc import tracked, used

    found = tracked({"data/source.csv.dvc": "outs:\n- md5: abc\n  path: source.csv\n", "x.dvc": ""})
    assert found == {"data/source.csv": "abc"}
    lock = "stages:\n  ingest:\n    deps:\n    - {path: data/source.csv, md5: old}\n    - {path: a, md5: b}\n"
    assert used(lock, found) == {"data/source.csv": "old"}
    for damaged in ("", "{", "stages: 3", "stages: {a: 3}"):
        assert used(damaged, found) == {}
    for damaged in ("{", "outs: [3]", "outs:\n- hash: md5\n  path: source.csv\n"):
        with pytest.raises(Stop, match=r"source.csv.dvc is damaged"):
            tracked({"data/source.csv.dvc": damaged})
