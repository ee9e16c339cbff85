"""Human in the loop: who is asked what, and what becomes of the answers."""

import copy
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from serving import schema_of
from stops import stops

from gatehouse.core.project import Project

NOW = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository with a schema of the binary task."""
    monkeypatch.chdir(tmp_path)
    for name in ("LOG_URL", "LABELS_URL", "GITHUB_ACTOR", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AS_OF", NOW.isoformat())
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Jo Doe")
    Path("schema.yaml").write_text(yaml.safe_dump(schema_of("binary"), sort_keys=False))
    Path("monitor.yaml").write_text("review: {below: 0.7, most: 3}\n")
    return tmp_path


def records(*probabilities: float, ids: list[str] | None = None, **columns: Any) -> Any:
    """A table as ``gatehouse.monitoring.records`` gives it, with these probabilities of the second class."""
    import pyarrow as pa

    n = len(probabilities)
    made = {
        "__id": ids or [f"r{k}" for k in range(n)],
        "__time": pa.array([NOW.replace(tzinfo=None)] * n, pa.timestamp("us")),
        "__model": ["sha256:1"] * n,
        "__prediction": ["true" if p >= 0.5 else "false" for p in probabilities],
        "__p_0": [1 - p for p in probabilities],
        "__p_1": list(probabilities),
        "__truth": pa.nulls(n, pa.string()),
        "size €": [-1.5] * n,
        "rooms": pa.array([3] * n, pa.int64()),
        "town": ["north"] * n,
    }
    return pa.table(made | columns)


@pytest.fixture
def review(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The verb, over these records."""
    import gatehouse.github.review as issue
    from gatehouse.labelling import review
    from gatehouse.monitoring import labels
    from gatehouse.monitoring import records as log

    table: list[Any] = [records(0.5)]

    def read(_project: Any, _url: str, since: datetime, until: datetime, _schema: Any) -> Any:
        assert (until - since).days == 7
        return log.Records(table[0], {}, 1, 1)

    monkeypatch.setattr(log, "read", read)
    monkeypatch.setattr(labels, "join", lambda found, _url, _schema: labels.Joined(found, {}))

    def run(action: str, file: str = "", said: Any = None, **more: Any) -> int:
        table[0] = said if said is not None else table[0]
        if action == "status":
            return review.status(Project(), as_json=True)
        if action == "import":
            return review.take_in(Project(), Path(file), as_json=True)
        export = issue.export if more.pop("issue", False) else review.export
        return export(Project(), as_json=True, **more)

    return run


def asked(file: str = "review.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(file).read_bytes().decode())))


def answer(file: str = "review.csv", **answers: str) -> None:
    """Fill in the column, as a person would."""
    rows = asked(file)
    with Path(file).open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"answer": answers.get(row["id"], "")} for row in rows)


def labels() -> list[dict[str, str]]:
    [file] = Path("labels").glob("review-*.csv")
    return asked(str(file))


def refused(words: str, work: Callable[[], Any]) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=words) as caught:
        work()
    assert caught.value.exit_code == 2


# --- who is asked what ---------------------------------------------------------------------------


def test_the_least_sure_are_asked_first_and_no_more_than_so_many(review: Any) -> None:
    assert review("export", said=records(0.9, 0.55, 0.31, 0.5, 0.69, 0.2)) == 0
    rows = asked()
    assert [row["id"] for row in rows] == ["r3", "r1", "r2"]
    assert list(rows[0]) == [
        "id", "time", "size €", "rooms", "town", "prediction", "probability", "answer",
    ]  # fmt: skip
    assert rows[2] == {
        "id": "r2", "time": "2026-11-27 20:00:00", "size €": "-1.5", "rooms": "3", "town": "north",
        "prediction": "false", "probability": "0.690", "answer": "",
    }  # fmt: skip


def test_nobody_is_asked_twice_unless_wanted(review: Any) -> None:
    many = records(0.5, 0.51, 0.52, 0.53, 0.54)
    review("export", said=many)
    first = [row["id"] for row in asked()]
    review("export")
    assert [row["id"] for row in asked()] == ["r3", "r4"]
    review("export", again=True)
    assert [row["id"] for row in asked()] == first


def test_what_is_known_already_is_not_asked(review: Any) -> None:
    import pyarrow as pa

    truth = pa.array(["true", None], pa.string())
    review("export", said=records(0.5, 0.6, __truth=truth))
    assert [row["id"] for row in asked()] == ["r1"]


