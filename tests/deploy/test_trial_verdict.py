"""What a trial's verdict says of logs: the right thing, and wrongly no more often than it promises."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import rendered

from gatehouse.core.project import Project

GATES = {"requests": 300, "keys": 100, "error_rate": 0.02, "changed": 0.1, "by": 0.05}
gate = pytest.mark.gate


def asked(side: str, count: int, bad: int = 0, late: int = 0, key: str = "") -> list[Any]:
    from gatehouse.deploy.trial_verdict import Asked

    return [
        Asked(f"{side}{n}", side, key and f"{key}{n}", n >= bad, 9.0 if n < late else 0.01)
        for n in range(count)
    ]


def states(*sides: list[Any], **gates: float) -> dict[str, str]:
    from gatehouse.deploy.trial_verdict import judge

    rules = judge([one for side in sides for one in side], GATES | gates, 500)
    return {rule.name: rule.state for rule in rules}


def test_bounds_are_those_of_the_literature() -> None:
    """Newcombe (1998), table II: 56/70 and 48/80 by method 10; Wilson's for 81 of 263."""
    from gatehouse.deploy.trial_verdict import newcombe, wilson

    assert newcombe(56, 70, 48, 80, 1.95996) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(9, 10, 3, 10, 1.95996) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert wilson(81, 263, 1.95996) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 0, 1.6) == (0, 1)


@gate("trial", "fails no more often than the champion, by a margin", "open")
@gate("trial", "99 % are answered in time", "open")
@gate("trial", "as many requests as planned", "open")
@gate("trial", "both sides get as many", "open")
def test_a_good_candidate_passes() -> None:
    found = states(asked("champion", 400, bad=3), asked("candidate", 420, bad=3))
    assert found == {"split": "pass", "errors": "pass", "p99": "pass"}


@gate("trial", "fails no more often than the champion, by a margin", "closed")
def test_one_that_fails_more_often_fails_at_once() -> None:
    assert states(asked("champion", 400, 2), asked("candidate", 400, 40))["errors"] == "fail"
    assert states(asked("champion", 30), asked("candidate", 30, bad=20))["errors"] == "fail"


@gate("trial", "99 % are answered in time", "closed")
def test_a_slow_one_fails() -> None:
    assert states(asked("champion", 400), asked("candidate", 400, late=20))["p99"] == "fail"


@gate("trial", "as many requests as planned", "closed")
@pytest.mark.parametrize("count", [0, 1, 299])
def test_too_few_requests_are_no_pass(count: int) -> None:
    found = states(asked("champion", count), asked("candidate", count))
    assert found["errors"] == found["p99"] == "inconclusive"
    assert "pass" not in states([], []).values()


@gate("trial", "both sides get as many", "closed")
def test_a_side_that_lost_its_log_fails() -> None:
    assert states(asked("champion", 400), asked("candidate", 250))["split"] == "fail"
    keyed = asked("champion", 400, key="a") + asked("candidate", 250, key="b")
    assert states(keyed)["split"] == "fail"


