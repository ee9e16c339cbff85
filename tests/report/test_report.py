"""The report of a pull request: what it says in every state, and that nobody else speaks in it."""

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from gate_files import put
from markdown_it import MarkdownIt
from projects import small_project

from gatehouse.core.project import Project

MARKER = "<!-- gatehouse-report -->"
HOSTILE = [
    "@everyone",
    "<script>alert(1)</script>",
    "a | b",
    "`code`",
    "<!-- -->",
    "<!-- gatehouse-report -->",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example",
    "**bold** _it_ ~~no~~",
    "# title",
    "me/repo#12 GH-12",
    "one\n\n## two\r\n- three",
    "```\n```mermaid\nclick",
    '"]\n%%{init: {}}%% click A "https://evil.example"',
    "&lt;img src=x onerror=alert(1)&gt;",
    "$\\href{https://evil.example}{x}$ :tada:",
    "zero\u200bwidth \u202ereversed\u2069 \x1b[31mred\x00 \ud800",
    "x" * 500,
]

Make = Callable[..., tuple[str, str]]


def finding(check: str = "schema", status: str = "pass", **more: Any) -> dict[str, Any]:
    told = {"message": f"{check} said so", "fix": f"mend {check}", "value": 0, "threshold": 1}
    return {"check": check, "status": status, **told, **more}


def rule(metric: str = "roc_auc", where: str = "all", **more: Any) -> dict[str, Any]:
    told = {"rows": 200, "candidate": 0.87, "champion": 0.86, "difference": 0.01}
    told |= {"low": 0.004, "high": 0.016, "min": 0.8, "margin": 0.005}
    return {"metric": metric, "slice": where, **told, "passed": True, "reason": "", **more}


