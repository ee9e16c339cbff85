"""The Deepchecks runner, run in its own environment on small files made here."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import rendered

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).resolve().parents[2] / "src"

# Everything a column name can do to a program.
NAMES = ["a b", "größe", "class", "a.b", "a", "1st", "", "index", "label", "prediction", "target"]


def environment(code: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}


class Server:
    """The runner in forks of one process, since importing Deepchecks takes longer than the checks."""

    def __init__(self, python: Path, code: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.process = subprocess.Popen(
            [python, "-P", Path(__file__).with_name("checks_server.py")],
            env=environment(code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, where: Path, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one run in the folder ``where``."""
        assert self.process.stdin and self.process.stdout
        files = [self.folder / "stdout", self.folder / "stderr"]
        self.process.stdin.write(json.dumps([str(where), words, *map(str, files)]) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        said, told = (file.read_text(encoding="utf-8") for file in files)
        return code, said, told


@pytest.fixture(scope="module")
def server(checks_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(checks_python, HOUSE, tmp_path_factory.mktemp("server"))
    with server.process:
        yield server
        server.process.communicate()


@dataclass(frozen=True)
class Desk:
    """A folder with the files the runner reads, and the runner."""

    path: Path
    server: Server
    code: Path
    gates: dict[str, Any]

    def run(self, stage: str, *options: str, code: int = 0, runner: Path | None = None) -> str:
        """Run one stage; what it said on stderr. With ``runner`` in a process of its own."""
        if runner:
            done = subprocess.run(
                [self.server.python, "-m", "gatehouse.checks", stage, *options],
                cwd=self.path,
                env=environment(runner),
                capture_output=True,
                text=True,
                check=False,
            )
            ended, said, told = done.returncode, str(done.stdout), str(done.stderr)
        else:
            ended, said, told = self.server.run(self.path, stage, *options)
        assert ended == code, told
        assert said == ""
        return told

    def findings(
        self, stage: str, *only: str, accept: tuple[str, ...] = (), runner: Path | None = None
    ) -> dict[str, dict[str, Any]]:
        """What the checks of a stage find, or a few of them, which is quicker."""
        if only:
            known = self.gates[f"{stage}_checks"]["checks"]
            more = {"accept": list(accept)} if accept else {}
            checks = {name: known[name] | more for name in only}
            self.write_gates(**{f"{stage}_checks": {"checks": checks}})
        self.run(stage, runner=runner)
        found = self.report(stage)["findings"]
        return {finding["check"]: finding for finding in found}

    def report(self, stage: str) -> dict[str, Any]:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        text = (self.path / f"reports/{stage}.json").read_text(encoding="utf-8")
        report: dict[str, Any] = json.loads(text, parse_constant=refuse)
        return report

    def write_gates(self, **sections: Any) -> None:
        text = yaml.safe_dump(self.gates | sections, sort_keys=False)
        (self.path / "gates.yaml").write_text(text, encoding="utf-8")

    def write(
        self, frame: pd.DataFrame, target: str, words: tuple[str, ...] = (), **schema: Any
    ) -> None:
        """The files of a project whose model is right four times out of five.

        ``words`` are its columns of free text.
        """
        task, time = schema.setdefault("task", "binary"), schema.get("time_column")
        classes = [] if task == "regression" else sorted(frame[target].dropna().unique().tolist())
        classes = schema.setdefault("classes", classes)
        columns = {
            name: {"type": kind(frame[name]), "role": "feature", "nullable": True}
            for name in frame.columns
        }
        columns[target]["role"] = "target"
        columns |= {name: columns[name] | {"role": "text"} for name in words}
        if time:
            columns[time]["role"] = "time"
        content = {"target": target, "columns": columns, "id_column": None, **schema}
        (self.path / "schema.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        for folder in ("data", "predictions"):
            (self.path / folder).mkdir(exist_ok=True)
        frame.to_parquet(self.path / "data/dataset.parquet", index=False)
        rank = frame[time].rank(pct=True) if time else pd.Series(np.linspace(0, 1, len(frame)))
        frame = frame.assign(__row_id=np.arange(len(frame)) - 10)
        for side, rows in (("train", rank <= 0.75), ("test", rank > 0.75)):
            part = frame[rows.to_numpy()]
            part.to_parquet(self.path / f"data/{side}.parquet", index=False)
            predicted = predictions(part[target], task, [word(c) for c in classes])
            predicted.insert(0, "row_id", part["__row_id"].to_numpy())
            predicted.to_parquet(self.path / f"predictions/{side}.parquet", index=False)


def kind(values: pd.Series) -> str:
    names = {"b": "boolean", "i": "integer", "f": "number", "M": "datetime"}
    return names.get(values.dtype.kind, "string")


def word(label: object) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def predictions(target: pd.Series, task: str, classes: list[str]) -> pd.DataFrame:
    random = np.random.default_rng(4)
    if task == "regression":
        truth = target.to_numpy(dtype=float)
        guess = truth + random.normal(size=len(truth)) * truth.std() / 2
        return pd.DataFrame({"truth": truth, "prediction": guess})
    truth = np.array([word(label) for label in target.tolist()], dtype=object)
    codes = np.array([classes.index(label) for label in truth])
    wrong = random.random(len(codes)) < 0.2
    codes = np.where(wrong, random.integers(0, len(classes), len(codes)), codes)
    proba = np.full((len(codes), len(classes)), 0.2 / len(classes))
    proba[np.arange(len(codes)), codes] += 0.8
    columns = {f"p_{i}": proba[:, i] for i in range(len(classes))}
    names = np.array(classes, dtype=object)
    return pd.DataFrame({"truth": truth, "prediction": names[codes], **columns})


def table(rows: int = 900) -> pd.DataFrame:
    """Clean data with one column of each type and a boolean target."""
    random = np.random.default_rng(3)
    moments = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.permutation(rows), unit="h")
    return pd.DataFrame(
        {
            "size": random.normal(size=rows),
            "count": random.integers(0, 90_000, rows),
            "colour": random.choice(["red", "green", "blue"], rows),
            "new": random.random(rows) < 0.4,
            "seen": moments,
            "late": random.random(rows) < 0.4,
        }
    )


def statuses(findings: dict[str, dict[str, Any]]) -> set[str]:
    return {finding["status"] for finding in findings.values()}


@pytest.fixture
def desk(tmp_path: Path, server: Server) -> Desk:
    desk = Desk(tmp_path, server, HOUSE, yaml.safe_load(rendered("gates.yaml")))
    desk.write_gates()
    return desk


DATA = ["target_unusable", "duplicates", "conflicting_labels", "missing_values", "single_value"]
DATA += ["mixed_nulls", "mixed_types", "string_variants", "special_characters", "target_copy"]
DATA += ["feature_label_correlation", "identifier_label_correlation"]
DATA += ["feature_feature_correlation"]
MODEL = ["row_id_overlap", "row_overlap", "time_overlap", "new_categories", "new_classes"]
MODEL += ["feature_drift", "multivariate_drift", "label_drift", "label_correlation_change"]
MODEL += ["prediction_drift", "performance_gap", "weak_segments"]
JUDGED = ("performance_gap", "weak_segments")
CHAMPION = ("champion_feature_drift", "champion_label_drift", "champion_new_categories")


def marks(stage: str, state: str, *checks: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.gate(f"checks of the {stage}", check, state) for check in checks]


def shows(stage: str, state: str, *checks: str) -> Callable[[Any], Any]:
    """The test shows these checks satisfied (open), or finding what they are for (closed)."""

    def decorate(test: Any) -> Any:
        for mark in marks(stage, state, *checks):
            test = mark(test)
        return test

    return decorate


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("data", marks=marks("data", "open", *DATA)),
        pytest.param("model", marks=marks("model", "open", *MODEL)),
    ],
)
def test_clean_data_closes_no_gate(desk: Desk, stage: str) -> None:
    desk.write(table(), "late")
    said = desk.run(stage, runner=desk.code)
    report = desk.report(stage)
    assert report["stage"] == stage
    assert report["rows"] == report["rows_checked"] == 900
    assert report["deepchecks"] == "0.19.1"
    asked = list(desk.gates[f"{stage}_checks"]["checks"])
    assert asked == {"data": DATA, "model": [*MODEL, *CHAMPION]}[stage]
    assert [finding["check"] for finding in report["findings"]] == asked
    assert {f["status"] for f in report["findings"]} <= {"pass", "warn", "skipped"}
    assert all(f["message"].endswith(".") and f["fix"].endswith(".") for f in report["findings"])
    lines = said.splitlines()
    assert len(lines) == len(asked) + 1
    assert lines[-1].startswith(f"reports/{stage}.json: ")
    assert sorted(path.name for path in (desk.path / "reports").iterdir()) == [f"{stage}.json"]


