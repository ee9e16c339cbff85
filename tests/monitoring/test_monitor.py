"""The parts of one monitoring pass, each shown red and green on tables made here."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import rendered

from gatehouse.core.project import Project

UNTIL = datetime(2026, 3, 8, 6, tzinfo=UTC)
SCHEMA = """\
task: binary
target: late
time_column: null
id_column: null
ignore: []
identity: null
classes: [false, true]
columns:
  delay: {type: number, role: feature}
  origin: {type: string, role: feature, sensitive: true}
  when: {type: datetime, role: time}
  late: {type: boolean, role: target}
"""
GATES = """\
model:
  rows_min: 20
  rules:
    - {metric: skill, min: 0.02, margin: 0.05}
    - {metric: accuracy, slice: origin, min: 0.5, rows_min: 50}
    - {metric: recall, slice: sensitive, gap: 0.3, rows_min: 50}
"""


@pytest.fixture
def settings() -> Any:
    from gatehouse.core.config.monitor import Settings

    return Settings()


def times(*hours_ago: float) -> Any:
    moments = [UNTIL.replace(tzinfo=None) - timedelta(hours=h) for h in hours_ago]
    return pa.chunked_array([pa.array(moments, pa.timestamp("us"))])


def statuses(found: list[Any]) -> dict[str, str]:
    return {one.check: one.status for one in found}


def test_no_record_is_an_alert_and_an_old_one_too(settings: Any) -> None:
    from gatehouse.monitoring.monitor import incidents
    from gatehouse.monitoring.quality import volume

    none = volume(times(), UNTIL, [100, 100], settings)
    assert statuses(none) == {"volume": "fail"}
    assert incidents(none) == {"no-data": "fail"}
    assert statuses(volume(times(2, 30), UNTIL, [], settings)) == {
        "freshness": "pass",
        "volume": "pass",
    }
    old = volume(times(25, 30), UNTIL, [], settings)
    assert statuses(old)["freshness"] == "fail"
    assert incidents(old) == {"no-data": "fail"}


def test_fewer_records_than_usual_are_a_warning(settings: Any) -> None:
    from gatehouse.monitoring.quality import volume

    seen = times(*np.linspace(0.5, 100, 60))
    assert statuses(volume(seen, UNTIL, [100, 110, 90], settings))["volume"] == "pass"
    assert statuses(volume(seen, UNTIL, [200, 150, 160], settings))["volume"] == "warn"


def test_damaged_lines_are_told_and_many_are_a_warning(settings: Any) -> None:
    from gatehouse.monitoring.quality import log_health

    [fine] = log_health({"torn": 2, "damaged": 1, "duplicated": 5}, 1000, settings)
    assert (fine.status, "5 logged twice" in fine.message) == ("pass", True)
    [bad] = log_health({"damaged": 20}, 1000, settings)
    assert bad.status == "warn"


def test_missing_and_unseen_values_beyond_the_reference(settings: Any) -> None:
    from gatehouse.monitoring.monitor import incidents
    from gatehouse.monitoring.quality import columns

    rng = np.random.default_rng(0)
    kinds = {"delay": "number", "origin": "string"}

    def rows(count: int, missing: float, new: float, shift: float = 0) -> Any:
        delay = [None if rng.random() < missing else float(v) for v in rng.random(count) + shift]
        origin = ["MARS" if rng.random() < new else "JFK" for _ in range(count)]
        return pa.table({"delay": pa.array(delay, pa.float64()), "origin": origin})

    reference = rows(5000, 0.1, 0.0)
    assert statuses(columns(reference, rows(2000, 0.1, 0.0), kinds, settings)) == {"values": "pass"}
    # The same shares among few records could be chance.
    assert statuses(columns(reference, rows(20, 0.12, 0.0), kinds, settings)) == {"values": "pass"}
    bad = columns(reference, rows(2000, 0.3, 0.1, shift=5), kinds, settings)
    assert statuses(bad) == dict.fromkeys(
        ["missing: delay", "unseen: delay", "unseen: origin"], "warn"
    )
    assert incidents(bad) == {"broken-data": "warn"}
    assert "MARS" not in json.dumps([one.as_json() for one in bad]), "no value is told"


def test_rare_categories_that_a_sample_lacks_are_not_new(settings: Any) -> None:
    from gatehouse.monitoring.quality import columns

    rng = np.random.default_rng(1)
    codes = np.char.add("N", rng.zipf(1.3, 9000).clip(max=10**6).astype(str))
    kinds = {"tail": "string"}
    reference, same = pa.table({"tail": codes[:6000]}), pa.table({"tail": codes[6000:]})
    assert statuses(columns(reference, same, kinds, settings)) == {"values": "pass"}
    renamed = np.where(rng.random(3000) < 0.1, np.char.add("X", codes[6000:]), codes[6000:])
    found = columns(reference, pa.table({"tail": renamed}), kinds, settings)
    assert statuses(found) == {"unseen: tail": "warn"}


def test_a_column_without_any_value_is_missing_and_nothing_else(settings: Any) -> None:
    from gatehouse.monitoring.quality import columns

    empty = pa.table({"delay": pa.nulls(500, pa.float64())})
    full = pa.table({"delay": pa.array(np.arange(500.0))})
    kinds = {"delay": "number"}
    assert statuses(columns(full, empty, kinds, settings)) == {"missing: delay": "warn"}
    assert statuses(columns(empty, full, kinds, settings)) == {"values": "pass"}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("window: {days: 0}", "window.days"),
        ("drift: {level: 1.5}", "drift.level"),
        ("drfit: {level: 0.1}", "drfit"),
        ("retrain: {policy: yolo}", "retrain.policy"),
        ("window: {reference: never}", "window.reference"),
    ],
)
def test_settings_are_read_strictly(here: Path, said: str, message: str) -> None:
    from gatehouse.core.config.monitor import load
    from gatehouse.core.errors import Stop

    Path("monitor.yaml").write_text(said)
    with pytest.raises(Stop, match=re.escape(message)):
        load(Project())


def test_the_generated_settings_are_the_defaults(
    here: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.config.monitor import load

    text = rendered("monitor.yaml")
    Path("monitor.yaml").write_text(text.replace("[year, month, day]", "[]"))
    assert load(Project()) == settings
    monkeypatch.setenv("LOG_URL", "s3://bucket/log")
    assert load(Project()).log.url == "s3://bucket/log"
    assert load(Project()).log.labels == settings.log.labels


def test_the_clock_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.monitoring import clock

    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5
    monkeypatch.setenv("AS_OF", "2026-03-08T06:00:00Z")
    assert clock.now() == UNTIL
    monkeypatch.setenv("AS_OF", "2026-03-08T06:00:00")
    assert clock.now() == UNTIL
    monkeypatch.setenv("AS_OF", "yesterday")
    with pytest.raises(Stop, match="AS_OF is 'yesterday'"):
        clock.now()


def report(**changed: Any) -> dict[str, Any]:
    finding = {"check": "drift: <b>x|y", "status": "warn", "message": "moved", "fix": "look"}
    realised = {"value": 0.3, "low": 0.2, "high": 0.4, "rows": 500}
    return {
        "window": {"from": "2026-03-01T06:00:00Z", "until": "2026-03-08T06:00:00Z", "rows": 900}
        | {"labelled": 500},
        "model": "sha256:" + "a" * 64,
        "findings": [finding | {"value": 0.3, "threshold": 0.1, "incident": None}],
        "incidents": {"drift": "warn"},
        "metrics": {
            "skill": {"reference": realised | {"value": 0.4}, "realised": realised}
            | {"estimated": realised | {"reliable": False, "why": "few rows"}}
        },
        "columns": [
            {"name": 'a"\\b\n', "distance": 0.31, "q": 0.001, "drifted": True},
            {"name": "quiet", "distance": None, "q": None, "drifted": False},
        ],
    } | changed


def test_the_numbers_are_prometheus_text() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    from gatehouse.monitoring.numbers import text

    families = {f.name: f for f in text_string_to_metric_families(text(report(), 1000.0))}
    levels = {s.labels["incident"]: s.value for s in families["monitor_incident"].samples}
    assert levels["drift"] == 1
    assert set(levels.values()) == {0, 1}
    [distance] = families["monitor_column_distance"].samples
    assert (distance.labels["column"], distance.value) == ('a"\\b\n', 0.31)
    assert len(families["monitor_metric"].samples) == 3
    assert families["monitor_last_pass_timestamp_seconds"].samples[0].value == 1000


def test_the_page_shows_what_is_wrong_and_how_it_went() -> None:
    from gatehouse.monitoring.history import of_report as passed
    from gatehouse.monitoring.page import page

    earlier = passed(report()) | {"until": "2026-03-01T06:00:00Z", "incidents": {}}
    html = page(Project(), report(), [earlier, passed(report())])
    assert "incident: drift" in html
    assert "<b>x" not in html, "a column's name is no markup"
    assert "not reliable here: few rows" in html
    assert html.count("<svg") >= 3
    assert "<script" not in html
    assert "2026-03-01" in html
    clean = report(incidents={}, findings=[], metrics={}, columns=[])
    assert "clean" in page(Project(), clean, [passed(clean)])


def test_the_dashboard_draws_what_there_is() -> None:
    from gatehouse.core.shipped import text
    from gatehouse.monitoring.numbers import HELP
    from gatehouse.serving import numbers

    dashboard = json.loads(text(Project(), "deploy/grafana/dashboard.json"))
    rules = yaml.safe_load(text(Project(), "deploy/grafana/rules.yaml"))
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    served = Path(numbers.__file__).read_text()
    for name in re.findall(r"\b(?:service|monitor)_\w+", " ".join(asked)):
        base = re.sub(r"_(total|bucket)$", "", name)
        assert f'"{base}"' in served or base in HELP, name
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) >= 10


# --- the window ---------------------------------------------------------------------------------


def write_log(folder: Path, days_ago: int, rows: int, delay: float) -> None:
    """Records of one hour, so many days before UNTIL."""
    moment = UNTIL - timedelta(days=days_ago, hours=1)
    answer = {"prediction": True, "probabilities": {"false": 0.2, "true": 0.8}}
    said = {"seconds": 0.001, "schema": "x", "model": "m", "answer": answer, "unusual": []}
    place = folder / moment.strftime("%Y-%m-%d")
    place.mkdir(parents=True, exist_ok=True)
    lines = []
    for k in range(rows):
        row = {"delay": delay, "origin": "JFK", "when": "2026-03-01T00:00:00"}
        time = (moment + timedelta(seconds=k)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines.append(json.dumps({"id": f"{days_ago}-{k}", "time": time, "request": row} | said))
    (place / "000000-h-1-1.jsonl").write_text("\n".join(lines) + "\n")


def test_the_window_and_its_labels_and_the_same_days_of_last_year(live: Path) -> None:
    from gatehouse.core.config.monitor import Settings
    from gatehouse.monitoring.reference import Reference
    from gatehouse.monitoring.window import read, reference

    write_log(live / "log", 1, 40, delay=1.0)
    write_log(live / "log", 8, 30, delay=1.0)  # before the window, within the labels' delay
    write_log(live / "log", 365, 50, delay=9.0)
    Path("ml-canvas.yaml").write_text("monitoring: {label_delay_days: 3}\n")
    Path("labels").mkdir()
    Path("labels/a.csv").write_text("id,late\n1-0,true\n8-0,false\n365-0,true\nnobody,true\n")
    pq.write_table(pa.table({"delay": [0.5], "origin": ["EWR"]}), "data/reference.parquet")
    said: dict[str, Any] = {"window": {"rows_min": 50, "reference": 364}}
    settings = Settings.model_validate(said)
    seen = read(Project(), settings, UNTIL, "m")
    assert seen.records.num_rows == 40
    assert dict(zip(*(seen.labelled[n].to_pylist() for n in ("__id", "__truth")), strict=True)) == {
        "1-0": "true",
        "8-0": "false",
    }
    assert read(Project(), settings, UNTIL, "another").labelled.num_rows == 0
    then = reference(Project(), settings, Reference("m", "", live), seen)
    assert set(then["delay"].to_pylist()) == {9.0}
    said["window"]["rows_min"] = 51  # last year's are too few: the training rows
    then = reference(Project(), Settings.model_validate(said), Reference("m", "", live), seen)
    assert then["delay"].to_pylist() == [0.5]


def test_what_the_log_drops_or_hashes_is_not_compared(live: Path) -> None:
    from gatehouse.core.config.monitor import Settings
    from gatehouse.monitoring.window import kinds

    names = ["delay", "origin", "when", "late"]
    assert kinds(Project(), names, Settings()) == {"delay": "number", "origin": "string"}
    ignored = Settings.model_validate({"drift": {"ignore": ["delay"]}})
    assert kinds(Project(), names, ignored) == {"origin": "string"}
    for said in ("log: hash", "log: drop", "pii: true"):
        Path("schema.yaml").write_text(SCHEMA.replace("sensitive: true", said))
        assert kinds(Project(), names, Settings()) == {"delay": "number"}, said


# --- performance ------------------------------------------------------------------------------


def labelled(rows: int, seed: int, flip: float = 0.0, where: str = "") -> Any:
    """Records of a model whose probabilities are right but for a share ``flip`` of the truths."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.6, rows)
    origin = rng.choice(["EWR", "JFK"], rows)
    truth = rng.random(rows) < p
    turned = (rng.random(rows) < flip) & ((origin == where) if where else True)
    truth = truth ^ turned
    return pa.table(
        {
            "__p_0": 1 - p,
            "__p_1": p,
            "__prediction": np.where(p > 0.5, "true", "false"),
            "__truth": np.where(truth, "true", "false"),
            "delay": p + rng.normal(0, 0.1, rows),
            "origin": origin,
        }
    )