def test_where_all_are_sure_there_is_no_file(
    review: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert review("export", said=records(0.9, 0.01)) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": 0}
    assert not Path("review.csv").exists()
    assert not Path("labels").exists()


def test_the_canvas_says_what_is_unsure_where_the_settings_do_not(review: Any) -> None:
    Path("monitor.yaml").write_text("review: {most: 3}\n")
    Path("ml-canvas.yaml").write_text("decisions: {low_confidence: null}\n")
    refused("nothing says what is unsure", lambda: review("export"))
    Path("ml-canvas.yaml").write_text("decisions: {low_confidence: 0.52}\n")
    review("export", said=records(0.5, 0.6))
    assert [row["id"] for row in asked()] == ["r0"]


def test_a_regression_has_no_probability_and_is_refused(review: Any) -> None:
    Path("schema.yaml").write_text(yaml.safe_dump(schema_of("regression"), sort_keys=False))
    refused("a regression says no probability", lambda: review("export"))


def test_nothing_personal_is_in_it(review: Any) -> None:
    schema = copy.deepcopy(schema_of("binary"))
    schema["columns"]["town"]["pii"] = True
    schema["columns"]["rooms"]["log"] = "hash"
    Path("schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    review("export")
    assert not {"town", "rooms"} & set(asked()[0])


EVIL = ["=1+1", "+1+1", "-1+1|x", "@SUM(A1)", "\tx", "\rx", "a,b", 'say "x"', "two\nlines", "-5"]


def test_no_cell_is_a_formula(review: Any) -> None:
    Path("monitor.yaml").write_text("review: {below: 0.7, most: 50}\n")
    review("export", said=records(*[0.5] * len(EVIL), ids=EVIL, town=EVIL))
    rows = asked()
    for row in rows:
        assert row["town"] == row["id"]
        assert not row["town"].startswith(("=", "+", "@", "\t", "\r"))
        assert row["town"] == "-5" or not row["town"].startswith("-")
    # The ids come back as they went out.
    answer(**{row["id"]: "true" for row in rows})
    review("import", "review.csv")
    assert {row["id"] for row in labels()} == set(EVIL)


# --- answers -------------------------------------------------------------------------------------


def test_answers_become_labels(review: Any, capsys: pytest.CaptureFixture[str]) -> None:
    review("export", said=records(0.5, 0.51, 0.52))
    answer(r0="true", r1="FALSE")
    capsys.readouterr()
    assert review("import", "review.csv") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "answers": 2, "empty": 1, "unknown": 0, "twice": 0, "file": said["file"], "new": True,
    }  # fmt: skip
    assert said["file"].startswith("review-2026-11-27-")
    who = {"answered_by": "Jo Doe", "time": "2026-11-27T20:00:00Z"}
    assert labels() == [{"id": "r0", "good": "true"} | who, {"id": "r1", "good": "false"} | who]
    review("status")
    assert json.loads(capsys.readouterr().out) == {
        "asked": 3, "answered": 2, "waiting": 1, "files": [said["file"]],
    }  # fmt: skip


def test_the_same_answers_are_the_same_file(
    review: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    review("export", said=records(0.5, 0.51))
    answer(r0="true")
    review("import", "review.csv")
    before = labels()
    monkeypatch.setenv("AS_OF", "2026-12-24T00:00:00Z")
    head, *lines = Path("review.csv").read_text().splitlines()
    Path("review.csv").write_text("\n".join([head, *reversed(lines)]))
    capsys.readouterr()
    review("import", "review.csv")
    assert json.loads(capsys.readouterr().out)["new"] is False
    assert labels() == before
    answer(r0="true", r1="true")
    review("import", "review.csv")
    assert len(list(Path("labels").glob("review-*.csv"))) == 2


def test_what_nobody_asked_and_what_is_said_twice_is_counted(
    review: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    review("export", said=records(0.5, 0.51))
    Path("a.csv").write_text("answer;id\ntrue;r0\ntrue;r0\ntrue;r9\n;r1\n")
    capsys.readouterr()
    review("import", "a.csv")
    said = json.loads(capsys.readouterr().out)
    assert (said["answers"], said["twice"], said["unknown"], said["empty"]) == (1, 1, 1, 1)
    assert [row["id"] for row in labels()] == ["r0"]


WRONG: dict[str, tuple[bytes, str]] = {
    "class": (
        b"id,answer\nr0,maybe\n",
        r"line 2 has an answer that is no class of schema.yaml \(fa",
    ),
    "torn": (b"id,answer\nr0,true\nr0,false\n", "line 3 answers a row otherwise"),
    "columns": (b"id,label\nr0,true\n", "has no columns id and answer"),
    "empty": (b"", "has no columns id and answer"),
    "binary": (b"\xff\xfe\x00", "is not UTF-8 text"),
    "large": (b"id,answer\n" + b"r0,\n" * 3_000_000, "larger than"),
    "many": (b"id,answer\n" + b"r0,\n" * 200_000, "more than 100,000 rows"),
    "field": (b"id,answer\nr0," + b"x" * 200_000 + b"\n", "is no CSV file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_answers_are_refused_and_no_label_is_made(review: Any, case: str) -> None:
    review("export", said=records(0.5))
    content, words = WRONG[case]
    Path("a.csv").write_bytes(content)
    refused(words, lambda: review("import", "a.csv"))
    assert not list(Path("labels").glob("review-*"))


def test_a_file_that_is_not_there(review: Any) -> None:
    refused("cannot be read", lambda: review("import", "gone.csv"))


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("1.5", "1.5"),
        ("-5", "-5"),
        ("5.01", ""),
        ("nan", ""),
        ("1e999", ""),
        ("many", ""),
        ("", ""),
    ],
)
def test_a_regressions_answer_is_a_number_within_its_range(
    folder: Path, said: str, label: str
) -> None:
    from gatehouse.core.places import Folder
    from gatehouse.labelling.answers import remember, take

    schema, place = schema_of("regression"), Folder("labels")
    remember(place, ["r0"], NOW)
    Path("a.csv").write_text(f"id,answer\nr0,{said}\n")
    if said and not label:
        with stops("answer-wrong", "no number from -5.0 to 5.0"):
            take(Project(), Path("a.csv"), place, schema, NOW)
        return
    assert take(Project(), Path("a.csv"), place, schema, NOW)["answers"] == bool(label)
    if label:
        assert labels()[0]["good"] == label


def test_labels_may_lie_behind_a_url(review: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("LABELS_URL", "memory://reviewed/labels")
    review("export", said=records(0.5))
    answer(r0="true")
    review("import", "review.csv")
    assert not Path("labels").exists()
    there = fsspec.filesystem("memory").ls("/reviewed/labels", detail=False)
    assert sum("review-2026-11-27-" in name for name in there) == 1


# --- an issue ------------------------------------------------------------------------------------


@pytest.fixture
def issues(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """GitHub's issues, in memory."""
    from gatehouse.github import review as module

    kept: list[dict[str, Any]] = []

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        assert path.startswith("repos/{owner}/{repo}/issues")
        if method == "GET":
            assert "labels=review" in path
            return 200, [one for one in kept if "review" in one["labels"]]
        if method == "POST":
            number = len(kept) + 1
            kept.append({"labels": [], "number": number, "html_url": f"https://g/{number}"} | body)
            return 201, kept[-1]
        found = kept[int(path.rpartition("/")[2]) - 1]
        found.update(body)
        return 200, found

    monkeypatch.setattr(module, "call", call)
    return kept


def test_an_issue_is_edited_in_place_and_values_are_only_text(
    review: Any, issues: list[dict[str, Any]]
) -> None:
    from gatehouse.github.review import MARK

    issues.append({"number": 1, "labels": [], "body": f"{MARK} a stranger's", "html_url": "x"})
    evil = "```\n@all <img> [x](http://x)"
    review("export", issue=True, said=records(0.5, 0.6, town=[evil, "north"]))
    review("export", issue=True, said=records(0.55))
    assert len(issues) == 2
    assert issues[0]["body"].endswith("a stranger's")
    assert issues[1]["title"] == "Review: predictions that wait for an answer (1)"
    review("export", issue=True, said=records(0.5, 0.6, town=[evil, "north"]))
    inside = issues[1]["body"].partition("```text\n")[2]
    assert inside.count("```") == 1
    assert "town='''" in inside
    assert not Path("review.csv").exists()
    # What stood in it can be answered.
    Path("a.csv").write_text("id,answer\nr1,true\n")
    review("import", "a.csv")
    assert [row["id"] for row in labels()] == ["r1"]


def test_an_issue_lists_fifty_at_most(review: Any, issues: list[dict[str, Any]]) -> None:
    Path("monitor.yaml").write_text("review: {below: 0.7, most: 1000}\n")
    review("export", issue=True, said=records(*[0.5] * 80))
    assert issues[0]["body"].count("id=r") == 50


def test_a_refusal_of_github_is_said(
    review: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github import review as module

    monkeypatch.setattr(module, "call", lambda *_: (404, {"message": "Not Found"}))
    refused("GitHub lists no issues", lambda: review("export", issue=True))
    assert not Path("labels").exists()