GOOD = (finding(),)
ORIGIN = {"ref": "main", "commit": "c" * 40}
CHAMPION: dict[str, Any] = {"data_rows": 1234, "model_digest": "sha256:" + "d" * 64}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Put the files of a judged candidate into an empty folder, write the report, give both."""
    from gatehouse.core.digests import MODEL, model_digest
    from gatehouse.gates import verdict
    from gatehouse.report.write import write

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verdict, "stale_stages", lambda _: [])
    small_project(tmp_path, "dvc.yaml")
    for name in ("reports", "predictions", "model"):
        Path(name).mkdir()
    for name in ("model.json", "model.skops"):
        Path("model", name).write_text("{}", encoding="utf-8")

    def make(
        task: str = "binary",
        classes: Any = ("no", "yes"),
        data: Any = GOOD,
        model: Any = GOOD,
        checks: Any = (),
        closed: Any = (),
        predictions: Any = None,
        origin: Any = ORIGIN,
        **judged: Any,
    ) -> tuple[str, str]:
        about = {"stage": "x", "rows": 5000, "columns_not_checked": [], "rows_checked": 5000}
        gate = {"open": not closed, "rows": 5000, "reasons": list(closed), "findings": list(data)}
        bless = {"blessed": not judged.get("reasons"), "reasons": [], "rules": [rule()]}
        bless |= {"serving": {"format": "onnx", "reason": "the same"}}
        bless |= {"model_digest": model_digest(MODEL), "champion": CHAMPION, "rows": 1200}
        metrics = {"rows": 1200, "roc_auc": 0.87}
        contents: dict[str, Any] = {
            "reports/data.json": {**about, "findings": list(data), **dict(checks)},
            "reports/data_gate.json": gate,
            "reports/model.json": {**about, "findings": list(model), **dict(checks)},
            "reports/model_tests.json": {"findings": [finding("test_x")]},
            "reports/budget.json": {"size_mb": 1.5, "latency_ms": 12, "rows_per_second": 9000},
            "metrics.json": {"train": metrics, "test": metrics},
            "reports/champion.json": origin,
            "blessing.json": bless | judged,
        }
        for name, content in contents.items():
            put(name, content)
        schema = {"task": task, "classes": list(classes), "columns": {}}
        Path("schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
        if predictions is not None:
            pq.write_table(pa.table(predictions), "predictions/test.parquet")
        assert write(Project(), html=True) == 0
        return (
            Path("reports/report.md").read_text(encoding="utf-8"),
            Path("reports/report.html").read_text(encoding="utf-8"),
        )

    return make


def titles(text: str) -> list[str]:
    return [line[4:] for line in text.splitlines() if line.startswith("### ")]


def section(text: str, title: str) -> str:
    return text.split(f"\n### {title}\n")[1].split("\n### ")[0]


def row(text: str, start: str) -> list[str]:
    """The cells of the one table row that begins with ``start``."""
    [line] = [line for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


# --- the model that was chosen -------------------------------------------------------------------


def test_how_the_model_was_chosen_and_how_to_choose_the_other(make: Make) -> None:
    assert "chosen by" not in make()[0]
    choice: dict[str, Any] = {"asked": "auto", "taken": "linear", "by": "5-fold cross-validation"}
    choice |= {"metric": "log_loss", "best": {"linear": 0.31, "boosting": 0.35}}
    Path("model/model.json").write_text(json.dumps({"choice": choice}), encoding="utf-8")
    text = make()[0]
    assert (
        "Model: linear, chosen by 5-fold cross-validation against boosting: log\\_loss 0.31 "
        "against 0.35; `model: boosting` in params.yaml switches."
    ) in text
    alone = choice | {"by": "too few rows to compare", "best": {}}
    Path("model/model.json").write_text(json.dumps({"choice": alone}), encoding="utf-8")
    assert "Model: linear, chosen by too few rows to compare." in make()[0]


def test_a_simpler_model_that_is_better_stands_first(make: Make) -> None:
    beaten = "surely worse than a linear model (skill 0.2 against 0.4): `model: linear` mends it"
    text = make(beaten=beaten)[0]
    assert titles(text)[0] == "A simpler model is better"
    assert "skill 0.2 against 0.4" in section(text, "A simpler model is better")
    assert "A simpler model is better" not in make()[0]


@pytest.mark.parametrize("differ", [[], [{"way": "json", "reason": "x", "columns": []}]])
def test_on_which_ways_a_row_means_the_same(make: Make, differ: list[dict[str, Any]]) -> None:
    trip = {"rows": 136, "ways": ["parquet", "json"], "differ": differ}
    same = "parquet; another by json" if differ else "parquet, json"
    assert f"136 rows of the source get the same answer by {same}." in make(round_trip=trip)[0]


# --- the verdict ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judged", "title", "reasons"),
    [
        ({}, "❌ Thresholds loosened: {} (and 1 more)", 2),
        ({"reasons": ["too low"]}, "❌ Thresholds loosened: {} (and 2 more)", 3),
        ({"closed": ["rows: 3 rows"]}, "❌ Thresholds loosened: {} (and 2 more)", 3),
        ({"model_digest": "sha256:other"}, "⚠️ Stale: the model in", 3),
    ],
)
def test_loosened_thresholds_are_the_reason_in_ci_and_a_note_on_a_laptop(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    judged: dict[str, Any],
    title: str,
    reasons: int,
) -> None:
    from gatehouse.gates import thresholds

    told = ["model.rules: skill min 0.5 is now -9", "trusted_types: builtins.eval is new"]
    monkeypatch.setattr(thresholds, "loosened", lambda _: told)
    monkeypatch.setenv("BASE_REF", "origin/main")
    text, page = make(**judged)
    said = "gates.yaml is looser than origin/main's, whose thresholds judge: "
    assert text.startswith("## " + title.format(said + told[0]))
    assert section(text, "Reasons").count("\n- ") == reasons
    assert all(f"- {said}{one}".replace("_", "\\_") in text for one in told)
    assert all(said + one in page for one in told)
    monkeypatch.setenv("BASE_REF", "")
    text, _ = make(reasons=["too low"])
    assert text.startswith("## ❌ Not blessed: too low <!--")
    assert "whose thresholds judge in CI: " + told[0] in section(text, "Not run, and why")


@pytest.mark.parametrize(
    ("judged", "first"),
    [
        ({}, "## ✅ Blessed: 1 of 1 rules hold on 1,200 test rows"),
        ({"reasons": ["too low"]}, "## ❌ Not blessed: too low"),
        ({"reasons": ["too low", "b"]}, "## ❌ Not blessed: too low (and 1 more)"),
        ({"blessed": False}, "## ❌ Not blessed: no reason was recorded"),
        ({"closed": ["rows: 3 rows"]}, "## ❌ Data gate closed: rows: 3 rows"),
        (
            {"model_digest": "sha256:other", "reasons": ["too low"]},
            "## ⚠️ Stale: the model in model/ is not the one that was judged (and 1 more)",
        ),
    ],
)
def test_first_line_tells_verdict_and_reason(
    make: Make, judged: dict[str, Any], first: str
) -> None:
    text, page = make(**judged)
    assert text.splitlines()[0] == f"{first} {MARKER}"
    assert text.count(MARKER) == 1
    assert f"<h1>{first[3:]}</h1>" in page


def test_changed_files_make_it_stale(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.gates import verdict

    monkeypatch.setattr(verdict, "stale_stages", lambda _: ["train"])
    text, _ = make()
    assert text.startswith("## ⚠️ Stale: train changed since the verdict")


@pytest.mark.parametrize(
    "rules", [[], [rule(passed=False)], [rule(), rule(passed=None)], ["x"], [{"passed": True}]]
)
def test_blessing_that_contradicts_itself_is_no_report(make: Make, rules: Any) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match="damaged") as stopped:
        make(rules=rules)
    assert stopped.value.exit_code == 2
    assert not Path("reports/report.md").exists()


@pytest.mark.parametrize(
    "missing",
    [
        "blessing.json",
        "metrics.json",
        "reports/model.json",
        "reports/model_tests.json",
        "reports/data.json",
        "reports/data_gate.json",
    ],
)
def test_missing_file_stops_and_leaves_no_older_report(make: Make, missing: str) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.report.write import write

    make()
    Path(missing).unlink()
    with pytest.raises(Stop, match=re.escape(missing)) as stopped:
        write(Project(), html=False)
    assert stopped.value.exit_code == 2
    assert not Path("reports/report.md").exists()
    assert not Path("reports/report.html").exists()


def test_a_word_that_is_no_yes_blesses_nothing(make: Make) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match="blessed") as stopped:
        make(blessed="yes")
    assert (stopped.value.code, stopped.value.exit_code) == ("file-damaged", 2)


def test_nothing_judged(make: Make) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.report.write import write

    with pytest.raises(Stop, match="nothing has been judged") as stopped:
        write(Project(), html=False)
    assert stopped.value.exit_code == 2


# --- the sections -----------------------------------------------------------------------------


def test_sections_stand_in_the_order_of_deciding(make: Make) -> None:
    rules = [rule(), rule(where="origin = EWR", candidate=0.7, passed=False)]
    text, page = make(rules=rules, reasons=["a", "b"], predictions=binary())
    wanted = ["Reasons", "Gates", "Worst slices", "Data", "Checks", "Service", "Plots"]
    wanted += ["Reproduce", "Not run, and why"]
    assert titles(text) == wanted
    assert re.findall("<h2>(.*?)</h2>", page) == wanted


def test_closed_data_gate_says_nothing_of_an_older_model(make: Make) -> None:
    broken = finding("schema: carrier", "fail")
    text, _ = make(closed=["schema: carrier: the column is missing"], data=[broken])
    assert titles(text) == ["Gates", "Data", "Checks", "Reproduce", "Not run, and why"]
    assert "roc" not in text
    assert "the data gate is closed" in section(text, "Not run, and why")
    assert row(text, "**fail**")[3] == "mend schema: carrier"


def test_gate_table(make: Make) -> None:
    rules = [
        rule("accuracy", gain=0.002, max=None),
        rule("log_loss", "origin = EWR", candidate=1234.5678, champion=None, passed=False),
    ]
    del rules[1]["low"]
    text, _ = make(rules=rules, reasons=["x"])
    assert row(text, "accuracy") == [
        "accuracy", "all", "≥ 0.8, margin 0.005, gain > 0.002", "0.86", "0.87", "+0.01",
        "+0.004 to +0.016", "pass",
    ]  # fmt: skip
    closing = row(text, "log\\_loss")
    assert closing[1:5] == ["origin = EWR", "≥ 0.8, margin 0.005", "-", "1,235"]
    assert closing[6:] == ["-", "**closes**"]
    assert text.index("log\\_loss | origin") < text.index("accuracy | all")
    assert "Champion: main at cccccccccccc, model sha256" in text


def test_a_rule_against_another_than_the_champion_says_whom(make: Make) -> None:
    rules = [
        rule("skill", against="linear", champion=0.3, min=None, margin=0.2),
        rule("accuracy", "town", gap=0.1, candidate=0.04, champion=None, low=None, high=None),
    ]
    text, _ = make(rules=rules)
    assert row(text, "skill")[2:4] == ["margin 0.2", "0.3 (linear)"]
    assert row(text, "accuracy")[2] == "≥ 0.8, margin 0.005, gap ≤ 0.1"
    assert "Worst slices" not in titles(text), "a gap is no slice"


def test_what_the_schema_says_stands_beside_what_the_data_have(make: Make) -> None:
    far = finding("values: price", "warn", value="0 to 4,000,000", threshold="0 to 4,000")
    lost = finding("schema: town", "fail", value="missing", threshold="string")
    told = section(make(data=[far, lost], closed=["x"])[0], "Data")
    assert row(told, "values: price")[1:3] == ["0 to 4,000", "0 to 4,000,000"]
    assert row(told, "schema: town")[1:3] == ["string", "missing"]


def test_what_the_model_looks_at(make: Make) -> None:
    columns = {"delay": {"mean": 0.4, "std": 0.01}, "@town": {"mean": 0.1, "std": 0.01}}
    found = {"metric": "skill", "rows": 900, "repeats": 5, "columns": columns}
    Path("predictions/importance.json").write_text(json.dumps(found), encoding="utf-8")
    text, page = make()
    told = section(text, "What the model looks at")
    assert "Loss of skill when a column is shuffled, on 900 test rows, 5 times." in told
    assert 'x-axis "column" ["delay", "town"]' in told
    assert "bar [0.4, 0.1]" in told
    assert page.count("<rect") == 2


def test_service_figures(make: Make) -> None:
    line = "Model 1.5 MB; one row in 12 ms (95th percentile); 9,000 rows a second."
    assert line in section(make()[0], "Service")


def test_champion_found_by_another_file(make: Make) -> None:
    origin = {"ref": "production", "commit": "e" * 40}
    text, _ = make(champion={"model_digest": "sha256:abc"}, origin=origin)
    assert "Champion: production at eeeeeeeeeeee" in text
    assert "there is none" not in text


def test_no_champion_is_said_with_its_reason(make: Make) -> None:
    text, _ = make(champion={"bootstrap": "first model"})
    assert "No champion (first model)." in section(text, "Gates")
    assert "comparison with a champion: there is none" in section(text, "Not run, and why")


def test_worst_slices_follow_the_direction_of_the_metric(make: Make) -> None:
    rules = [rule("log_loss", candidate=0.5), rule("accuracy", candidate=0.8)]
    rules += [rule("log_loss", f"s = {k}", candidate=0.4 + k / 10, rows=k) for k in range(4)]
    rules += [rule("accuracy", "t = 1", candidate=0.1, rows=24_000)]
    worst = section(make(rules=rules)[0], "Worst slices").strip().splitlines()[2:]
    assert [line.split(" | ")[0].strip("| ") for line in worst] == [
        "t = 1",
        "s = 3",
        "s = 2",
        "s = 1",
        "s = 0",
    ]
    assert worst[0] == "| t = 1 | 24,000 | accuracy | 0.1 | -0.7 |"


def test_data_and_checks(make: Make) -> None:
    model = [
        finding("feature_drift", "warn"),
        finding("weak_segments", "error"),
        finding("odd", "new"),
    ]
    text, _ = make(data=[finding(), finding("values: dep_delay", "warn")], model=model)
    told = section(text, "Data")
    assert "5,000 rows in the dataset, 1,234 when the champion was made" in told
    for name in ("pass: schema:", "values: dep\\_delay", "feature\\_drift"):
        assert name in told
    assert "weak" not in told
    checks = section(text, "Checks")
    assert checks.startswith("\n2 passed, 2 failed, 2 warned.")
    statuses = [line.split(" | ")[0] for line in checks.splitlines() if line.startswith("| ")]
    assert statuses[2:] == ["| **error**", "| **new**", "| warn", "| warn"]
    assert "mend weak\\_segments" in checks


def test_what_was_not_run(make: Make) -> None:
    few = [{"slice": "carrier = OO", "rows": 7, "reason": "fewer rows than rows_min"}]
    columns = [f"c{k}" for k in range(12)]
    text, _ = make(
        model=[finding("error_bias", "skipped")],
        checks={"rows_checked": 100, "columns_not_checked": columns},
        not_judged=few,
    )
    told = section(text, "Not run, and why")
    for line in (
        "Deepchecks on all rows (data): it saw 100 of 5,000",
        "Deepchecks on all rows (model): it saw 100 of 5,000",
        "c8, c9 and 2 more",
        "slice carrier = OO (7 rows): fewer rows than rows\\_min",
        "skipped: error\\_bias: error\\_bias said so",
    ):
        assert line in told
    assert "No plot of the predictions: predictions/test.parquet" in section(text, "Plots")
    assert "every check ran" in section(make()[0], "Not run, and why")


def test_reproduce_names_the_commit_and_what_it_lacks(make: Make) -> None:
    assert "No commit is known" in make()[0]
    for words in (["init", "-q"], ["add", "schema.yaml", "dvc.yaml"], ["commit", "-qm", "x"]):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *who, *words], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    told = section(make()[0], "Reproduce")
    assert f"git checkout {head.stdout.strip()} && make setup && make pipeline gate" in told
    assert "4 files differ from this commit" in told


# --- the plots --------------------------------------------------------------------------------


def binary() -> dict[str, Any]:
    probability = np.linspace(0.01, 0.99, 100)
    return {"truth": np.where(probability > 0.4, "yes", "no"), "p_1": probability}


def chart(text: str, last: bool = False) -> dict[str, Any]:
    """The one Mermaid chart, or the last, read as strictly as its grammar is."""
    bodies = re.findall(r"```mermaid\n(.*?)\n```", text, re.DOTALL)
    [body] = bodies[-1:] if last else bodies
    colours, head, title, x, y, *series = body.splitlines()
    assert colours.startswith("%%{init: ")
    assert head in ("xychart-beta", "xychart-beta horizontal")
    assert re.fullmatch(r'title "[^"]+"', title)
    found = re.fullmatch(r'x-axis "[^"]+" \[("[^"]+"(?:, "[^"]+")*)\]', x)
    digits = r"-?\d+(?:\.\d+)?"
    assert found
    assert re.fullmatch(rf'y-axis "[^"]+" {digits} --> {digits}', y)
    values = [re.fullmatch(rf"(?:line|bar) \[({digits}(?:, {digits})*)\]", line) for line in series]
    numbers = [[float(v) for v in match[1].split(", ")] for match in values if match]
    labels = re.findall('"([^"]+)"', found[1])
    assert len(numbers) == len(series)
    assert all(len(line) == len(labels) for line in numbers)
    return {"labels": labels, "series": numbers}


def test_binary_task_shows_calibration(make: Make) -> None:
    text, page = make(predictions=binary())
    shown = chart(text)
    assert len(shown["labels"]) == 10
    assert shown["series"][0][0] == pytest.approx(0.0545, abs=1e-3)
    assert shown["series"][1] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert page.count("<svg") == 1
    assert "observed</text>" in page


def test_multiclass_task_shows_confusion(make: Make) -> None:
    truth, guess = ["a", "a", "b", "c|"], ["a", "b", "b", "c|"]
    text, page = make(
        "multiclass", ["a", "b", "c|"], predictions={"truth": truth, "prediction": guess}
    )
    table = section(text, "Plots")
    assert "| truth | a | b | c&#124; |" in table
    assert "| a | 1 | 1 | 0 |\n| b | 0 | 1 | 0 |\n| c&#124; | 0 | 0 | 1 |" in table
    assert "<td>c|</td>" in page


def test_regression_task_shows_residuals(make: Make) -> None:
    truth = np.zeros(1001)
    predictions = {"truth": truth, "prediction": np.linspace(-1, 1, 1001)}
    text, page = make("regression", [], predictions=predictions)
    shown = chart(text)
    assert sum(shown["series"][0]) == 1001
    assert page.count("<rect") == len(shown["labels"]) == 11


@pytest.mark.parametrize("value", [1e-7, 1e300, -0.3])
def test_slices_as_bars_of_any_size(make: Make, value: float) -> None:
    rules = [rule(where=f's"{k}', candidate=value * (k + 1)) for k in range(20)]
    text, page = make(rules=rules)
    assert len(chart(text)["labels"]) == 8
    assert page.count("<rect") == 8


@pytest.mark.parametrize(
    "predictions",
    [
        {"truth": ["no", "yes"], "p_1": [0.1, float("nan")]},
        {"truth": ["no", None], "p_1": [0.1, 0.2]},
        {"truth": ["no", "yes"]},
        {"truth": pa.array([], pa.string()), "p_1": pa.array([], pa.float64())},
    ],
)
def test_predictions_that_cannot_be_drawn_are_named(make: Make, predictions: Any) -> None:
    assert "No plot of the predictions: " in section(make(predictions=predictions)[0], "Plots")


# --- nobody else speaks -----------------------------------------------------------------------


# What GitHub makes links, mentions, references and icons of once entities are decoded, and what
# nobody can see.
LINK = re.compile(
    r"@\w|#\d|gh-\d|\w://\w|www\.\w|:\w+:|[\x00-\x1f\u202a-\u202e\u2066-\u2069\ud800]",
    re.IGNORECASE,
)


def rendered(text: str) -> tuple[list[str], list[str]]:
    """The structure of the report as Markdown reads it, and the words a reader sees."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = [inner for token in parser.parse(text) for inner in (token.children or [token])]
    return [token.type for token in tokens], [t.content for t in tokens if t.type == "text"]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}