@pytest.fixture
def live(here: Path) -> Path:
    """The folder of a model's own test rows."""
    Path("schema.yaml").write_text(SCHEMA)
    Path("gates.yaml").write_text(GATES)
    Path("ml-canvas.yaml").write_text("monitoring: null\n")
    Path("predictions").mkdir()
    for name, seed in (("train", 1), ("test", 2)):
        table = labelled(3000, seed)
        said = {"row_id": np.arange(3000), "truth": table["__truth"]}
        said |= {"prediction": table["__prediction"], "p_0": table["__p_0"], "p_1": table["__p_1"]}
        pq.write_table(pa.table(said), f"predictions/{name}.parquet")
        pq.write_table(table.select(["delay", "origin"]), f"data/{name}.parquet")
    return here


def look(live: Path, window: Any, known: Any, settings: Any) -> tuple[dict[str, Any], list[Any]]:
    from gatehouse.monitoring.performance import look

    kinds = {"delay": "number", "origin": "string"}
    found: tuple[dict[str, Any], list[Any]] = look(
        Project(), live, window, known, kinds, settings, None
    )
    return found


def test_a_model_as_good_as_on_its_test_rows_passes(live: Path, settings: Any) -> None:
    metrics, found = look(live, labelled(2000, 3), labelled(2000, 4), settings)
    assert {one.status for one in found} == {"pass"}, found
    seen = metrics["skill"]
    for kind in ("estimated", "realised"):
        assert seen[kind]["low"] < seen["reference"]["value"] < seen[kind]["high"]
    checks = [one.check for one in found]
    assert {"realised skill", "estimated skill", "concept drift", "gate: skill"} < set(checks)
    assert "fairness: recall on origin" in checks