def test_the_same_input_gives_the_same_report(desk: Desk) -> None:
    """And a fork of the server the one that a process of its own gives."""
    desk.write(table(), "late")
    for name, runner in (("first.json", None), ("second.json", desk.code)):
        desk.run("model", "--out", name, runner=runner)
    assert (desk.path / "first.json").read_bytes() == (desk.path / "second.json").read_bytes()


def dirty() -> pd.DataFrame:
    frame, random = table(), np.random.default_rng(6)
    frame["empty"] = np.nan
    frame["constant"] = 7
    frame["mixed"] = np.where(random.random(900) < 0.05, "many", "12")
    frame["nulls"] = random.choice(["a", "b", "NA", "null", "?"], 900)
    frame["spelling"] = random.choice(["Red", "red", "RED ", "blue"], 900)
    frame["leak"] = frame["late"] * 1.0 + random.normal(size=900) / 100
    frame["twin"] = frame["size"] * 2
    return pd.concat([frame, frame.tail(200)], ignore_index=True)


@shows(
    "data",
    "closed",
    "duplicates",
    "missing_values",
    "single_value",
    "mixed_types",
    "mixed_nulls",
    "special_characters",
    "string_variants",
    "feature_label_correlation",
    "feature_feature_correlation",
)
def test_each_data_check_sees_what_it_is_for(desk: Desk) -> None:
    desk.write(dirty(), "late")
    findings = desk.findings("data")
    culprits = {
        "missing_values": "empty",
        "single_value": "constant",
        "mixed_types": "mixed",
        "mixed_nulls": "nulls",
        "special_characters": "nulls",
        "string_variants": "spelling",
        "feature_label_correlation": "leak",
        "feature_feature_correlation": "size and twin",
    }
    for check, culprit in culprits.items():
        closes = check == "feature_label_correlation"
        assert findings[check]["status"] == ("fail" if closes else "warn"), check
        assert findings[check]["message"].split(", at ")[1] == f"{culprit}."
    assert findings["duplicates"]["status"] == "warn"
    assert findings["duplicates"]["value"] == pytest.approx(200 / 1100)
    assert desk.report("data")["columns_not_checked"] == ["empty"]
    assert not any("RED" in finding["message"] for finding in findings.values())


