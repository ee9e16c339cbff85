"""The canvas, and the two cards that are made of it and of what the pipeline wrote."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from gate_files import RESULTS
from markdown_it import MarkdownIt
from projects import rendered

from gatehouse.core.project import Project

BOXES = [
    "value_proposition", "data_sources", "data_collection", "features", "prediction_task",
    "decisions", "making_predictions", "impact_simulation", "building_models", "monitoring",
]  # fmt: skip
GAIN = {"no": {"no": 0, "yes": -2}, "yes": {"no": -5.5, "yes": 3}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to put a project's files into."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: str, content: Any) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    if path in RESULTS:
        content = {"version": 1} | content
    text = yaml.safe_dump(content) if path.endswith((".yaml", ".lock")) else json.dumps(content)
    Path(path).write_text(text, encoding="utf-8")


# --- the canvas -------------------------------------------------------------------------------


def test_every_box_of_the_example_is_filled(here: Path) -> None:
    from gatehouse.core.config.canvas import cost_matrix, load, unfilled

    Path("ml-canvas.yaml").write_text(rendered("ml-canvas.yaml"))
    assert list(yaml.safe_load(rendered("ml-canvas.yaml"))) == ["version", *BOXES]
    assert unfilled(Project()) == []
    assert cost_matrix(Project(), ["false", "true"]) == [[0, -60], [-300, 200]]
    boxes = [box for name, box in load(Project()) if name in BOXES]
    values = [value for box in boxes for _, value in box if value is None]
    assert values == []


@pytest.mark.parametrize("answers", [{"target": "arr_delay"}, {"data": "own.csv", "target": "y"}])
def test_every_box_of_another_project_is_empty(here: Path, answers: dict[str, str]) -> None:
    from gatehouse.core.config.canvas import cost_matrix, unfilled

    text = rendered("ml-canvas.yaml", **answers)
    Path("ml-canvas.yaml").write_text(text)
    assert list(yaml.safe_load(text)) == ["version", *BOXES]
    assert unfilled(Project()) == BOXES
    assert cost_matrix(Project(), ["no", "yes"]) is None
    # each box says what to write, right above its fields or as its first line
    assert all(re.search(rf"(?m)^# .*\n{box}:|^{box}:\n  # ", text) for box in BOXES)


@pytest.mark.parametrize("gain", [GAIN, dict(reversed(GAIN.items()))])
def test_gains_come_in_the_order_of_the_classes(here: Path, gain: Any) -> None:
    from gatehouse.core.config.canvas import cost_matrix

    put("ml-canvas.yaml", {"impact_simulation": {"gain": gain}})
    assert cost_matrix(Project(), ["no", "yes"]) == [[0, -2], [-5.5, 3]]
    assert cost_matrix(Project(), ["yes", "no"]) == [[3, -5.5], [-2, 0]]
    assert cost_matrix(Project(), []) is None


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("{false: {false: 1, true: 2}, true: {false: 3, true: 4}}", ["false", "true"]),
        ("{'false': {'false': 1, true: 2}, 'true': {false: 3, 'true': 4}}", ["false", "true"]),
        ("{0: {0: 1, '1': 2}, 1.0: {0: 3, 1: 4}}", ["0", "1"]),
    ],
)
def test_classes_are_compared_as_text(here: Path, written: str, labels: list[str]) -> None:
    from gatehouse.core.config.canvas import cost_matrix

    Path("ml-canvas.yaml").write_text(f"impact_simulation: {{gain: {written}}}")
    assert cost_matrix(Project(), labels) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("goal: x", "goal: there is no such field: correct this entry"),
        ("decisions: {low: 0.2}", "decisions.low: there is no such field: correct this entry"),
        ("features: [a]", "features: it must be text or a mapping of fields"),
        ("value_proposition: {owner: 3}", "value_proposition.owner: "),
        ("decisions: {low_confidence: 1.2}", "decisions.low_confidence: "),
        ("decisions: {low_confidence: '0.5'}", "decisions.low_confidence: "),
        ("making_predictions: {when: daily}", "'online', 'batch' or 'both'"),
        ("making_predictions: {latency_ms: 0}", "making_predictions.latency_ms: "),
        ("building_models: {retrain_days: 1.5}", "building_models.retrain_days: "),
        ("building_models: {budget_per_month: -1}", "building_models.budget_per_month: "),
        ("monitoring: {label_delay_days: -1}", "monitoring.label_delay_days: "),
        ("impact_simulation: {gain: [1]}", "impact_simulation.gain: it must be a mapping"),
        ("impact_simulation: {gain: {a: 3}}", "impact_simulation.gain.a: it must be a mapping"),
        ("impact_simulation: {gain: {a: {a: .nan}}}", "gain.a.a: Input should be a finite number"),
        ("impact_simulation: {gain: {a: {a: .inf}}}", "gain.a.a: Input should be a finite number"),
        ("impact_simulation: {gain: {a: {a: true}}}", "gain.a.a: Input should be a valid number"),
        ("- a", "ml-canvas.yaml is empty or no mapping"),
        ("a: [", "line 1, is not valid YAML: correct it"),
        ("a: !!bool x", "ml-canvas.yaml is not valid YAML: correct it"),
        ("a: 2024-13-45", "ml-canvas.yaml is not valid YAML: correct it"),
        ("a: " + "[" * 3000, "ml-canvas.yaml is not valid YAML: correct it"),
        ("a: 1\nb: {c: 1, 'c': 2}", "ml-canvas.yaml, line 2, has a key twice: correct it"),
    ],
)
def test_a_wrong_canvas_is_refused_in_one_sentence(here: Path, written: str, said: str) -> None:
    from gatehouse.core.config.canvas import load
    from gatehouse.core.errors import Stop

    Path("ml-canvas.yaml").write_text(written)
    with pytest.raises(Stop, match=re.escape(said)) as stopped:
        load(Project())
    assert stopped.value.exit_code == 2
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{'no': {'no': 1, 'yes': 1}}", "gain lacks the class 'yes'"),
        ("{'no': {'no': 1, 'yes': 1}, 'yes': {'no': 1}}", "gain.yes lacks the class 'yes'"),
        ("{no: {'no': 1, 'yes': 1}, yes: {'no': 1, 'yes': 1}}", "gain lacks the class 'no'"),
        ("{'no': {}, 'yes': {}, 'maybe': {}}", "gain names 'maybe', which is no class"),
        ("{'no': {'no': 1, 'yes': 1, no: 2}, 'yes': {}}", "gain.no names 'false', which is"),
    ],
)
def test_gains_that_do_not_fit_the_classes_are_refused(here: Path, written: str, said: str) -> None:
    from gatehouse.core.config.canvas import cost_matrix
    from gatehouse.core.errors import Stop

    Path("ml-canvas.yaml").write_text(f"impact_simulation: {{gain: {written}}}")
    with pytest.raises(Stop, match=re.escape(said)):
        cost_matrix(Project(), ["no", "yes"])


def test_a_class_named_twice_is_refused(here: Path) -> None:
    from gatehouse.core.config.canvas import cost_matrix
    from gatehouse.core.errors import Stop

    row = "{1: 0, 2: 0}"
    Path("ml-canvas.yaml").write_text(
        f"impact_simulation: {{gain: {{1: {row}, '1': {row}, 2: {row}}}}}"
    )
    with pytest.raises(Stop, match="names a class twice"):
        cost_matrix(Project(), ["1", "2"])


def test_a_box_is_filled_by_text_or_by_a_number(here: Path) -> None:
    from gatehouse.core.config.canvas import unfilled

    boxes: dict[str, Any] = dict.fromkeys(BOXES)
    boxes |= {"features": "size and town", "building_models": {"budget_per_month": 0}}
    boxes |= {"monitoring": {"text": "  \n"}, "decisions": {}, "impact_simulation": {"gain": {}}}
    put("ml-canvas.yaml", boxes)
    assert unfilled(Project()) == [
        box for box in BOXES if box not in ("features", "building_models")
    ]


# --- the cards --------------------------------------------------------------------------------

SECTIONS = [
    "Model Details", "Intended Use", "Factors", "Metrics", "Evaluation Data", "Training Data",
    "Quantitative Analyses", "Ethical Considerations", "Caveats and Recommendations",
]  # fmt: skip
DATA_SECTIONS = [
    "Source", "Columns", "Personal and Sensitive Columns", "Target", "Split", "Time Span",
    "Known Problems", "Collection", "Maintenance",
]  # fmt: skip
RULE = {"metric": "skill", "slice": "all", "rows": 20, "candidate": 0.41, "min": 0.02}
WARNING = {"check": "new_towns", "status": "warn", "message": "2 towns are new", "fix": ""}
PASSED = {"check": "schema", "status": "pass", "message": "fine", "fix": ""}

Cards = Callable[..., tuple[str, str]]


@pytest.fixture
def cards(here: Path) -> Cards:
    """Write the cards of a judged candidate, and give model card and data card ("" for none)."""
    from gatehouse.core.digests import MODEL, model_digest
    from gatehouse.report.cards import write

    def cards(
        open_: bool = True,
        town: str = "town",
        classes: tuple[str, str] = ("no", "yes"),
        marks: Any = (),
        example: bool = True,
        canvas: Any = None,
        data: Any = (PASSED, WARNING),
        **judged: Any,
    ) -> tuple[str, str]:
        for name in ("params.yaml", "gates.yaml", "LICENSE"):
            Path(name).write_text(rendered(name), encoding="utf-8")
        if canvas is not None:
            put("ml-canvas.yaml", canvas)
        elif example:
            Path("ml-canvas.yaml").write_text(rendered("ml-canvas.yaml"), encoding="utf-8")
        columns: dict[str, Any] = {
            "size": {"type": "number", "role": "feature", "min": 0, "max": 9},
            town: {"type": "string", "role": "feature", **dict(marks)},
            "day": {"type": "datetime", "role": "time"},
            "y": {"type": "string", "role": "target"},
        }
        schema = {"task": "binary", "target": "y", "time_column": "day", "classes": list(classes)}
        put("schema.yaml", schema | {"columns": columns})
        rows = pa.table(
            {
                "size": pa.array([0.0, 1.5, None, 9.0] * 25),
                town: ["Aleppo", "Bergen", None, "Aleppo"] * 25,
                "day": [datetime(2026, 1, 1) + timedelta(days=k) for k in range(100)],
                "y": [*[classes[1]] * 25, *[classes[0]] * 75],
            }
        )
        Path("data").mkdir(exist_ok=True)
        for name, part in {"dataset": rows, "train": rows[:80], "test": rows[80:]}.items():
            pq.write_table(part, f"data/{name}.parquet")
        source = {"path": "data/source.csv", "md5": "c" * 32, "size": 12_345, "hash": "md5"}
        train = {"path": "data/train.parquet", "md5": "d" * 32, "size": 1}
        put("dvc.lock", {"stages": {"ingest": {"deps": [source]}, "split": {"outs": [train]}}})
        model = {"task": "binary", "target": "y", "classes": list(classes), "rows": 80}
        model |= {"columns": {n: columns[n] for n in ("size", town, "day")}, "estimator": "a.Tree"}
        model |= {"params": {"depth": 3, "stop": False}, "packages": {"numpy": "2.4.0"}}
        put("model/model.json", model)
        Path("model/model.skops").write_bytes(b"x")
        metrics = {"rows": 20, "skill": 0.41}
        put("metrics.json", {"train": metrics | {"rows": 80, "skill": 0.6}, "test": metrics})
        verdict = {
            "blessed": not judged.get("reasons"),
            "reasons": [],
            "rows": 20,
            "not_judged": [],
            "serving": {"format": "onnx", "reason": "the same"},
        }
        verdict |= {"model_digest": model_digest(MODEL), "champion": {"bootstrap": "the first"}}
        verdict |= {"rules": [RULE | {"passed": True}], "digests": {"test_data": "sha256:ee"}}
        put("blessing.json", verdict | judged)
        put("predictions/importance.json", {"metric": "log-loss", "columns": {town: {"mean": 0.2}}})
        gate = {"open": open_, "rows": 100, "reasons": [], "findings": list(data)}
        put("reports/data_gate.json", gate)
        put("reports/model.json", {"findings": [PASSED, WARNING]})
        write(Project())
        return read("model"), read("data")

    return cards


def read(name: str) -> str:
    path = Path(f"reports/{name}-card.md")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"(?m)^## (.*)\n", text)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def row(text: str, start: str) -> list[str]:
    """The cells of the one table row that begins with ``start``."""
    [line] = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_model_card_has_its_nine_sections_filled(cards: Cards) -> None:
    found = sections(cards()[0])
    assert list(found) == SECTIONS
    assert all(len(text) > 40 for text in found.values())
    assert not [name for name, text in found.items() if "Not stated: fill in" in text]
    assert "Connections desk" in found["Model Details"]
    assert "binary of y, classes no, yes, by a.Tree" in found["Model Details"]
    assert "depth 3, stop false" in found["Model Details"]
    assert "MIT License" in found["Model Details"]
    assert "rebook passengers" in found["Intended Use"]
    assert "town 0.2" in found["Factors"]
    assert row(found["Metrics"], "true | false")[2] == "-300"
    assert "20 rows of data/source.csv, held out by time (day)" in found["Evaluation Data"]
    assert "80 rows of the same source, digest dddddddddddd" in found["Training Data"]
    assert row(found["Quantitative Analyses"], "skill | all")[2:] == [
        "20", "0.41", "min 0.02", "holds",
    ]  # fmt: skip
    assert row(found["Quantitative Analyses"], "skill | 0.41")[2] == "0.6"
    assert "probability: 0.6" in found["Ethical Considerations"]
    assert "2 towns are new" in found["Caveats and Recommendations"]
    assert "no champion: the first" in found["Caveats and Recommendations"]


def test_the_data_card_describes_every_column(cards: Cards) -> None:
    found = sections(cards()[1])
    assert list(found) == DATA_SECTIONS
    assert f"{'c' * 32} (MD5), 12,345 bytes" in found["Source"]
    assert "100 rows, 4 columns" in found["Source"]
    columns = found["Columns"]
    assert row(columns, "size")[1:] == ["number", "feature", "25.0%", "0 to 9", "-"]
    assert row(columns, "town")[1:] == ["string", "feature", "25.0%", "2 categories", "-"]
    assert row(found["Target"], "no")[1:] == ["75", "75.0%"]
    assert row(found["Target"], "yes")[1:] == ["25", "25.0%"]
    assert "Training rows: 80; test rows: 20" in found["Split"]
    assert "By time: the latest 20.0%, by day, judge" in found["Split"]
    span = found["Time Span"].replace("&#8203;", "")  # GitHub makes icons of words between colons
    assert span == "day: 2026-01-01 00:00:00 to 2026-04-10 00:00:00"
    assert "warn: new\\_towns: 2 towns are new" in found["Known Problems"]
    assert "published monthly" in found["Collection"]
    assert "Connections desk" in found["Maintenance"]


def test_the_same_files_give_the_same_bytes(cards: Cards) -> None:
    assert cards() == cards()


def test_nothing_of_the_data_but_classes_and_ranges_is_shown(cards: Cards) -> None:
    assert "Aleppo" not in "".join(cards())


def test_a_personal_column_shows_neither_range_nor_count(cards: Cards) -> None:
    model, data = cards(marks={"pii": True, "sensitive": True}.items())
    assert row(data, "town")[4:] == ["personal: not shown", "personal sensitive"]
    assert "Personal (`pii: true`): town" in data
    assert "Personal data: town" in sections(model)["Ethical Considerations"]
    assert "treat alike: town" in sections(model)["Factors"]


@pytest.mark.parametrize("missing", [False, True])
def test_no_section_is_empty_when_nothing_was_stated(cards: Cards, missing: bool) -> None:
    model, data = cards(example=False, canvas=None if missing else {"decisions": None})
    found = sections(model)
    assert list(found) == SECTIONS
    assert all(len(text) > 40 for text in found.values())
    assert "Not stated: fill in `decisions` in ml-canvas.yaml." in found["Intended Use"]
    assert "Not stated: fill in `value_proposition.owner`" in found["Model Details"]
    assert "Not stated: declare `sensitive: true`" in found["Ethical Considerations"]
    assert "fill in `impact_simulation.gain`" in found["Metrics"]
    assert "Not stated: fill in `data_collection`" in sections(data)["Collection"]
    assert all(box in found["Caveats and Recommendations"].replace("\\", "") for box in BOXES)


def test_before_the_pipeline_ran_the_data_card_says_what_to_run(here: Path) -> None:
    from gatehouse.report.cards import write

    put("schema.yaml", {"task": "auto", "target": "y", "columns": {}})
    assert [path.name for path in write(Project())] == ["data-card.md"]
    found = sections(read("data"))
    assert list(found) == DATA_SECTIONS
    assert all(found.values())
    assert "not made yet: run `make pipeline`" in found["Source"]
    assert "run `gatehouse schema`" in found["Columns"]


def test_no_model_card_behind_a_closed_data_gate(cards: Cards) -> None:
    assert cards()[0]
    broken = {"check": "schema: size", "status": "fail", "message": "is missing", "fix": ""}
    model, data = cards(open_=False, data=[broken])
    assert model == ""
    assert "fail: schema: size: is missing" in sections(data)["Known Problems"]


def test_a_candidate_that_is_not_blessed_says_so_first(cards: Cards) -> None:
    model, _ = cards(reasons=["skill is too low"])
    assert "**Not blessed: not for use.**" in model.split("##")[0]
    assert "Closes the gate: skill is too low" in sections(model)["Caveats and Recommendations"]
    assert "Blessed: 1 rules hold on 20 test rows" in cards()[0].split("##")[0]


def test_another_model_than_the_judged_one_says_so(cards: Cards) -> None:
    model, _ = cards(model_digest="sha256:other")
    assert "**Not blessed: not for use.**" in model
    assert "files in model/ are not those that were judged" in model


def test_a_faulty_canvas_stops_the_cards(cards: Cards) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=r"ml-canvas.yaml: goal: there is no such field"):
        cards(canvas={"goal": "x"})
    assert read("data") == ""


# --- nobody else speaks in them ---------------------------------------------------------------

NASTY = [
    "a | b", "<script>alert(1)</script>", "@everyone", "`code`", "<!-- -->", "# title", "1. one",
    "- item", "> quote", "**bold** _it_", "[x](https://evil.example)", "https://evil.example",
    "me/repo#12", "&lt;img src=x&gt;", "{{ 7 * 7 }}", "===", "~~~",
]  # fmt: skip
LIVE = re.compile(r"@\w|#\d|\w://\w|www\.\w")


def parsed(text: str) -> tuple[list[str], list[str]]:
    """The structure of the card as Markdown reads it, and the words a reader sees."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = [inner for token in parser.parse(text) for inner in (token.children or [token])]
    return [token.type for token in tokens], [t.content for t in tokens if t.type == "text"]