def test_concept_drift_is_seen_once_labels_are_there(live: Path, settings: Any) -> None:
    from gatehouse.monitoring.monitor import incidents

    changed = labelled(2000, 5, flip=0.2)
    _, found = look(live, changed, changed.slice(0, 0), settings)
    quiet = statuses(found)
    assert quiet["realised skill"] == "skipped"
    assert quiet["estimated skill"] == "pass", "no estimate can see it"
    _, found = look(live, changed, changed, settings)
    seen = statuses(found)
    assert (seen["realised skill"], seen["concept drift"]) == ("fail", "warn")
    assert incidents(found)["performance"] == "fail"


def test_one_group_that_suffers_is_a_fairness_incident(live: Path, settings: Any) -> None:
    from gatehouse.monitoring.monitor import incidents

    changed = labelled(3000, 6, flip=0.7, where="JFK")
    _, found = look(live, changed, changed, settings)
    seen = statuses(found)
    assert seen["gate: accuracy on origin = EWR"] == "pass"
    assert seen["gate: accuracy on origin = JFK"] == "fail"
    assert seen["fairness: recall on origin"] == "warn"
    assert "fairness" in incidents(found)


def test_the_truth_goes_before_the_estimate(live: Path, settings: Any) -> None:
    """Less sure probabilities promise a lower skill than the truth then shows."""
    unsure = labelled(2000, 9)
    p = unsure["__p_1"].to_numpy()
    dull = 0.5 + (p - 0.5) * 0.4
    unsure = unsure.set_column(1, "__p_1", pa.array(dull)).set_column(
        0, "__p_0", pa.array(1 - dull)
    )
    _, found = look(live, unsure, unsure.slice(0, 0), settings)
    assert statuses(found)["estimated skill"] == "warn"
    right = unsure.set_column(3, "__truth", unsure["__prediction"])
    _, found = look(live, unsure, right, settings)
    [estimated] = [one for one in found if one.check == "estimated skill"]
    assert (estimated.status, "the truth is known" in estimated.message) == ("pass", True)


def test_few_labels_decide_nothing(live: Path, settings: Any) -> None:
    metrics, found = look(live, labelled(2000, 7), labelled(50, 8, flip=0.5), settings)
    assert metrics["skill"]["realised"] is None
    [realised] = [one for one in found if one.check == "realised skill"]
    assert realised.status == "skipped"
    assert "50 labels are there, 200 are asked for" in realised.message