@pytest.mark.parametrize("bad", HOSTILE)
def test_hostile_names_are_text(make: Make, bad: str) -> None:
    """A payload at every place that a file can bring one to changes no structure."""

    def hostile(bad: str) -> tuple[str, str]:
        where = [
            rule(bad, f"{bad} = {bad}"),
            rule(bad, "all"),
            rule(bad, f"{bad} = 1", passed=False),
        ]
        model = [finding(bad, "warn", message=bad, fix=bad), finding("x", "skipped", message=bad)]
        model += [finding(bad, "fail"), finding(bad, bad), finding("new_" + bad, "warn")]
        return make(
            classes=["no", bad.replace("\ud800", "")],  # no file can hold it
            data=[finding(f"schema: {bad}", "warn", message=bad)],
            model=model,
            checks={"columns_not_checked": [bad], "rows": 7000},
            rules=where,
            reasons=[bad, bad],
            champion={"model_digest": bad, "bootstrap": bad},
            origin={"ref": bad, "commit": bad},
            not_judged=[{"slice": bad, "rows": 3, "reason": bad}],
            predictions={"truth": ["no"], "p_1": [0.5]},
        )

    plain, plain_page = hostile("harmless")
    text, page = hostile(bad)
    shape, words = rendered(text)
    assert shape == rendered(plain)[0]
    assert not [word for word in words if LINK.search(word)]
    assert "x" * 301 not in text
    assert len(chart(text, last=True)["labels"]) == 2
    tags, plain_tags = Tags(), Tags()
    tags.feed(page)
    plain_tags.feed(plain_page)
    assert tags.seen == plain_tags.seen
    assert not tags.seen & {"script", "img", "a", "iframe", "link", "object"}
    assert "<script" not in page