def test_what_is_still_needed_is_enough() -> None:
    from gatehouse.deploy.trial_verdict import judge

    few = asked("champion", 200, bad=1) + asked("candidate", 200, bad=1)
    said = {rule.name: rule.said for rule in judge(few, GATES, 500)}["errors"]
    more = int(said.split("about ")[1].split(" more")[0].replace(",", ""))
    then = 200 + more
    sides = (asked(side, then, bad=-(-then // 200)) for side in ("champion", "candidate"))
    assert more >= 100
    assert states(*sides)["errors"] == "pass"


@gate("trial", "shadow: few answers change", "open")
def test_few_changed_answers_pass() -> None:
    assert changed(400, 10) == "pass"
    assert changed(400, 400, new=[1.04], classes=False) == "pass"  # below trial.by


@gate("trial", "shadow: few answers change", "closed")
def test_many_changed_answers_fail() -> None:
    assert changed(400, 100) == "fail"
    assert changed(400, 100, new=[1.2], classes=False) == "fail"
    assert changed(100, 0) == changed(400, 36) == "inconclusive"


def changed(count: int, other: int, new: list[Any] | None = None, *, classes: bool = True) -> str:
    from gatehouse.deploy.trial_verdict import judge_changed

    answers = {(str(n), "champion"): [1.0] for n in range(count)}
    answers |= {(str(n), "candidate"): (new or [0.0]) if n < other else [1.0] for n in range(count)}
    answers["only here", "champion"] = [1.0]
    return str(judge_changed(answers, GATES, classes=classes).state)


def test_a_candidate_at_the_margin_rarely_passes_and_one_without_fault_rarely_fails() -> None:
    """At the margin it may pass in 5 % of trials; with 20 looks it may fail in few."""
    draw, passes, fails = np.random.default_rng(1), 0, 0
    bad = {side: asked(side, 1000, bad=1000) for side in ("champion", "candidate")}
    good = {side: asked(side, 1000) for side in bad}

    def errors(look: int, *failed: int) -> str:
        parts = [
            part for side, n in zip(bad, failed, strict=True)
            for part in (bad[side][:n], good[side][n:look])
        ]  # fmt: skip
        return states(*parts, requests=1000)["errors"]

    for _ in range(200):
        at_margin = int((draw.random(1000) < 0.03 + GATES["error_rate"]).sum())
        passes += errors(1000, int((draw.random(1000) < 0.03).sum()), at_margin) == "pass"
        for look in range(50, 1001, 50):
            if errors(look, *(int(draw.binomial(look, 0.03)) for _ in range(2))) == "fail":
                fails += 1
                break
    assert passes <= 20  # 10 of 200 expected, 5 % by chance over 16
    assert fails <= 3


def clustered(draw: Any, keys: int, gain: float) -> tuple[list[float], list[str]]:
    """Skewed gains; a key has one to nine requests which resemble each other."""
    sizes, worth = draw.integers(1, 10, keys), draw.exponential(1.0, keys)
    values = np.repeat(worth + gain, sizes) + draw.normal(0, 0.3, sizes.sum())
    return values.tolist(), np.repeat(np.arange(keys), sizes).astype(str).tolist()


def test_the_interval_of_the_value_holds_its_95_percent_where_requests_depend() -> None:
    from gatehouse.deploy.trial_verdict import TWO_SIDED, interval

    draw, hit, naive = np.random.default_rng(2), 0, 0
    for trial in range(500):
        sides = clustered(draw, 100, 0), clustered(draw, 120, 0.5)
        _, _, low, high = interval(sides, TWO_SIDED)
        hit += low <= 0.5 <= high
        if trial % 5:
            continue
        alone = [(values, [str(n) for n in range(len(values))]) for values, _ in sides]
        _, _, low, high = interval(alone, TWO_SIDED)
        naive += low <= 0.5 <= high
    assert 0.925 <= hit / 500 <= 0.975
    assert naive / 100 < 0.8  # what comes of taking each request for a witness of its own


def value_state(sides: Any, **gates: float) -> tuple[str, str]:
    from gatehouse.deploy.trial_verdict import judge_value

    rule = judge_value(sides, GATES | gates, "USD")
    return rule.state, rule.said


@gate("trial", "ab: the business metric", "open")
def test_a_better_side_is_found() -> None:
    draw = np.random.default_rng(3)
    assert value_state((clustered(draw, 200, 0), clustered(draw, 200, 0.6)))[0] == "pass"


@gate("trial", "ab: the business metric", "closed")
def test_a_worse_side_is_found_and_an_equal_one_is_open() -> None:
    draw = np.random.default_rng(4)
    assert value_state((clustered(draw, 200, 0), clustered(draw, 200, -0.6)))[0] == "fail"
    state, said = value_state((clustered(draw, 200, 0), clustered(draw, 200, 0.05)))
    assert state == "inconclusive"
    assert "keys a side" in said
    assert value_state((clustered(draw, 20, 0), clustered(draw, 20, 9)))[0] == "inconclusive"


def test_looking_often_costs_little() -> None:
    """Two sides that are equal, looked at ten times: wrong in about 5 % of all trials."""
    draw, alarms = np.random.default_rng(5), 0
    for _ in range(200):
        sides = clustered(draw, 200, 0), clustered(draw, 200, 0)
        for keys in range(20, 201, 20):
            # The requests of the first so many keys, which follow each other.
            ends = [names.index(str(keys)) if keys < 200 else len(names) for _, names in sides]
            part = [(side[0][:end], side[1][:end]) for side, end in zip(sides, ends, strict=True)]
            if value_state(part, keys=200)[0] != "inconclusive":
                alarms += 1
                break
    assert alarms <= 22  # 11 % of 200; looking ten times at 95 % would give about 20 %


def test_what_the_service_writes_is_what_the_verdict_reads(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gatehouse.deploy.trial_log import read
    from gatehouse.serving.lines import write
    from gatehouse.serving.requests import Batch

    monkeypatch.setenv("SIDE", "candidate")
    secret = [("UA", 12.0)]
    write(Batch("a-1", "sha256:9", ["carrier", "delay"], secret, np.array([[0.2, 0.8]]), [], 0.1))
    write(Batch("a-2", "sha256:9", ["carrier", "delay"], secret, np.array([3.5]), [], 0.1))
    said = capsys.readouterr().out
    assert "UA" not in said
    (here / "log").write_text(
        "service: starts\n" + said + '{"id": "torn\n[1]\n{"id": 1, "uri": 2}\n'
    )
    mode, requests, answers = read([here / "log"])
    assert (mode, requests) == ("", [])
    assert answers == {("a-1", "candidate"): [1], ("a-2", "candidate"): [3.5]}


def ab_log(here: Path) -> None:
    """40 keys a side; the candidate answers class 1, the champion class 0."""
    (here / "gates.yaml").write_text(
        "release: {p99_ms: 500}\ntrial: {requests: 60, keys: 40, error_rate: 0.06, changed: 0.2, by: 0}\n"
    )
    (here / "schema.yaml").write_text("classes: ['false', 'true']\n")
    (here / "ml-canvas.yaml").write_text(rendered("ml-canvas.yaml"))
    lines, rows = [], ["id,truth"]
    for n in range(160):
        side = ("champion", "candidate")[n % 2]
        lines.append(
            {
                "at": n,
                "id": f"r{n}",
                "mode": "ab",
                "uri": f"/.{side}",
                "key": f"k{n % 80}",
                "status": 200,
                "seconds": 0.01,
            }
        )
        lines.append({"id": f"r{n}", "side": side, "prediction": [n % 2]})
        rows.append(f"r{n},{'true' if n % 5 else 'false'}")
    (here / "trial.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (here / "outcomes.csv").write_text("\n".join(rows))


def test_only_the_mode_of_now_is_judged(
    here: Path,
) -> None:
    """Whatever the order in which containers gave their logs."""
    from gatehouse.deploy.trial_log import read

    line = {"id": "r", "uri": "/.candidate", "key": "", "status": 200, "seconds": 0.1}
    lines = [line | {"at": at, "mode": mode} for at, mode in ((3, "shadow"), (1, "canary"))]
    (here / "log").write_text("\n".join(map(json.dumps, lines)))
    mode, asked, _ = read([here / "log"])
    assert (mode, len(asked)) == ("shadow", 1)


def verdict(here: Path, log: str = "trial.jsonl", outcomes: str = "") -> int:
    from gatehouse.deploy.trials import verdict

    table = here / outcomes if outcomes else None
    return verdict(Project(), "production", [here / log], table, 0, as_json=True)


def test_outcomes_are_valued_by_the_canvas(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ab_log(here)
    assert verdict(here, outcomes="outcomes.csv") == 1
    rules = {rule["name"]: rule for rule in json.loads(capsys.readouterr().out)["rules"]}
    # Of five flights four are late: +200 or -300 each; the fifth costs 60 or nothing.
    assert rules["value"]["state"] == "pass"
    assert rules["value"]["said"].startswith("+388 USD a flight (")
    assert rules["errors"]["state"] == "pass"
    assert rules["p99"]["state"] == "inconclusive"  # 80 requests cannot show 1 %


@pytest.mark.parametrize(
    ("log", "outcomes", "said"),
    [
        ("nowhere.jsonl", "", "nowhere.jsonl is not there"),
        ("trial.jsonl", "no.csv", "no.csv cannot be read"),
        ("trial.jsonl", "odd.csv", "'maybe' is no class"),
    ],
)
def test_what_is_broken_is_said(log: str, outcomes: str, said: str, here: Path) -> None:
    from gatehouse.core.errors import Stop

    ab_log(here)
    (here / "odd.csv").write_text("id,truth\nr0,maybe\n")
    with pytest.raises(Stop, match=said) as stop:
        verdict(here, log, outcomes)
    assert stop.value.exit_code == 2


def test_gates_without_a_number_close(here: Path) -> None:
    from gatehouse.core.errors import Stop

    ab_log(here)
    (here / "gates.yaml").write_text("release: {p99_ms: 500}\n")
    with pytest.raises(Stop, match=r"no trial\.requests") as stop:
        verdict(here)
    assert stop.value.exit_code == 1


def test_mode_conf_of_kubernetes_is_what_the_verb_writes() -> None:
    from gatehouse.core.shipped import text
    from gatehouse.deploy.trial_stack import config

    assert text(Project(), "deploy/trial/mode.conf") == config("canary", 5, "", kubernetes=True)