def without_target(frame: pd.DataFrame) -> None:
    frame["late"] = frame["late"].astype("boolean")
    frame.loc[7, "late"] = pd.NA


def one_target(frame: pd.DataFrame) -> None:
    frame["late"] = True


@shows("data", "closed", "target_unusable")
@pytest.mark.parametrize("damage", [without_target, one_target])
def test_an_unusable_target_fails(desk: Desk, damage: Callable[[pd.DataFrame], None]) -> None:
    frame = table()
    desk.write(frame, "late")
    damage(frame)
    frame.to_parquet(desk.path / "data/dataset.parquet", index=False)
    assert desk.findings("data", "target_unusable")["target_unusable"]["status"] == "fail"


@shows("model", "closed", "row_overlap")
def test_rows_in_train_and_test_fail(desk: Desk) -> None:
    desk.write(table(), "late")
    train, test = (
        pd.read_parquet(desk.path / f"data/{side}.parquet") for side in ("train", "test")
    )
    copied = pd.concat([train.head(60), test.iloc[60:]], ignore_index=True)
    copied.assign(__row_id=test["__row_id"]).to_parquet(
        desk.path / "data/test.parquet", index=False
    )
    findings = desk.findings("model", "row_overlap", "row_id_overlap")
    assert findings["row_overlap"]["status"] == "fail"
    assert findings["row_id_overlap"]["status"] == "pass"


@shows("model", "closed", "row_id_overlap")
def test_a_row_id_on_both_sides_fails(desk: Desk) -> None:
    desk.write(table(), "late")
    for path, column in (("data/test.parquet", "__row_id"), ("predictions/test.parquet", "row_id")):
        frame = pd.read_parquet(desk.path / path)
        frame.loc[0, column] = -10
        frame.to_parquet(desk.path / path, index=False)
    finding = desk.findings("model", "row_id_overlap")["row_id_overlap"]
    assert (finding["status"], finding["value"]) == ("fail", 1)