@pytest.mark.parametrize("bad", NASTY)
def test_nasty_names_and_texts_stay_text(cards: Cards, bad: str) -> None:
    def nasty(bad: str) -> tuple[str, str]:
        told = {"check": bad, "status": "warn", "message": bad, "fix": bad}
        rule = RULE | {"metric": bad, "slice": f"{bad} = {bad}", "passed": False}
        return cards(
            town=bad,
            classes=("no", bad),
            data=[told],
            rules=[rule],
            reasons=[bad],
            champion={"bootstrap": bad},
            not_judged=[{"slice": bad, "rows": 3, "reason": bad}],
            canvas={
                box: {"text": f"{bad}\n{bad}\n\n{bad}"} for box in BOXES
            } | {
                "value_proposition": {"owner": bad, "text": bad},
                "impact_simulation": {"unit": bad, "gain": {bad: {"no": 1}}},
                "monitoring": {"business_metric": bad},
            },
        )  # fmt: skip

    for card, harmless in zip(nasty(bad), nasty("harmless"), strict=True):
        shape, words = parsed(card)
        assert shape == parsed(harmless)[0]
        assert not [word for word in words if LIVE.search(word)]


def test_templates_in_the_data_are_not_run(cards: Cards) -> None:
    assert all("7 \\* 7" in card for card in cards(town="{{ 7 * 7 }}"))


def test_paragraphs_and_lines_of_the_canvas_are_kept(cards: Cards) -> None:
    model, _ = cards(canvas={"decisions": "first\n- second\n\n# third"})
    html = MarkdownIt("commonmark").render(model)
    assert "first<br />\n\u200b- second</p>" in html
    assert "third</p>" in html
    assert "<h1>third" not in html