def test_page_fetches_nothing(make: Make) -> None:
    _, page = make(predictions=binary())
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href|url)\s*[=(]|@import|javascript:", page.split("</style>")[1])
    assert re.findall('https?://[^" ]*', page) == ["http://www.w3.org/2000/svg"]


# --- short enough -----------------------------------------------------------------------------


def test_a_usual_report_is_short(make: Make) -> None:
    rules = [rule(where=f"origin = {k}") for k in range(30)]
    text, _ = make(rules=rules, model=[finding(f"c{k}", "warn") for k in range(30)])
    assert len(text) < 30_000
    assert "Left out" not in text


@pytest.mark.parametrize("passed", [True, False])
def test_thousands_of_findings_and_slices_are_cut(make: Make, passed: bool) -> None:
    long = "<&|>" * 100
    rules = [rule(where=f"{k} {long}") for k in range(1990)]
    rules += [rule(where=f"closing {k}", passed=False) for k in range(10 if passed else 1990)]
    text, page = make(
        rules=rules,
        reasons=[f"{k} {long}" for k in range(2000)],
        model=[finding(f"c{k} {long}", "warn", message=long, fix=long) for k in range(3000)],
    )
    assert len(text) <= 60_000
    assert text.startswith("## ❌ Not blessed: 0 ")
    kept = text.count("**closes**")
    assert kept == 10 if passed else kept > 300
    assert "Left out to stay short" in section(text, "Plots")
    assert "make pipeline gate" in section(text, "Reproduce")
    assert titles(text)[0] == "Reasons"
    assert "Worst slices" in page


def test_attack_a_report_that_is_silent_on_the_judge(make: Make, tmp_path: Path) -> None:
    """ATTACK: the same on a laptop or in a branch, where no comment is written | the report and `gate` name it first, from git"""
    words = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for name in ("gates.yaml", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old: 1\n")
    git = ("git", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "gates.yaml", "docs"], check=True)
    subprocess.run([*git, *words, "commit", "-qm", "x"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://example.invalid/x.git"], check=True)
    subprocess.run([*git, "checkout", "-qb", "change"], check=True)
    (tmp_path / "docs/a.md").write_text("new: 1\n")
    subprocess.run([*git, *words, "commit", "-qam", "y"], check=True)
    assert "### What judges changes" not in make()[0]
    (tmp_path / "@all`.mk").write_text("x")
    subprocess.run([*git, "mv", "docs/a.md", "docs/b.md"], check=True)
    subprocess.run([*git, "add", "@all`.mk"], check=True)
    report = make()[0]
    first = report.partition("### What judges changes\n")[2].partition("\n### ")[0]
    assert "of the owner: " in first and "all&#96;.mk" in first
    assert "docs" not in first
    assert report.index("### What judges changes") < report.index("### Gates")
