"""The Deepchecks runner, run in its own environment on small files made here."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow

# Everything a column name can do to a program.
NAMES = ["a b", "größe", "class", "a.b", "a", "1st", "", "index", "label", "prediction", "target"]


@dataclass(frozen=True)
class Desk:
    """A folder with the files the runner reads, and the runner."""

    path: Path
    python: Path
    code: Path
    gates: dict[str, Any]

    def run(self, stage: str, *options: str, code: int = 0) -> str:
        """Run one stage; what it said on stderr."""
        done = subprocess.run(
            [self.python, "-m", "ops.checks", stage, *options],
            cwd=self.path,
            env={"PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return done.stderr

    def findings(self, stage: str, *only: str) -> dict[str, dict[str, Any]]:
        """What the checks of a stage find, or a few of them, which is quicker."""
        if only:
            checks = self.gates[f"{stage}_checks"]["checks"]
            self.write_gates(
                **{f"{stage}_checks": {"checks": {name: checks[name] for name in only}}}
            )
        self.run(stage)
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

    def write(self, frame: pd.DataFrame, target: str, **schema: Any) -> None:
        """The files of a project whose model is right four times out of five."""
        task, time = schema.setdefault("task", "binary"), schema.get("time_column")
        classes = [] if task == "regression" else sorted(frame[target].dropna().unique().tolist())
        classes = schema.setdefault("classes", classes)
        columns = {
            name: {"type": kind(frame[name]), "role": "feature", "nullable": True}
            for name in frame.columns
        }
        columns[target]["role"] = "target"
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
def desk(tmp_path: Path, checks_python: Path, template_dir: Path) -> Desk:
    project = template_dir / "{{cookiecutter.project_slug}}"
    gates = yaml.safe_load((project / "gates.yaml").read_text(encoding="utf-8"))
    desk = Desk(tmp_path, checks_python, project, gates)
    desk.write_gates()
    return desk


@pytest.mark.parametrize("stage", ["data", "model"])
def test_clean_data_closes_no_gate(desk: Desk, stage: str) -> None:
    desk.write(table(), "late")
    said = desk.run(stage)
    report = desk.report(stage)
    assert report["stage"] == stage
    assert report["rows"] == report["rows_checked"] == 900
    assert report["deepchecks"] == "0.19.1"
    asked = list(desk.gates[f"{stage}_checks"]["checks"])
    assert [finding["check"] for finding in report["findings"]] == asked
    assert {f["status"] for f in report["findings"]} <= {"pass", "warn", "skipped"}
    assert all(f["message"].endswith(".") and f["fix"].endswith(".") for f in report["findings"])
    lines = said.splitlines()
    assert len(lines) == len(asked) + 1
    assert lines[-1].startswith(f"reports/{stage}.json: ")
    assert sorted(path.name for path in (desk.path / "reports").iterdir()) == [f"{stage}.json"]


def test_the_same_input_gives_the_same_report(desk: Desk) -> None:
    desk.write(table(), "late")
    for name in ("first.json", "second.json"):
        desk.run("model", "--out", name)
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
        assert findings[check]["status"] == "warn", check
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


@pytest.mark.parametrize("damage", [without_target, one_target])
def test_an_unusable_target_fails(desk: Desk, damage: Callable[[pd.DataFrame], None]) -> None:
    frame = table()
    desk.write(frame, "late")
    damage(frame)
    frame.to_parquet(desk.path / "data/dataset.parquet", index=False)
    assert desk.findings("data", "target_unusable")["target_unusable"]["status"] == "fail"


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


def test_drift_and_new_categories_are_reported(desk: Desk) -> None:
    desk.write(drifted(), "late")
    findings = desk.findings("model", "new_categories", "feature_drift", "multivariate_drift")
    assert findings["new_categories"]["message"].endswith(", at colour.")
    assert findings["feature_drift"]["message"].endswith(", at colour, size.")
    assert findings["multivariate_drift"]["status"] == "warn"
    assert not any("violet" in finding["message"] for finding in findings.values())


def test_a_model_that_learnt_nothing_is_reported(desk: Desk) -> None:
    desk.write(table(), "late")
    path = desk.path / "predictions/test.parquet"
    guessed = pd.read_parquet(path).assign(prediction="false", p_0=0.9, p_1=0.1)
    guessed.to_parquet(path, index=False)
    checks = ("performance_gap", "simple_model", "prediction_drift", "confusion")
    assert statuses(desk.findings("model", *checks)) == {"warn"}


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
    assert desk.findings("data")["duplicates"]["value"] == pytest.approx(200 / 1100)
    assert desk.report("data")["rows_checked"] == 100


def test_a_check_that_cannot_run_is_an_error_unless_it_may_skip(desk: Desk) -> None:
    desk.write(table(), "late")
    for may_skip, status in ((True, "skipped"), (False, "error")):
        check = {"severity": "warn", "max": 0, "may_skip": may_skip}
        desk.write_gates(model_checks={"checks": {"time_overlap": check}})
        assert desk.findings("model")["time_overlap"]["status"] == status


def test_a_check_that_crashes_is_an_error_without_a_value_of_the_data(desk: Desk) -> None:
    desk.write(table(), "late")
    # Deepchecks refuses a threshold above 1 here, after the check has run.
    check = {"severity": "warn", "max": 2, "may_skip": True}
    desk.write_gates(model_checks={"checks": {"confusion": check}})
    finding = desk.findings("model")["confusion"]
    assert (finding["status"], finding["value"]) == ("error", None)
    assert finding["message"] == "The check stopped with RuntimeError."


def test_charts_are_drawn_on_request(desk: Desk) -> None:
    desk.write(table(), "late")
    desk.write_gates(data_checks={"checks": {"single_value": {"severity": "warn"}}})
    desk.run("data", "--html", "reports/data.html")
    assert "Conditions Summary" in (desk.path / "reports/data.html").read_text(encoding="utf-8")


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
        ("schema.yaml", None, "schema.yaml does not exist"),
        ("schema.yaml", "target: late\ncolumns: {}\n", "must list its columns"),
        ("schema.yaml", "a: [", "cannot be read as YAML"),
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
