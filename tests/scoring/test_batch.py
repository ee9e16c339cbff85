"""Batch scoring: by the blessed model alone, whole or not at all, and the same thing only once."""

import importlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from brokers import free_port
from projects import small_project
from scored import SQLITE, Score, blessed_models, digest, rows, scorer, settle, table
from serving import CLASSES, write_blessing

import gatehouse
from gatehouse.core.digests import MODEL


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    project = small_project(tmp_path_factory.mktemp("project"))
    return blessed_models(project.path, tmp_path_factory)


@pytest.fixture
def root(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a blessed binary model, and 500 rows to be scored."""
    return settle(models["binary"], tmp_path / "here", monkeypatch)


@pytest.fixture
def score() -> Score:
    return scorer()


def refused(code: int, words: str, work: Callable[[], Any]) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=words) as caught:
        work()
    assert caught.value.exit_code == code


# --- what comes out ----------------------------------------------------------------------------


def end_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses Ctrl-C when two pieces of a run are written."""
    from gatehouse.scoring import answers

    pieces = answers.Answers.pieces

    def half(self: Any, *words: Any) -> Iterator[Any]:
        yield from list(pieces(self, 100))[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(answers.Answers, "pieces", half)


@pytest.mark.parametrize("task", CLASSES)
def test_a_database_holds_what_the_model_says(
    task: str,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    score: Score,
) -> None:
    from gatehouse.serving.skops_model import load

    settle(models[task], tmp_path / "here", monkeypatch)
    assert score(key="house") == 0
    made, raw = table(), rows()
    expected = load(MODEL).predict(raw)
    assert made["key"].tolist() == raw["house"].tolist()
    assert set(made["model_digest"]) == {digest()}
    assert made["run"].nunique() == 1
    if task == "regression":
        assert made["prediction"].tolist() == pytest.approx(expected.tolist())
        return
    labels = [str(c).lower() if isinstance(c, bool) else c for c in CLASSES[task]]
    assert made["prediction"].tolist() == [labels[k] for k in expected.argmax(axis=1)]
    found = made[[f"probability {label}" for label in labels]].to_numpy()
    assert np.allclose(found, expected)


def test_a_file_holds_the_rows_too(root: Path, score: Score) -> None:
    assert score(out="out/made.parquet", key="house") == 0
    made = pd.read_parquet("out/made.parquet")
    assert made["house"].tolist() == rows()["house"].tolist()
    assert {"prediction", "probability true", "run", "model_digest", "predicted_at"} <= set(made)
    assert [path.name for path in Path("out").iterdir()] == ["made.parquet"]


def test_a_source_may_have_columns_of_our_names(root: Path, score: Score) -> None:
    rows().assign(prediction="mine", run=7).to_parquet("rows.parquet")
    assert score(out="made.parquet", key="house") == 0
    made = pd.read_parquet("made.parquet")
    assert set(made["prediction"]) == {"mine"}
    assert set(made["run"]) == {7}
    assert set(made["prediction (model)"]) == {False, True}
    assert score(key="house") == 0
    assert set(table()["prediction"]) == {"false", "true"}


@pytest.mark.parametrize("kind", ["csv", "memory", "file"])
def test_sources_of_other_kinds_give_the_same(root: Path, score: Score, kind: str) -> None:
    import fsspec

    assert score(key="house") == 0
    if kind == "csv":
        source = "rows.csv"
        rows().to_csv(source, index=False)
    elif kind == "file":
        source = f"file://{root}/rows.parquet"
    else:
        source = "memory://bucket/rows.parquet"
        with fsspec.open(source, "wb") as there:
            there.write(Path("rows.parquet").read_bytes())
    assert score(source, "sqlite:///other.db", key="house") == 0
    same = ["key", "prediction", "probability true"]
    pd.testing.assert_frame_equal(table()[same], table("other.db")[same])


def test_a_database_as_a_source_has_types_of_its_own(root: Path, score: Score) -> None:
    assert score(key="house") == 0
    with closing(sqlite3.connect("shop.db")) as shop:
        rows().to_sql("houses", shop, index=False)  # booleans as 0 and 1, moments as text
    assert score("sqlite:///shop.db#houses", "sqlite:///a.db", key="house") == 0
    query = "SELECT * FROM houses WHERE house LIKE 'h1%'"
    assert score(f"sqlite:///shop.db#{query}", "sqlite:///b.db", key="house") == 0
    same = ["key", "prediction", "probability true"]
    pd.testing.assert_frame_equal(table()[same], table("a.db")[same])
    some = table()[table()["key"].str.startswith("h1")].reset_index(drop=True)
    pd.testing.assert_frame_equal(some[same], table("b.db")[same])


def test_a_url_may_be_written_to(root: Path, score: Score) -> None:
    import fsspec

    assert score(out="memory://bucket/made.parquet", key="house") == 0
    with fsspec.open("memory://bucket/made.parquet") as made:
        assert len(pd.read_parquet(made)) == 500


# --- once, and again ---------------------------------------------------------------------------


@pytest.mark.parametrize("out", [SQLITE, "made.parquet"])
def test_the_same_again_does_nothing(
    root: Path, score: Score, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / out.removeprefix("sqlite:///")
    assert score(out=out, key="house") == 0
    before, made = file.stat().st_mtime_ns, capsys.readouterr().out
    assert made.startswith("500 predictions by sha256:")
    assert score(out=out, key="house") == 0
    said = capsys.readouterr().out
    assert "holds this already: 500 predictions" in said
    assert file.stat().st_mtime_ns == before
    assert score(out=out, key="house", force=True) == 0
    assert file.stat().st_mtime_ns > before


def test_a_key_that_is_scored_again_gives_up_its_row(root: Path, score: Score) -> None:
    assert score(key="house") == 0
    old = table()
    changed = rows().iloc[400:].assign(**{"size €": 3.5})
    more = rows(50, seed=9).assign(house=[f"new{k}" for k in range(50)])
    pd.concat([changed, more]).to_parquet("next.parquet")
    assert score("next.parquet", key="house") == 0
    new = table()
    assert len(new) == 550
    assert new["key"].is_unique
    kept = new[new["run"] == old["run"][0]]
    assert kept["key"].tolist() == [f"h{k}" for k in range(400)]
    # What was scored first is not all there any more, so it is scored again.
    assert score(key="house") == 0
    assert (table()["run"] == old["run"][0]).sum() == 500
    assert len(table(name="predictions_runs")) == 2


def test_without_a_key_rows_are_called_by_run_and_position(root: Path, score: Score) -> None:
    assert score() == 0
    made = table()
    assert made["key"].tolist() == [f"batch-{made['run'][0]}-{k}" for k in range(500)]


def test_id_column_is_the_key_where_none_is_named(root: Path, score: Score) -> None:
    schema = yaml.safe_load(Path("schema.yaml").read_text())
    schema["id_column"] = "house"
    schema["columns"]["house"] = {"type": "string", "role": "id"}
    Path("schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    assert score() == 0
    assert table()["key"][3] == "h3"


# --- the log -----------------------------------------------------------------------------------


def test_the_log_has_every_prediction_and_nothing_personal(
    root: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.scoring import answers

    monkeypatch.setattr(answers.Answers.pieces, "__defaults__", (200,))
    schema = yaml.safe_load(Path("schema.yaml").read_text())
    schema["columns"]["town"]["pii"] = True
    schema["columns"]["rooms"]["log"] = "hash"
    Path("schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    assert score(key="house", log="kept/log") == 0
    [file] = Path("kept/log").rglob("*.jsonl")
    assert file.parent.name == time.strftime("%Y-%m-%d", time.gmtime())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [len(line["ids"]) for line in lines] == [200, 200, 100]
    assert [one for line in lines for one in line["ids"]] == rows()["house"].tolist()
    line = lines[0]
    assert set(line) == {
        "id", "ids", "time", "seconds", "schema", "model", "request", "answer", "unusual",
    }  # fmt: skip
    assert set(line["request"]["columns"]) == {"size €", "lift", "built"}
    assert line["request"]["columns"]["size €"] == rows()["size €"].tolist()[:200]
    built = [None if pd.isna(v) else f"{v.isoformat()}.000000" for v in rows()["built"]]
    assert line["request"]["columns"]["built"] == built[:200]
    assert line["model"] == line["answer"]["model_digest"] == digest()
    assert set(line["answer"]["prediction"]) == {False, True}
    made = table()
    said = [p for line in lines for p in line["answer"]["probabilities"]["true"]]
    assert said == made["probability true"].tolist()


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.gate("batch", "the model that scores is the blessed one", "closed")
@pytest.mark.parametrize("what", ["no", "other"])
def test_only_the_blessed_model_scores(root: Path, score: Score, what: str) -> None:
    if what == "no":
        write_blessing(root, blessed=False)
    else:
        write_blessing(root, model_digest="sha256:" + 64 * "0")
    refused(1, "is not blessed", score)
    assert not Path("made.db").exists()


@pytest.mark.gate("batch", "the model that scores is the blessed one", "open")
def test_the_blessed_model_scores(root: Path, score: Score) -> None:
    assert score() == 0


def test_a_model_that_changes_meanwhile_leaves_nothing(
    root: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.scoring import batch

    here = batch._predict

    def meanwhile(*words: Any) -> None:
        path = Path("model/model.json")
        path.write_text(path.read_text() + "\n")
        here(*words)

    monkeypatch.setattr(batch, "_predict", meanwhile)
    refused(1, "the model changed while it predicted", score)
    assert not Path("made.db").exists()


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "missing": (lambda t: t.drop(columns="town"), "lacks the columns 'town'"),
    "type": (lambda t: t.assign(rooms="many"), "column 'rooms' has values that are no integer"),
    "no rows": (lambda t: t[:0], "has no rows"),
}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_the_old_predictions_stand(
    root: Path, score: Score, case: str, kind: str
) -> None:
    assert score(key="house") == 0
    before, file = table(), f"bad.{kind}"
    change, words = BAD[case]
    bad = change(rows())
    bad.to_parquet(file) if kind == "parquet" else bad.to_csv(file, index=False)
    refused(2, words, lambda: score(file, key="house"))
    pd.testing.assert_frame_equal(table(), before)


def test_a_fault_in_a_late_row_leaves_nothing(
    root: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.data import tables

    text = rows(5_000).to_csv(index=False).splitlines()
    text[4_500] = text[4_500].replace(",north,", ",south,").replace("h4499,", "h4499,x")
    Path("bad.csv").write_text("\n".join(text))
    monkeypatch.setattr(tables, "CHUNK_BYTES", 20_000)
    words = "bad.csv: column 'size €' has values that are no number"
    refused(2, words, lambda: score("bad.csv", "made.parquet", key="house"))
    assert not Path("made.parquet").exists()


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("gone.csv", 2, "gone.csv is not there"),
        ("model", 2, "model is no file"),
        ("memory://gone.csv", 2, "not there"),
        ("memory://rows.xlsx", 2, "ends in none of .csv"),
        ("nonsense://a/rows.csv", 2, "cannot be read"),
        ("sqlite:///gone.db#t", 2, "gone.db is not there"),
        ("sqlite:///rows.parquet#t", 2, "file is not a database"),
        ("sqlite://#t", 2, "must be a file"),
    ],
)
def test_a_source_that_is_none_is_named(
    root: Path, score: Score, source: str, code: int, words: str
) -> None:
    refused(code, words, lambda: score(source))


def test_a_damaged_source_is_refused(root: Path, score: Score) -> None:
    whole = Path("rows.parquet").read_bytes()
    Path("rows.parquet").write_bytes(whole[: len(whole) // 2])
    refused(2, "rows.parquet is no readable Parquet file", score)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(house="same"), "499 values of 'house' stand more than once"),
        (lambda t: t.assign(house=[None, *t["house"][1:]]), "'house' is missing in some rows"),
        (lambda t: t.assign(house=t["house"] * 100), "over 200 characters"),
        (lambda t: t.drop(columns="house"), "no column 'house'"),
    ],
)
def test_a_key_names_each_row_once(root: Path, score: Score, change: Any, words: str) -> None:
    change(rows()).to_parquet("rows.parquet")
    refused(2, words, lambda: score(key="house"))
    assert not Path("made.db").exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("made.xlsx", "neither a .parquet file nor a database"),
        ("sqlite://", "must be a file"),
        ("oracle://u:secret@h/d", "needs a driver that is not here"),
    ],
)
def test_a_place_that_is_none_is_named(root: Path, score: Score, out: str, words: str) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=words) as caught:
        score(out=out)
    assert "secret" not in str(caught.value)


def test_a_table_of_another_shape_is_left_alone(root: Path, score: Score) -> None:
    with closing(sqlite3.connect("made.db")) as database, database:
        database.execute("CREATE TABLE predictions (key TEXT, mine TEXT)")
        database.execute("CREATE TABLE predictions_runs (run TEXT)")
    refused(2, "the table 'predictions' has other columns", score)
    assert score(table="others") == 0
    assert len(table(name="others")) == 500


def test_who_writes_meanwhile_is_not_lost(
    root: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.scoring import answers

    assert score(key="house") == 0
    pieces = answers.Answers.pieces

    def meanwhile(self: Any, *words: Any) -> Iterator[Any]:
        with closing(sqlite3.connect("made.db")) as other, other:
            other.execute("CREATE TABLE IF NOT EXISTS theirs (x TEXT)")
        yield from pieces(self, *words)

    monkeypatch.setattr(answers.Answers, "pieces", meanwhile)
    refused(3, "somebody else wrote", lambda: score(key="house", force=True, log=None))
    assert table(name="theirs").empty
    assert not list(root.glob(".made.db.*"))


def test_what_fails_half_way_leaves_the_old_rows(
    root: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert score(key="house") == 0
    before = table()
    rows(500, seed=5).to_parquet("next.parquet")
    end_half_way(monkeypatch)
    for out in (SQLITE, "made.parquet"):
        with pytest.raises(KeyboardInterrupt):
            score("next.parquet", out, key="house", log=None)
    pd.testing.assert_frame_equal(table(), before)
    assert not Path("made.parquet").exists()
    assert not list(root.glob(".made*"))


# --- as a command --------------------------------------------------------------------------------


@pytest.fixture
def command(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen[str]]:
    """``gatehouse batch`` as a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(gatehouse.__file__).parents[1]))

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gatehouse.cli", "batch", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    return start


@pytest.mark.slow
def test_the_command_says_what_it_did(root: Path, command: Any) -> None:
    out, said = command().communicate()
    assert "no table is named: `gatehouse batch --source FILE`" in said
    process = command("--source", "rows.parquet", "--key", "house", "--out", SQLITE, "--json")
    out, said = process.communicate()
    assert process.returncode == 0, said
    told = json.loads(out)
    assert told["rows"] == 500
    assert told["out"] == SQLITE
    assert "predict: 500 predictions by sha256:" in said
    assert "/tmp/batch-" not in said
    assert len(list(Path("log").rglob("*.jsonl"))) == 1
    process = command("--source", "rows.csv")
    Path("rows.csv").write_text("a,b\n1,2\n")
    out, said = process.communicate()
    assert process.returncode == 2
    assert "rows.csv lacks the columns 'size €'" in said


@pytest.mark.slow
def test_killed_half_way_the_old_table_stands(root: Path, command: Any) -> None:
    assert command("--source", "rows.parquet", "--key", "house", "--out", SQLITE).wait() == 0
    before = table()
    rows(400_000, seed=3).to_parquet("many.parquet")
    process = command("--source", "many.parquet", "--key", "house", "--out", SQLITE)
    for line in process.stderr:
        if "rows written" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    pd.testing.assert_frame_equal(table(), before)


@pytest.mark.slow
@pytest.mark.parametrize("out", [SQLITE, "made.parquet"])
def test_a_million_rows_in_bounded_time_and_memory(root: Path, command: Any, out: str) -> None:
    import resource

    some = rows(100_000, seed=4)
    many = pd.concat([some] * 10, ignore_index=True)
    many["house"] = np.arange(len(many))
    many.to_parquet("many.parquet")
    start = time.monotonic()
    process = command("--source", "many.parquet", "--key", "house", "--out", out)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert time.monotonic() - start < 300  # a busy machine; ~20 s on two cores of one's own
    # The largest of all that this process ever waited for; the table alone takes 1 GB in pandas.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1_200_000


# --- PostgreSQL ----------------------------------------------------------------------------------


def lacking(reason: str) -> None:
    """Skip; fail in CI on Linux, where it must be."""
    if os.environ.get("CI") == "true" and sys.platform == "linux":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one's own; its URL."""
    try:
        importlib.import_module("psycopg")
    except ImportError:
        lacking("psycopg is not installed: make .venv/.ready")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) + [
        Path(found).parent for found in [shutil.which("pg_ctl")] if found
    ]
    if not programs:
        lacking("PostgreSQL is not installed: apt-get install postgresql")
    # Its socket's path may not be long.
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    as_whom = []
    if os.geteuid() == 0:  # as root it refuses to start
        shutil.chown(folder, "postgres")
        as_whom = ["setpriv", "--reuid=postgres", "--clear-groups", "--"]
    port = free_port()
    setup = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    data, control = folder / "data", [*as_whom, str(programs[-1] / "pg_ctl")]

    def run(*words: str) -> None:
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run(*as_whom, str(programs[-1] / "initdb"), "-D", str(data), "-A", "trust", "-U", "jo")
    run(*control, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", setup, "start")
    yield f"postgresql+psycopg://jo:secret@127.0.0.1:{port}/postgres"
    run(*control, "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(folder)


def query(url: str, text: str) -> list[Any]:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        result = connection.exec_driver_sql(text)
        found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def test_postgresql_holds_the_same_as_sqlite(
    root: Path, score: Score, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(key="house") == 0
    assert score(out=postgres, key="house", table="scored") == 0
    assert "secret" not in capsys.readouterr().out
    listed = 'SELECT key, prediction, "probability true" FROM scored ORDER BY key'
    expected = table()[["key", "prediction", "probability true"]].sort_values("key")
    assert query(postgres, listed) == [tuple(row) for row in expected.to_numpy().tolist()]
    assert score(out=postgres, key="house", table="scored") == 0
    assert "holds this already" in capsys.readouterr().out
    rows(600, seed=7).to_parquet("next.parquet")
    assert score("next.parquet", out=postgres, key="house", table="scored") == 0
    assert query(postgres, "SELECT count(*), count(DISTINCT run) FROM scored") == [(600, 1)]


def test_postgresql_keeps_the_old_rows_of_what_fails(
    root: Path, score: Score, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert score(out=postgres, key="house", table="kept") == 0
    before = query(postgres, "SELECT * FROM kept ORDER BY key")
    rows(500, seed=5).to_parquet("next.parquet")
    end_half_way(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        score("next.parquet", out=postgres, key="house", table="kept", log=None)
    assert query(postgres, "SELECT * FROM kept ORDER BY key") == before


def test_postgresql_is_a_source(root: Path, score: Score, postgres: str) -> None:
    import sqlalchemy as sa

    assert score(key="house") == 0
    engine = sa.create_engine(postgres)
    rows().to_sql("houses", engine, index=False)
    engine.dispose()
    assert score(f"{postgres}#houses", "sqlite:///a.db", key="house") == 0
    same = ["key", "prediction", "probability true"]
    pd.testing.assert_frame_equal(table()[same], table("a.db")[same])


def test_a_server_that_is_down_is_infrastructure(root: Path, score: Score) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql+psycopg://jo:secret@127.0.0.1:{free_port()}/postgres"
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop) as caught:
        score(out=url)
    assert caught.value.exit_code == 3
    assert "secret" not in str(caught.value)