def test_rows_that_repeat_by_nature_are_no_overlap(desk: Desk) -> None:
    random = np.random.default_rng(8)
    frame = pd.DataFrame({"x": random.integers(0, 4, 600), "late": random.random(600) < 0.5})
    desk.write(frame, "late")
    assert desk.findings("model", "row_overlap")["row_overlap"]["status"] == "pass"


@shows("model", "closed", "time_overlap")
def test_time_that_runs_backwards_fails(desk: Desk) -> None:
    desk.write(table(), "late", time_column="seen")
    assert desk.findings("model", "time_overlap")["time_overlap"]["status"] == "pass"
    test = pd.read_parquet(desk.path / "data/test.parquet")
    test.loc[3, "seen"] = pd.Timestamp("2020-01-01")
    test.to_parquet(desk.path / "data/test.parquet", index=False)
    assert desk.findings("model", "time_overlap")["time_overlap"]["status"] == "fail"


def drifted() -> pd.DataFrame:
    frame = table()
    late = frame.index >= 675
    frame.loc[late, "size"] += 5
    frame.loc[late, "colour"] = "violet"
    return frame


@shows("model", "closed", "new_categories", "feature_drift", "multivariate_drift")
def test_drift_and_new_categories_are_reported(desk: Desk) -> None:
    desk.write(drifted(), "late")
    findings = desk.findings("model", "new_categories", "feature_drift", "multivariate_drift")
    assert findings["new_categories"]["message"].endswith(", at colour.")
    assert findings["feature_drift"]["message"].endswith(", at colour, size.")
    assert findings["multivariate_drift"]["status"] == "warn"
    assert not any("violet" in finding["message"] for finding in findings.values())


@shows("model", "closed", "performance_gap", "prediction_drift")
def test_a_model_that_learnt_nothing_is_reported(desk: Desk) -> None:
    desk.write(table(), "late")
    path = desk.path / "predictions/test.parquet"
    guessed = pd.read_parquet(path).assign(prediction="false", p_0=0.9, p_1=0.1)
    guessed.to_parquet(path, index=False)
    checks = ("performance_gap", "prediction_drift")
    found = desk.findings("model", *checks)
    assert statuses(found) == {"warn"}
    said = found["performance_gap"]["message"]
    assert said.startswith("Share of its skill that the model loses from train to test: ")


@pytest.mark.parametrize(
    ("rules", "metric"),
    [
        ([{"metric": "selection_rate", "max": 1}, {"metric": "roc_auc", "min": 0.5}], "roc_auc"),
        ([{"metric": "rmse", "max": 1}, {"metric": "log_loss", "max": 1}], "log_loss"),
        ([{"metric": "value", "min": 0}], "accuracy"),
        (None, "accuracy"),
    ],
)
def test_the_gap_and_the_segments_go_by_the_metric_of_the_rules(
    desk: Desk, rules: Any, metric: str
) -> None:
    desk.write(table(), "late")
    checks = {name: desk.gates["model_checks"]["checks"][name] for name in JUDGED}
    desk.write_gates(model={"rules": rules}, model_checks={"checks": checks})
    desk.run("model")
    found = desk.report("model")["findings"]
    assert [one["message"].partition(" that")[0] for one in found] == [f"Share of its {metric}"] * 2
    assert {one["status"] for one in found} <= {"pass", "warn"}
    assert all(one["threshold"] > checks[one["check"]]["max"] for one in found), "and chance"


@shows("model", "closed", "label_drift", "new_classes", "label_correlation_change")
def test_a_target_that_moved_is_reported(desk: Desk) -> None:
    random, frame = np.random.default_rng(5), table().drop(columns="late")
    later = frame.index >= 675
    frame["kind"] = np.where(later, "new", random.choice(["a", "b"], 900))
    frame.loc[later & (random.random(900) < 0.3), "kind"] = "a"
    frame["told"] = np.where(later, random.choice(["a", "b"], 900), frame["kind"])
    desk.write(frame, "kind", task="multiclass")
    checks = ("label_drift", "new_classes", "label_correlation_change")
    findings = desk.findings("model", *checks)
    assert statuses(findings) == {"warn"}
    assert findings["label_correlation_change"]["message"].endswith(", at told.")
    assert findings["new_classes"]["value"] > 0.6


