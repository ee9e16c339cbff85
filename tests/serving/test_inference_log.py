"""The inference log: what the service writes, ships and forgets, and what is read back of it."""

import errno
import fcntl
import importlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import small_project
from serving import CLASSES, COLUMNS, ROW, Client, bless, frame, schema_of

from gatehouse.core.project import Project

KEY = "a secret of the tests"
ARROW = "application/vnd.apache.arrow.stream"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
Make = Callable[..., Client]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def blessed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A blessed model of each task, to be read."""
    return {task: bless(tmp_path_factory.mktemp(task), task) for task in CLASSES}


@pytest.fixture
def service(blessed: dict[str, Path], tmp_path: Path) -> Iterator[Make]:
    """An application that writes below ``tmp_path/log``, with these settings."""
    made: list[Client] = []

    def make(task: str = "binary", root: Path | None = None, **settings: Any) -> Client:
        from gatehouse.serving import predictor
        from gatehouse.serving.app import App
        from gatehouse.serving.settings import read_settings

        given = {f"SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
        given.setdefault("SERVICE_LOG_FOLDER", str(tmp_path / "log"))
        model = predictor.load(root or blessed[task])
        made.append(Client(App(model, read_settings(given), 0.0)))
        return made[-1]

    yield make
    for client in made:
        client.app.close()


@pytest.fixture
def log() -> ModuleType:
    return importlib.import_module("gatehouse.serving.log")


@pytest.fixture
def store() -> ModuleType:
    return importlib.import_module("gatehouse.serving.log_store")


@pytest.fixture
def records() -> ModuleType:
    return importlib.import_module("gatehouse.monitoring.records")


def lines(folder: Path) -> list[Any]:
    """All lines below a folder, in the order of the files' names."""
    paths = sorted(folder.glob("????-??-??/*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def number(client: Client, name: str) -> float:
    """One line of ``/metrics``."""
    text = client.get("/metrics").body.decode()
    [found] = [line for line in text.splitlines() if line.startswith(name)]
    return float(found.rsplit(" ", 1)[1])


def until(true: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


# --- what is written -------------------------------------------------------------------------


def test_without_a_folder_there_is_no_log(service: Make, tmp_path: Path) -> None:
    client = service(log_folder="")
    assert client.post("/predict", ROW).status == 200
    assert "service_log" not in client.get("/metrics").body.decode()
    client.app.close()
    assert list(tmp_path.iterdir()) == []


def test_a_line_holds_request_and_answer_as_they_were(
    service: Make, blessed: dict[str, Path], tmp_path: Path, records: ModuleType
) -> None:
    client = service()
    before = datetime.now(UTC)
    answer = client.post("/predict", ROW, x_request_id="mine")
    client.post("/predict", {**ROW, "rooms": 99, "town": "Atlantis"})
    client.app.close()
    first, second = lines(tmp_path / "log")
    assert list(first) == [
        *("id", "time", "seconds", "schema", "model", "request", "answer", "unusual")
    ]
    assert (first["id"], first["request"], first["answer"]) == ("mine", ROW, answer.json())
    assert first["unusual"] == []
    assert first["schema"] == records.schema_version(blessed["binary"] / "schema.yaml")
    assert first["model"] == answer.json()["model_digest"]
    assert 0 < first["seconds"] < 5
    said = datetime.fromisoformat(first["time"])
    assert abs((said - before).total_seconds()) < 2
    assert sorted(second["unusual"]) == ["rooms", "town"]


def test_a_body_in_many_lines_is_one_line(service: Make, tmp_path: Path) -> None:
    client = service()
    row = {**ROW, "town": 'a "quoted"\nline\r\n\t\u2028 and é \\'}
    body = json.dumps(row, indent=4).replace("\n", "\r\n").encode()
    assert client.post("/predict", body).status == 200
    client.app.close()
    [path] = (tmp_path / "log").glob("*/*.jsonl")
    assert path.read_bytes().count(b"\n") == 1
    assert lines(tmp_path / "log")[0]["request"] == row


@pytest.mark.parametrize("bad", ["a\nb", "a\tb", "a\x00b", "\ud800"])
def test_what_no_line_could_hold_has_no_answer(service: Make, tmp_path: Path, bad: str) -> None:
    client = service()
    raw = json.dumps({**ROW, "town": "X"}).replace("X", bad).encode("utf-8", "surrogatepass")
    assert client.post("/predict", raw).status == 400
    assert client.post("/predict", {**ROW, "rooms": "3"}).status == 422
    assert client.post("/predict", json.dumps(ROW).replace("0.5", "NaN").encode()).status == 422
    client.app.close()
    assert lines(tmp_path / "log") == []


def test_an_explanation_is_not_logged(
    service: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "explainer_of_the_log.py").write_text("def why(row, answer): return row\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    client = service(explain="explainer_of_the_log:why")
    assert "explanation" in client.post("/predict?explain=1", ROW).json()
    client.app.close()
    assert set(lines(tmp_path / "log")[0]["answer"]) == {
        *("prediction", "probabilities", "model_digest")
    }


def test_the_share_of_a_sample_goes_by_the_id(service: Make, tmp_path: Path) -> None:
    client = service(log_sample=0.25)
    for _ in range(2):
        for k in range(400):
            client.post("/predict", ROW, x_request_id=f"id-{k}")
    client.app.close()
    kept = [line["id"] for line in lines(tmp_path / "log")]
    assert 60 <= len(set(kept)) <= 140
    assert len(kept) == 2 * len(set(kept))
    assert number(client, 'service_log_records_total{outcome="sampled_out"}') == 800 - len(kept)
    assert number(client, 'service_log_records_total{outcome="written"}') == len(kept)


def test_a_full_buffer_drops_and_counts(
    service: Make, log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PAUSE", 60)
    monkeypatch.setattr(log, "MOST_RECORDS", 3)
    client = service()
    for _ in range(5):
        assert client.post("/predict", ROW).status == 200
    client.app.close()
    assert len(lines(tmp_path / "log")) == 3
    assert number(client, 'service_log_records_total{outcome="dropped"}') == 2
    monkeypatch.setattr(log, "MOST_BYTES", 1000)
    client = service()
    assert client.post("/predict_batch", {"rows": [ROW] * 50}).status == 200
    assert number(client, 'service_log_records_total{outcome="dropped"}') == 1


def test_a_full_disk_stops_no_answer_and_nothing_is_torn(
    service: Make, log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(log, "PAUSE", 0.01)
    monkeypatch.setattr(log, "RETRY", 0.02)
    room, real = [150], os.write

    def write(handle: int, data: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0], taken = max(0, room[0] - len(data)), min(room[0], len(data))
        return real(handle, data[:taken])

    monkeypatch.setattr(log.os, "write", write)
    client = service()
    for _ in range(5):
        assert client.post("/predict", ROW).status == 200
    time.sleep(0.2)
    assert lines(tmp_path / "log") == []
    room[0] = 10**9
    until(lambda: len(lines(tmp_path / "log")) == 5)
    client.app.close()
    assert len(lines(tmp_path / "log")) == 5
    said = capsys.readouterr().err
    assert said.count("the inference log cannot be written (No space left on device)") == 1
    assert said.count("the inference log is written again") == 1


def test_a_record_that_cannot_be_a_line_takes_no_other_with_it(
    service: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service()
    form = client.app._log._lines
    real = form.line
    monkeypatch.setattr(form, "line", lambda *words: real(*words) if words[0] != b"b" else 1 / 0)
    for name in "abc":
        client.post("/predict", ROW, x_request_id=name)
    client.app.close()
    assert [line["id"] for line in lines(tmp_path / "log")] == ["a", "c"]
    assert number(client, 'service_log_records_total{outcome="dropped"}') == 1


def test_a_new_file_by_size_age_and_day(
    service: Make, log: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PAUSE", 0.01), ("FILE_BYTES", 2000)):
        monkeypatch.setattr(log, name, value)
    client = service()

    def written(count: int) -> None:
        client.post("/predict", ROW)
        until(lambda: len(lines(tmp_path / "log")) == count)
        time.sleep(0.05)

    for k in range(1, 7):
        written(k)
    paths = sorted((tmp_path / "log").glob("*/*.jsonl"))
    assert len(paths) > 1
    assert max(path.stat().st_size for path in paths) < 3000
    monkeypatch.setattr(log, "FILE_SECONDS", 0.0)
    written(7)
    written(8)
    assert len(list((tmp_path / "log").glob("*/*.jsonl"))) >= len(paths) + 1
    monkeypatch.setattr(log, "FILE_SECONDS", 300.0)
    monkeypatch.setattr(log, "_today", lambda: "2031-01-02")
    written(9)
    assert len(list((tmp_path / "log/2031-01-02").glob("*.jsonl"))) == 1


def test_a_folder_that_cannot_be_written_ends_the_start(service: Make, tmp_path: Path) -> None:
    from gatehouse.core.errors import InputError

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"SERVICE_LOG_FOLDER: .*file/log cannot be written"):
        service(log_folder=tmp_path / "file/log")
    with pytest.raises(InputError, match="log_url needs log_folder"):
        service(log_folder="", log_url="memory://log")
    with pytest.raises(InputError, match="SERVICE_LOG_SAMPLE"):
        service(log_sample=1.5)
    with pytest.raises(InputError, match="SERVICE_LOG_URL cannot be used"):
        service(log_url="nowhere://log")


# --- personal columns ------------------------------------------------------------------------


@pytest.fixture
def personal(
    tmp_path: Path,
) -> Path:
    """A model whose columns are dropped, hashed, and kept although they are personal."""
    (tmp_path / "personal").mkdir()
    root = bless(tmp_path / "personal", "binary")
    about = schema_of("binary")
    about["columns"] = {name: dict(column) for name, column in about["columns"].items()}
    about["columns"]["town"] |= {"pii": True}
    about["columns"]["size €"] |= {"log": "hash"}
    about["columns"]["built"] |= {"pii": True, "log": "hash"}
    about["columns"]["lift"] |= {"pii": True, "log": "keep"}
    (root / "schema.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
    return root


def test_personal_columns_are_dropped_or_hashed_in_every_form(
    service: Make, personal: Path, tmp_path: Path, records: ModuleType
) -> None:
    client = service(root=personal, log_key=KEY)
    client.post("/predict", ROW)
    client.post("/predict_batch", {"rows": [ROW, {**ROW, "size €": 1, "built": None}]})
    client.post("/predict_batch", {"columns": {name: [value] for name, value in ROW.items()}})
    client.post("/predict_batch", arrow_of([ROW]), content_type=ARROW)
    client.app.close()
    text = "".join(path.read_text() for path in (tmp_path / "log").glob("*/*"))
    assert "north" not in text and "2001-05-06" not in text
    one, rows, columns, arrow = (line["request"] for line in lines(tmp_path / "log"))
    assert set(one) == {"size €", "rooms", "lift", "built"}
    assert (one["lift"], one["rooms"], len(one["size €"])) == (True, 3, 16)
    assert rows["rows"][0] == one
    assert (rows["rows"][1]["built"], len(rows["rows"][1]["size €"])) == (None, 16)
    for form in (columns, arrow):
        assert {name: values[0] for name, values in form["columns"].items()} == one
    schema = yaml.safe_load((personal / "schema.yaml").read_text())
    read = records.read(Project(),
        str(tmp_path / "log"), datetime.now(UTC) - timedelta(hours=1),
        datetime.now(UTC) + timedelta(seconds=5), schema, version=lines(tmp_path / "log")[0]["schema"],
    )  # fmt: skip
    assert read.counts == dict.fromkeys(records.COUNTS, 0)
    assert read.table["town"].null_count == read.table.num_rows == 5
    assert read.table["size €"].to_pylist().count(one["size €"]) == 4


def test_a_hash_depends_on_the_key_and_the_column(
    service: Make, personal: Path, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    keys: list[dict[str, Any]]
    keys = [{"log_key": KEY}, {"log_key_file": tmp_path / "key"}, {"log_key": KEY * 2}]
    for k, given in enumerate(keys):
        client = service(root=personal, log_folder=tmp_path / str(k), **given)
        client.post("/predict", ROW)
        client.app.close()
    first, same, other = (lines(tmp_path / str(k))[0]["request"]["built"] for k in range(3))
    assert first == same != other


def test_hashing_without_a_key_ends_the_start(service: Make, personal: Path) -> None:
    from gatehouse.core.errors import InputError

    for given in ({}, {"log_key": "short"}):
        with pytest.raises(InputError, match=r"hashed in the log .* set SERVICE_LOG_KEY"):
            service(root=personal, **given)
    assert service(root=personal, log_folder="").post("/predict", ROW).status == 200


def arrow_of(rows: list[dict[str, Any]]) -> bytes:
    table = pa.table({name: [row.get(name) for row in rows] for name in ROW})
    at = table.column_names.index("built")
    times = [row.get("built") and datetime.fromisoformat(row["built"]) for row in rows]
    table = table.set_column(at, "built", pa.array(times, pa.timestamp("us")))
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return bytes(out.getvalue().to_pybytes())


# --- where files go --------------------------------------------------------------------------


@pytest.fixture
def busy(log: ModuleType, store: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once instead of by the minute."""
    for module, name, value in (
        (log, "PAUSE", 0.01), (log, "FILE_BYTES", 1), (store, "LOOK", 0.02),
        (store, "RETRY", 0.05), (store, "SCAN", 0.05),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.usefixtures("busy")
def test_closed_files_are_shipped_whole(service: Make, tmp_path: Path, kind: str) -> None:
    import fsspec

    url = f"file://{tmp_path}/far" if kind == "file" else "memory://far"
    client = service(log_url=url)
    for _ in range(3):
        client.post("/predict", ROW)
        time.sleep(0.05)
    client.app.close()
    system, root = fsspec.url_to_fs(url)
    here = {path.name: path.read_bytes() for path in (tmp_path / "log").glob("*/*.jsonl")}
    far = {name.rsplit("/", 1)[1]: system.cat_file(name) for name in system.find(root)}
    assert far == here
    assert sum(data.count(b"\n") for data in far.values()) == 3
    assert number(client, 'service_log_files_total{outcome="shipped"}') == len(far)
    assert number(client, "service_log_ship_age_seconds") < 5
    system.rm(root, recursive=True)


@pytest.mark.usefixtures("busy")
def test_a_store_that_is_away_is_asked_again(
    service: Make, store: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    real, away = store.Store._upload, [3]

    def upload(self: Any, path: Path) -> None:
        if away[0]:
            away[0] -= 1
            raise ConnectionError("gone")
        real(self, path)

    monkeypatch.setattr(store.Store, "_upload", upload)
    client = service(log_url=f"file://{tmp_path}/far")
    client.post("/predict", ROW)
    until(lambda: lines(tmp_path / "far"))
    assert number(client, 'service_log_files_total{outcome="failed"}') == 3
    said = capsys.readouterr().err
    assert said.count("cannot be shipped (ConnectionError)") == 1
    until(lambda: "shipped again" in said + capsys.readouterr().err)


@pytest.mark.usefixtures("busy")
def test_files_of_the_dead_are_shipped_and_those_of_the_living_are_not(
    service: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "log/2026-01-02"
    folder.mkdir(parents=True)
    (folder / "010203-other-7-1.jsonl").write_text('{"a": 1}\n{"torn')
    with (folder / "010203-other-8-1.jsonl").open("w") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        service(log_url=f"file://{tmp_path}/far", log_keep_days=10_000)
        until(lambda: list((tmp_path / "far").glob("*/*.jsonl")))
        time.sleep(0.2)
        assert [p.name for p in (tmp_path / "far").glob("*/*")] == ["010203-other-7-1.jsonl"]
    until(lambda: len(list((tmp_path / "far").glob("*/*"))) == 2)


@pytest.mark.usefixtures("busy")
def test_old_files_are_removed_once_they_are_shipped(
    service: Make, store: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(name: str) -> Path:
        path = tmp_path / f"log/2026-01-02/{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        os.utime(path, (0, time.time() - 5 * 86_400))
        return path

    path = old("without-address")
    first = service(log_keep_days=3)
    until(lambda: not path.parent.exists())
    first.app.close()
    monkeypatch.setattr(store.Store, "_upload", lambda *_: 1 / 0)
    path = old("not-shipped")
    first = service(log_keep_days=3, log_url="memory://x")
    until(lambda: number(first, 'service_log_files_total{outcome="failed"}'))
    first.app.close()
    assert path.exists()
    monkeypatch.setattr(store.Store, "_upload", lambda *_: None)
    service(log_keep_days=3, log_url="memory://x")
    until(lambda: not path.parent.exists())


@pytest.mark.usefixtures("busy")
def test_the_folder_is_bounded_and_what_was_shipped_goes_first(
    service: Make, store: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.Store, "_upload", lambda *_: 1 / 0)
    folder = tmp_path / "log/2026-01-02"
    folder.mkdir(parents=True)
    for k in range(6):
        (folder / f"{k}.jsonl").write_bytes(b"x" * 400_000)
        os.utime(folder / f"{k}.jsonl", (0, time.time() - 1000 + k))
    for k in (3, 4):
        (folder / f".{k}.jsonl.shipped").touch()
    client = service(log_max_bytes=2**20, log_url="memory://x")
    until(lambda: len(list(folder.glob("*.jsonl"))) == 2)
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["2.jsonl", "5.jsonl"]
    assert number(client, 'service_log_files_total{outcome="removed"}') == 2


# --- what is read back -----------------------------------------------------------------------


@pytest.mark.parametrize("task", CLASSES)
def test_every_form_comes_back_as_records(
    service: Make, records: ModuleType, blessed: dict[str, Path], tmp_path: Path, task: str
) -> None:
    client = service(task)
    rows = [plain(row) for row in frame(40, seed=2).to_dict("records")]
    for k, row in enumerate(rows[:10]):
        given = {name: value for name, value in row.items() if value is not None}
        client.post("/predict", given, x_request_id=f"one{k}")
    client.post("/predict_batch", {"rows": rows[10:20]}, x_request_id="rows")
    columns = {name: [row[name] for row in rows[20:30]] for name in ROW}
    client.post("/predict_batch", {"columns": columns}, x_request_id="columns")
    without = {name: values for name, values in columns.items() if name != "lift"}
    client.post("/predict_batch", {"columns": without}, x_request_id="without")
    client.post("/predict_batch", arrow_of(rows[30:]), x_request_id="arrow", content_type=ARROW)
    client.app.close()
    version = records.schema_version(blessed[task] / "schema.yaml")
    now = datetime.now(UTC)
    read = records.read(
        Project(),
        str(tmp_path / "log"),
        now - timedelta(minutes=5),
        now,
        schema_of(task),
        version=version,
    )
    assert read.counts == dict.fromkeys(records.COUNTS, 0)
    said = {row["__id"]: row for row in read.table.to_pylist()}
    assert len(said) == 50
    answers = client.post("/predict_batch", {"rows": rows}).json()
    digest = answers[0]["model_digest"]
    names = [f"one{k}" for k in range(10)]
    names += [f"{name}-{k}" for name in ("rows", "columns", "arrow") for k in range(10)]
    for name, row, answer in zip(names, rows, answers, strict=True):
        record = said[name]
        if row["built"] is not None:
            row = {**row, "built": datetime.fromisoformat(row["built"])}
        assert {key: record[key] for key in ROW} == row, name
        assert (record["__model"], record["__schema"]) == (digest, version)
        if task == "regression":
            assert record["__prediction"] == pytest.approx(answer["prediction"])
        else:
            text = str(answer["prediction"])
            assert record["__prediction"] == (text.lower() if task == "binary" else text)
            shares = [record[f"__p_{k}"] for k in range(len(CLASSES[task]))]
            assert shares == pytest.approx(list(answer["probabilities"].values()))
    assert all(said[f"without-{k}"]["lift"] is None for k in range(10))


def plain(row: Any) -> dict[str, Any]:
    """A row as JSON has it."""
    import pandas as pd

    return {
        name: None if pd.isna(value) else value.isoformat() if name == "built" else value
        for name, value in row.items()
    }


def line(name: str = "a", when: datetime = NOW, **changed: Any) -> bytes:
    """One line, as the service writes it."""
    said = {
        "id": name,
        "time": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "seconds": 0.001,
        "schema": "01234567",
        "model": "sha256:abc",
        "request": ROW,
        "answer": {"prediction": True, "probabilities": {"false": 0.25, "true": 0.75}},
        "unusual": [],
    }
    return json.dumps(said | changed, separators=(",", ":")).encode()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of lines of a day."""

    def make(
        *content: bytes, day: datetime = NOW, name: str = "120000-h-1-1", end: bytes = b"\n"
    ) -> Path:
        path = tmp_path / "log" / day.date().isoformat() / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(content) + end)
        return path

    return make


def look(records: ModuleType, tmp_path: Path, task: str = "binary", **more: Any) -> Any:
    """The records of the hour around NOW, as ids, and what was counted."""
    given = {
        "since": NOW - timedelta(hours=1),
        "until": NOW + timedelta(hours=1),
        "now": NOW,
    } | more
    schema = given.pop("schema", schema_of(task))
    read = records.read(
        Project(), str(tmp_path / "log"), schema=schema, version="01234567", **given
    )
    return read, {name: count for name, count in read.counts.items() if count}


def test_without_a_log_there_are_no_records(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    for task in CLASSES:
        read, counts = look(records, tmp_path, task)
        assert (read.table.num_rows, read.files, counts) == (0, 0, {})
    write(line())
    full, _ = look(records, tmp_path)
    assert read.table.schema.names != []
    assert look(records, tmp_path, until=NOW)[0].table.schema == full.table.schema


def test_a_torn_line_is_counted_and_the_rest_stays(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    write(line("a"), line("b"), line("c")[:-20], end=b"")
    read, counts = look(records, tmp_path)
    assert (read.table["__id"].to_pylist(), counts) == (["a", "b"], {"torn": 1})


def test_a_batch_may_name_its_rows(records: ModuleType, tmp_path: Path, write: Write) -> None:
    request = {"columns": {name: [value, value] for name, value in ROW.items()}}
    shares = {"false": [0.25, 0.25], "true": [0.75, 0.75]}
    answer = {"prediction": [True, True], "probabilities": shares}
    both: dict[str, Any] = {"request": request, "answer": answer}
    write(line("a", **both), line("b", **both, ids=["order-7", None]))
    read, counts = look(records, tmp_path)
    assert (read.table["__id"].to_pylist(), counts) == (["a-0", "a-1", "order-7", "b-1"], {})


BAD = {
    "text": b"what is this",
    "nothing": b"",
    "a list": b"[1, 2]",
    "another object": b'{"a": 1}',
    "two in one": line() + line(),
    "not UTF-8": line().replace(b"north", b"\xff\xfe"),
    "NaN": line().replace(b"0.25", b"NaN"),
    "a probability of two": line().replace(b"0.75", b"2"),
    "no time": line(time="yesterday"),
    "a time that is a number": line(time=5),
    "an id that is a number": line(id=5),
    "a long id": line("x" * 500),
    "no request": line(request=None),
    "a request that is a list": line(request=[ROW]),
    "no answer": line(answer=None),
    "a prediction of another type": line(answer={"prediction": [[1]]}),
    "a column of another type": line(request={**ROW, "rooms": "three"}),
    "half a number": line(request={**ROW, "rooms": 2.5}),
    "a number no column can hold": line(request={**ROW, "rooms": 2**70}),
    "another date": line(request={**ROW, "built": "May"}),
    "lists of two lengths": line(
        request={"columns": {name: [value, value] for name, value in ROW.items()}},
        answer={"prediction": [True], "probabilities": {"false": [0.5], "true": [0.5]}},
    ),
    "ids of another number": line(
        request={"columns": {name: [value] for name, value in ROW.items()}},
        answer={"prediction": [True], "probabilities": {"false": [0.5], "true": [0.5]}},
        ids=["one", "two"],
    ),
    "rows without answers": line(request={"rows": [ROW, ROW]}, answer=[]),
    "very deep": b'{"id":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
}


@pytest.mark.parametrize("what", BAD)
def test_a_damaged_line_is_counted_and_its_neighbours_stay(
    records: ModuleType, tmp_path: Path, write: Write, what: str
) -> None:
    write(line("a"), BAD[what], line("b"))
    read, counts = look(records, tmp_path)
    assert (read.table["__id"].to_pylist(), counts) == (["a", "b"], {"damaged": 1})


def test_bytes_changed_at_random_never_raise(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    rng = random.Random(0)
    batch = line(request={"rows": [ROW, ROW]}, answer=[json.loads(line())["answer"]] * 2)
    for _ in range(60):
        content = bytearray(b"\n".join([line(f"i{k}") for k in range(8)] + [batch]))
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        write(bytes(content))
        read, counts = look(records, tmp_path)
        assert read.table.num_rows + sum(counts.values()) > 0


def test_what_json_allows_is_read(records: ModuleType, tmp_path: Path, write: Write) -> None:
    text = line("a").replace(b'"rooms":3', b'"rooms":1,"rooms":4')
    spaced = json.dumps(json.loads(line("b")), indent=1).replace("\n", " ").encode()
    escaped = line("c").replace("size €".encode(), rb"size \u20ac")
    write(text, spaced, escaped, b" " + line("d"))
    read, counts = look(records, tmp_path)
    rows = {row["__id"]: row for row in read.table.to_pylist()}
    assert (rows["a"]["rooms"], rows["b"]["rooms"], rows["c"]["size €"]) == (4, 3, 0.5)
    assert counts.get("damaged", 0) <= 1  # nothing of ours begins with a blank


def test_features_and_classes_may_be_called_as_parts_of_a_line(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    columns = {name: {"type": "number"} for name in ("rows", "columns", "answer")}
    schema = schema_of("multiclass", columns)
    schema["classes"] = ["answer", "prediction"]
    answer = {"prediction": "answer", "probabilities": {"answer": 0.75, "prediction": 0.25}}
    request = {"rows": 1.5, "columns": 2, "answer": 3}
    write(line("a", request=request, answer=answer),
          line("b", request={"rows": [request]}, answer=[answer]))  # fmt: skip
    read, counts = look(records, tmp_path, schema=schema)
    assert counts == {}
    assert [[row[name] for name in columns] for row in read.table.to_pylist()] == [[1.5, 2, 3]] * 2
    assert read.table["__prediction"].to_pylist() == ["answer"] * 2


def test_lines_of_another_schema_are_read_as_far_as_they_go(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    other = {**ROW, "new": {"deep": [1]}, "rooms": "three"}
    del other["town"]
    write(line("a"), line("b", schema="fedcba98", request=other))
    read, counts = look(records, tmp_path)
    assert counts == {"foreign": 1}
    old = read.table.to_pylist()[1]
    assert (old["size €"], old["town"], old["rooms"]) == (0.5, None, None)


def test_the_same_id_counts_once(records: ModuleType, tmp_path: Path, write: Write) -> None:
    later = NOW + timedelta(minutes=3)
    write(line("a", later), line("b"), line("a"), line("c", model="sha256:one"))
    write(line("b"), line("a", later), line("c", model="sha256:two"), name="120100-h-1-2")
    read, counts = look(records, tmp_path)
    found = [(row["__id"], row["__time"].minute) for row in read.table.to_pylist()]
    # Of two models that answered one request, each has its record.
    assert sorted(found) == [("a", 0), ("b", 0), ("c", 0), ("c", 0)]
    assert counts == {"duplicated": 1, "reused": 2}


def test_times_that_cannot_be_are_left_out(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    write(line("a", NOW - timedelta(minutes=20)), line("b", NOW + timedelta(minutes=4)),
          line("c", NOW + timedelta(minutes=30)), line("d", NOW - timedelta(days=3)))  # fmt: skip
    read, counts = look(records, tmp_path, until=NOW + timedelta(minutes=10), now=NOW)
    assert read.table["__id"].to_pylist() == ["a", "b"]
    assert counts == {"skewed": 2, "late": 1}


def test_only_the_window_is_read(
    records: ModuleType, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(-3, 4):
        day = NOW + timedelta(days=k)
        write(line(f"d{k}", day), day=day)
    midnight = datetime(2026, 11, 27, tzinfo=UTC)
    # A record of the last moment of a day may stand in a file of the next.
    write(line("last", midnight - timedelta(milliseconds=1)), day=midnight, name="000000-h-1-9")
    late = NOW + timedelta(days=9)
    read, counts = look(records, tmp_path, since=NOW - timedelta(days=1), until=NOW, now=late)
    assert (sorted(read.table["__id"].to_pylist()), counts) == (["d-1", "last"], {})
    assert read.files == 4  # 26th to 28th, and no more


def test_of_too_many_records_a_fair_share_is_kept(
    records: ModuleType, tmp_path: Path, write: Write
) -> None:
    for part in range(4):
        write(*(line(f"{part}-{k}") for k in range(500)), name=f"12000{part}-h-1-{part}")
    read, counts = look(records, tmp_path, most=700)
    assert 300 <= read.table.num_rows <= 700
    assert counts == {"thinned": 2000 - read.table.num_rows}
    parts = [name[0] for name in read.table["__id"].to_pylist()]
    assert all(parts.count(str(part)) > 50 for part in range(4))


def test_a_line_beyond_all_bounds(
    records: ModuleType, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = importlib.import_module("gatehouse.monitoring.log_files")
    monkeypatch.setattr(files, "PIECE", 1000)
    monkeypatch.setattr(files, "MOST_LINE", 5000)
    write(line("a"), b'{"x":"' + b"y" * 50_000 + b'"}', line("b"))
    read, counts = look(records, tmp_path)
    assert (read.table["__id"].to_pylist(), counts) == (["a", "b"], {"damaged": 1})


def test_a_log_that_is_not_reached_is_no_empty_log(
    records: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    from gatehouse.core.errors import Stop

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with pytest.raises(Stop, match="cannot be read") as stop:
        records.read(
            Project(),
            "memory://log",
            NOW,
            NOW + timedelta(days=1),
            schema_of("binary"),
            version="",
        )
    assert stop.value.exit_code == 3
    with pytest.raises(Stop, match=r"//…@host/x cannot be read|needs a part of fsspec"):
        records.read(
            Project(),
            "nothing://user:secret@host/x",
            NOW,
            NOW,
            schema_of("binary"),
            version="",
        )


# --- truths that arrive later ----------------------------------------------------------------


@pytest.fixture
def labels() -> ModuleType:
    return importlib.import_module("gatehouse.monitoring.labels")


def put(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def truths(joined: Any) -> dict[str, Any]:
    rows = joined.table.to_pylist()
    return {row["__id"]: row["__truth"] for row in rows}


def test_labels_join_by_id(
    records: ModuleType, labels: ModuleType, tmp_path: Path, write: Write
) -> None:
    write(*(line(name) for name in "abcdefg"))
    table, schema = look(records, tmp_path)[0].table, schema_of("binary")
    url = str(tmp_path / "labels")
    assert set(truths(labels.join(table, url, schema)).values()) == {None}
    put(
        tmp_path / "labels",
        "1.csv",
        "good,id,more\ntrue,a,x\nFALSE,b,x\nmaybe,c,x\n,d,x\n1,zzz,x\n",
    )
    put(tmp_path / "labels", "2.csv", "id,good\na,false\n")
    put(
        tmp_path / "labels",
        "3.csv",
        "id,good,time\ne,true,2026-11-02\ne,false,2026-11-01T00:00:00Z\n",
    )
    put(tmp_path / "labels", "4.csv", "id,other\na,true\n")
    put(tmp_path / "labels", "5.csv", '\x00"')
    put(tmp_path / "labels", "6.parquet", "no Parquet")
    put(tmp_path / "labels", "notes.txt", "id,good\na,true\n")
    pq.write_table(pa.table({"id": ["f"], "good": [True]}), tmp_path / "labels/7.parquet")
    joined = labels.join(table, url, schema)
    assert truths(joined) == {
        "a": "false", "b": "false", "c": None, "d": None, "e": "true", "f": "true", "g": None
    }  # fmt: skip
    assert joined.counts == {"labels": 9, "unknown": 1, "classes": 2, "again": 2, "unreadable": 3}
    assert labels.join(table, url, schema).table["__truth"].type == pa.string()


def test_labels_of_a_regression_are_numbers(
    records: ModuleType, labels: ModuleType, tmp_path: Path, write: Write
) -> None:
    write(*(line(name, answer={"prediction": 1.5}) for name in "abc"))
    table, schema = look(records, tmp_path, "regression")[0].table, schema_of("regression")
    put(tmp_path / "labels", "1.csv", "id,good\na,2.5\nb,inf\nc,much\n")
    joined = labels.join(table, str(tmp_path / "labels"), schema)
    assert truths(joined) == {"a": 2.5, "b": None, "c": None}
    assert joined.counts["classes"] == 2


def test_classes_that_are_numbers_and_ids_that_are(
    records: ModuleType, labels: ModuleType, tmp_path: Path, write: Write
) -> None:
    schema = schema_of("multiclass")
    schema["classes"] = [1, 2]
    answer = {"prediction": 2, "probabilities": {"1": 0.25, "2": 0.75}}
    write(line("7", answer=answer), line("8", answer=answer))
    table = look(records, tmp_path, schema=schema)[0].table
    assert table["__prediction"].to_pylist() == ["2", "2"]
    (tmp_path / "labels").mkdir()
    pq.write_table(pa.table({"id": [7, 8], "good": [1.0, None]}), tmp_path / "labels/1.parquet")
    assert truths(labels.join(table, str(tmp_path / "labels"), schema)) == {"7": "1", "8": None}


def test_a_truth_is_that_of_every_model_that_answered(
    records: ModuleType, labels: ModuleType, tmp_path: Path, write: Write
) -> None:
    write(line("a", model="sha256:one"), line("a", model="sha256:two"))
    put(tmp_path / "labels", "1.csv", "id,good\na,true\n")
    table = look(records, tmp_path)[0].table
    joined = labels.join(table, str(tmp_path / "labels/1.csv"), schema_of("binary"))
    assert joined.table["__truth"].to_pylist() == ["true", "true"]


# --- the verb --------------------------------------------------------------------------------


@pytest.fixture
def verb(here: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``gatehouse log`` in a repository with a log."""
    from gatehouse.monitoring.log import log

    (here / "schema.yaml").write_text(yaml.safe_dump(schema_of("binary"), sort_keys=False))
    small_project(here, "monitor.yaml")
    write(line("a", seconds=0.001), line("b", seconds=0.003), b"damaged")
    put(here / "labels", "1.csv", "id,good\na,true\n")
    monkeypatch.setenv("AS_OF", (NOW + timedelta(hours=1)).isoformat())

    usual = {"since": None, "until": None, "days": None, "labelled": False, "out": None}
    return lambda **options: log(Project(), **{**usual, "as_json": False, **options})


def test_the_verb_says_what_the_log_holds(verb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb() == 0
    said = capsys.readouterr().out
    assert "2 records, 2026-11-20T13:00:00Z to 2026-11-27T13:00:00Z" in said
    assert "2026-11-27  sha256:abc" in said and "50.0%" in said
    assert "1 damaged" in said
    assert verb(as_json=True, since="2026-11-27") == 0
    about = json.loads(capsys.readouterr().out)
    [day] = about["days"]
    assert (day["records"], day["p50_ms"], day["labelled"]) == (2, 2.0, 0.5)
    assert about["counts"]["damaged"] == 1
    assert verb(since="2026-10-01", until="2026-10-02") == 0
    assert capsys.readouterr().out.startswith("0 records")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_verb_writes_records(verb: Any, here: Path, suffix: str) -> None:
    import pandas as pd

    assert verb(labelled=True, out=Path(f"out.{suffix}")) == 0
    path = here / f"out.{suffix}"
    found = pd.read_parquet(path) if suffix == "parquet" else pd.read_csv(path)
    assert found["__id"].tolist() == ["a"]
    assert list(COLUMNS) == [name for name in map(str, found) if not name.startswith("__")]
    assert not math.isnan(found["size €"][0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": Path("x.txt")}, "neither .parquet nor .csv"),
        ({"since": "soon"}, "--since is 'soon', no time"),
        ({"days": 0}, "--days must be"),
        ({"days": 3, "since": "2026-11-01"}, "give one of the two"),
        ({"since": "2027-11-01"}, "the window ends before it begins"),
        ({"out": Path("nowhere/x.csv")}, "cannot be written"),
    ],
)
def test_the_verb_refuses(verb: Any, options: dict[str, Any], said: str) -> None:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop, match=said) as end:
        verb(**options)
    assert end.value.exit_code == 2