@shows("data", "closed", "conflicting_labels")
def test_equal_rows_with_other_targets_are_reported(desk: Desk) -> None:
    frame = table()
    twins = frame.head(100).assign(late=~frame["late"].head(100))
    desk.write(pd.concat([frame, twins], ignore_index=True), "late")
    finding = desk.findings("data", "conflicting_labels")["conflicting_labels"]
    assert (finding["status"], finding["value"]) == ("warn", 0.2)


@shows("data", "closed", "identifier_label_correlation")
def test_an_id_that_tells_the_target_is_reported(desk: Desk) -> None:
    frame = table()
    frame["number"] = np.arange(900)
    frame["late"] = frame["number"] < 450
    desk.write(frame, "late", id_column="number")
    check = "identifier_label_correlation"
    assert desk.findings("data", check)[check]["status"] == "warn"


def names() -> dict[str, Any]:
    frame = table()
    for name in NAMES:
        frame[name] = np.random.default_rng(len(name)).normal(size=len(frame))
    return {"frame": frame, "target": "late"}


def gaps() -> dict[str, Any]:
    frame = table().astype({"count": "Int64", "new": "boolean"})
    random = np.random.default_rng(1)
    for name in ("size", "count", "colour", "new", "seen"):
        frame.loc[random.random(len(frame)) < 0.2, name] = None
    frame["none"] = pd.Series([None] * len(frame), dtype="string")
    return {"frame": frame, "target": "late"}


def rare_classes() -> dict[str, Any]:
    random = np.random.default_rng(2)
    frame = table().drop(columns="late")
    frame["kind"] = random.choice([f"k{i:02d}" for i in range(39)], len(frame))
    frame.loc[len(frame) - 1, "kind"] = "once"
    classes = ["once", "never", *sorted(set(frame["kind"]) - {"once"})]
    return {"frame": frame, "target": "kind", "task": "multiclass", "classes": classes}


def regression() -> dict[str, Any]:
    frame = table().drop(columns="late")
    return {"frame": frame.assign(price=frame["size"] * 3 + 1), "target": "price", "task": "auto"}


def whole_number_classes() -> dict[str, Any]:
    return {"frame": table().assign(late=lambda t: t["late"].astype(int)), "target": "late"}


def two_columns() -> dict[str, Any]:
    return {"frame": table()[["colour", "late"]], "target": "late"}


def sixty_rows() -> dict[str, Any]:
    return {"frame": table(60), "target": "late"}


def thirty_two_rows() -> dict[str, Any]:
    frame = table(32).drop(columns="late")
    return {"frame": frame.assign(mpg=frame["size"] * 3 + 20), "target": "mpg", "task": "auto"}


def sentences(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(9)
    said = [" ".join(random.choice(["good", "bad", "slow", "warm"], 9)) for _ in range(rows)]
    return pd.DataFrame({"review": said, "stars": random.integers(1, 3, rows)})


def words_only() -> dict[str, Any]:
    return {"frame": sentences(), "target": "stars", "words": ("review",)}


def words_beside_numbers() -> dict[str, Any]:
    frame = table(300).assign(review=sentences()["review"])
    return {"frame": frame, "target": "late", "words": ("review",)}


def target_called_index() -> dict[str, Any]:
    return {"frame": table().rename(columns={"late": "index", "size": "target"}), "target": "index"}


@pytest.mark.parametrize(
    "case",
    [
        names,
        gaps,
        rare_classes,
        regression,
        whole_number_classes,
        two_columns,
        sixty_rows,
        thirty_two_rows,
        words_only,
        words_beside_numbers,
        target_called_index,
    ],
)
def test_unusual_data_breaks_no_check(desk: Desk, case: Callable[[], dict[str, Any]]) -> None:
    desk.write(**case())
    for stage in ("data", "model"):
        assert statuses(desk.findings(stage)) <= {"pass", "warn", "skipped"}, desk.report(stage)


def test_columns_left_out_are_named(desk: Desk) -> None:
    frame = table().assign(**{f"x{i}": np.random.default_rng(i).normal(size=900) for i in range(9)})
    desk.write(frame, "late")
    check = {"severity": "warn", "max": 0.9, "columns": 4}
    desk.write_gates(data_checks={"checks": {"feature_label_correlation": check}})
    finding = desk.findings("data")["feature_label_correlation"]
    assert finding["message"].endswith("(looked at 4 of 14 columns).")
    report = desk.report("data")
    assert report["columns_checked"] == 4
    assert len(report["columns_not_checked"]) == 10


def test_a_sample_is_checked_and_every_row_is_hashed(desk: Desk) -> None:
    desk.write(dirty(), "late")
    section = desk.gates["data_checks"] | {"sample": {"rows": 100}}
    desk.write_gates(data_checks=section)
    found = desk.findings("data")
    assert found["duplicates"]["value"] == pytest.approx(200 / 1100)
    assert desk.report("data")["rows_checked"] == 100
    seen = {name for name, one in found.items() if "in the sample, 100 of 1,100" in one["message"]}
    skipped = {name for name, one in found.items() if one["status"] == "skipped"}
    exact = {"target_unusable", "duplicates", "conflicting_labels", "missing_values"}
    assert seen == set(found) - skipped - exact, "each that looks at a sample says so, no other"


def test_a_check_that_cannot_run_is_an_error_unless_it_may_skip(desk: Desk) -> None:
    desk.write(table(), "late")
    for may_skip, status in ((True, "skipped"), (False, "error")):
        check = {"severity": "warn", "max": 0, "may_skip": may_skip}
        desk.write_gates(model_checks={"checks": {"time_overlap": check}})
        assert desk.findings("model")["time_overlap"]["status"] == status


def test_a_check_that_crashes_is_an_error_without_a_value_of_the_data(
    desk: Desk, tmp_path: Path
) -> None:
    desk.write(table(), "late")
    shutil.copytree(desk.code / "gatehouse", tmp_path / "broken/gatehouse")
    with (tmp_path / "broken/gatehouse/checks/exact.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef crash(*_):\n    raise ValueError('violet')\n")
        file.write("\n\nduplicates = crash\n")
    finding = desk.findings("data", "duplicates", runner=tmp_path / "broken")["duplicates"]
    assert (finding["status"], finding["value"]) == ("error", "not measured")
    assert finding["message"] == "The check stopped with ValueError."


def leaky() -> pd.DataFrame:
    """A feature that the label makes, a strong honest one, and copies of every kind."""
    random, frame = np.random.default_rng(6), table()
    late = frame["late"]
    frame["honest"] = late + random.normal(size=900) / 2
    frame["derived"] = late + random.normal(size=900) / 50
    frame["copy"] = np.where(late, "overdue", "in time")
    frame["refund"] = frame["seen"].where(late)
    return frame


@shows("data", "closed", "target_copy")
def test_a_feature_made_of_the_label_closes_the_gate(desk: Desk) -> None:
    desk.write(leaky(), "late")
    checks = ("target_copy", "feature_label_correlation")
    power = desk.findings("data", *checks)
    assert statuses(power) == {"fail"}
    assert "at copy, derived" in power["feature_label_correlation"]["message"]
    assert power["target_copy"]["message"].endswith(", at copy, refund.")
    assert "`accept: [copy, refund]`" in power["target_copy"]["fix"]
    assert not any("honest" in finding["message"] for finding in power.values())


def test_columns_that_somebody_vouches_for_do_not_close_it(desk: Desk) -> None:
    desk.write(leaky(), "late")
    check = "target_copy"
    finding = desk.findings("data", check, accept=("copy", "refund"))[check]
    assert finding["status"] == "pass"
    assert finding["value"] > finding["threshold"]
    assert finding["message"].endswith(" (accepted: copy, refund).")
    finding = desk.findings("data", check, accept=("copy",))[check]
    assert finding["status"] == "fail"
    assert finding["message"].endswith(", at refund (accepted: copy).")
    assert "`accept: [copy, refund]`" in finding["fix"]


def references(desk: Desk, champion: pd.DataFrame, now: pd.DataFrame) -> None:
    (desk.path / "champion").mkdir()
    champion.to_parquet(desk.path / "champion/reference.parquet", index=False)
    now.to_parquet(desk.path / "data/reference.parquet", index=False)


@shows("model", "closed", *CHAMPION)
def test_data_that_left_the_champion_behind_are_reported(desk: Desk) -> None:
    desk.write(table(), "late")
    champion = drifted().tail(225).assign(late=True).drop(columns="count")
    references(desk, champion, table())
    found = desk.findings("model", *CHAMPION)
    assert statuses(found) == {"warn"}
    places = [finding["message"].split("threshold ")[1][4:] for finding in found.values()]
    assert places[0].endswith(", at colour, size (not compared: count).")
    assert places[1].endswith(" (not compared: count).")
    assert places[2].endswith(", at colour (not compared: count).")
    assert not any("violet" in finding["message"] for finding in found.values())


@shows("model", "open", *CHAMPION)
def test_data_that_stayed_where_the_champion_knew_them_pass(desk: Desk) -> None:
    desk.write(table(), "late")
    references(desk, table().head(450), table().tail(450))
    assert statuses(desk.findings("model", *CHAMPION)) == {"pass"}


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ((), "there is no champion yet"),
        (("champion/model.skops",), "the champion was made before references were kept"),
        (("champion/reference.parquet",), "data/reference.parquet is not there"),
    ],
)
def test_without_a_champion_nothing_is_compared(
    desk: Desk, there: tuple[str, ...], reason: str
) -> None:
    desk.write(table(60), "late")
    (desk.path / "champion").mkdir()
    for name in there:
        (desk.path / name).touch()
    found = desk.findings("model", "champion_new_categories")["champion_new_categories"]
    assert (found["status"], found["message"]) == ("skipped", f"Not applicable: {reason}.")


def test_a_champion_of_another_target_is_not_compared(desk: Desk) -> None:
    desk.write(table(60), "late")
    references(desk, table(60).rename(columns={"late": "later"}), table(60))
    found = desk.findings("model", "champion_new_categories")["champion_new_categories"]
    assert found["message"] == "Not applicable: the champion had another target."


@shows("model", "closed", "weak_segments")
def test_weak_segments_become_slices(desk: Desk) -> None:
    frame = table()
    desk.write(frame, "late")
    path = desk.path / "predictions/test.parquet"
    predicted = pd.read_parquet(path)
    weak = pd.read_parquet(desk.path / "data/test.parquet")["size"] > 1
    right = predicted["truth"] == "true"
    predicted["p_1"] = np.where(weak, ~right, right) * 0.8 + 0.1
    predicted["p_0"] = 1 - predicted["p_1"]
    predicted["prediction"] = np.where(predicted["p_1"] > 0.5, "true", "false")
    predicted.to_parquet(path, index=False)
    finding = desk.findings("model", "weak_segments")["weak_segments"]
    assert finding["status"] == "warn"
    assert re.search(r", at .*size.* \(\d+ % of the rows\)", finding["message"])
    pasted = [yaml.safe_load(line)[0] for line in finding["fix"].split("`")[1::2]]
    assert {"metric": "skill", "slice": "size", "margin": 0.05} in pasted


HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"]


@pytest.mark.parametrize("stage", ["data", "model"])
def test_the_page_of_charts_holds_no_markup_of_the_data(desk: Desk, stage: str) -> None:
    random, frame = np.random.default_rng(7), table(200)
    frame["late"] = random.choice(HOSTILE, 200)
    frame["colour"] = random.choice(HOSTILE, 200)
    frame["spelling"] = random.choice(["<b>Red</b>", "<b>red</b>", "<<>>"], 200)
    desk.write(frame, "late")
    references(desk, frame.head(150), frame)
    desk.run(stage, "--html", f"reports/{stage}-checks.html")
    assert [path.name for path in (desk.path / "reports").iterdir()] == [f"{stage}-checks.html"]
    page = (desk.path / f"reports/{stage}-checks.html").read_text(encoding="utf-8")
    assert "Conditions Summary" in page
    assert "\uff1c" in page, "the data is shown, by the wide twins of its signs"
    signs = ("<img src=x", "</script><script>alert", "<b>Red", "<b>red", "<<>>")
    assert not [sign for sign in signs if sign in page]


def constant(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(size=1.0, count=2, colour="red", new=True, seen=frame["seen"][0])


def all_missing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.convert_dtypes().assign(
        **{name: frame[name].convert_dtypes().where(frame.index < 0) for name in frame.columns[:-1]}
    )


def one_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(late=True)


@pytest.mark.parametrize("damage", [constant, all_missing, one_class])
def test_tables_with_nothing_to_learn_do_not_stop_the_runner(
    desk: Desk, damage: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    desk.write(damage(table(200)), "late", classes=[False, True])
    for stage in ("data", "model"):
        assert desk.findings(stage).keys() == desk.gates[f"{stage}_checks"]["checks"].keys()


def test_an_empty_table_is_refused(desk: Desk) -> None:
    desk.write(table(60), "late")
    table(60).head(0).to_parquet(desk.path / "data/dataset.parquet")
    assert "has no rows" in refusal(desk, "data")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (None, "names no checks"),
        ({}, "names no checks"),
        ({"checks": {}}, "names no checks"),
        ({"checks": {"duplicate": {"severity": "warn"}}}, "knows no 'duplicate'"),
        ({"checks": {"row_overlap": {"severity": "warn"}}}, "knows no 'row_overlap'"),
        ({"checks": {"duplicates": {"severity": "warn"}}}, "duplicates.max must be a number"),
        ({"checks": {"duplicates": {"max": 0}}}, "severity must be fail or warn"),
        ({"checks": {"duplicates": {"severity": "fail", "max": float("nan")}}}, "must be a number"),
        ({"checks": {"duplicates": {"severity": "fail", "most": 1}}}, "knows no 'most'"),
        ({"checks": {"single_value": {"severity": "warn", "may_skip": 1}}}, "true or false"),
        ({"checks": {"single_value": None}}, "must be a mapping"),
        ({"sample": {"rows": 0}, "checks": {"single_value": {"severity": "warn"}}}, "above 0"),
    ],
)
def test_a_gate_that_says_nothing_is_refused(desk: Desk, section: Any, sentence: str) -> None:
    desk.write(table(60), "late")
    desk.write_gates(data_checks=section)
    assert sentence in refusal(desk, "data")


def test_sides_of_other_types_are_refused(desk: Desk) -> None:
    desk.write(table(60), "late")
    path = desk.path / "data/test.parquet"
    pd.read_parquet(path).astype({"count": float}).to_parquet(path, index=False)
    assert "other types" in refusal(desk, "model")


def refusal(desk: Desk, stage: str) -> str:
    said = desk.run(stage, code=2)
    assert len(said.splitlines()) == 1
    assert not (desk.path / "reports").exists()
    return said


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("schema.yaml", None, "schema.yaml is not there"),
        ("schema.yaml", "target: late\ncolumns: {}\n", "must list its columns"),
        ("schema.yaml", "a: [", "schema.yaml, line 1, is not valid YAML"),
        ("data/train.parquet", None, "data/train.parquet does not exist"),
        ("data/test.parquet", "no parquet", "no readable Parquet file"),
        ("predictions/test.parquet", None, "predictions/test.parquet does not exist"),
    ],
)
def test_broken_files_are_refused(
    desk: Desk, name: str, content: str | None, sentence: str
) -> None:
    desk.write(table(60), "late")
    (desk.path / name).unlink()
    if content is not None:
        (desk.path / name).write_text(content, encoding="utf-8")
    assert sentence in refusal(desk, "model")


def test_a_damaged_file_is_refused(desk: Desk) -> None:
    desk.write(table(), "late")
    path = desk.path / "data/dataset.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    assert "a Parquet file is damaged" in refusal(desk, "data")


def lost_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="p_1")


def other_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(row_id=frame["row_id"][::-1].to_numpy())


def missing_prediction(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(p_0=np.nan)


def unknown_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(prediction="perhaps")


def no_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.head(0)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lost_column, "lacks 1 expected column(s), such as 'p_1'"),
        (other_rows, "is not for the rows of"),
        (missing_prediction, "lacks predictions"),
        (unknown_class, "classes that the schema does not list"),
        (no_rows, "has no rows"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    desk: Desk, damage: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    desk.write(table(60), "late")
    path = desk.path / "predictions/test.parquet"
    damage(pd.read_parquet(path)).to_parquet(path, index=False)
    assert sentence in refusal(desk, "model")
