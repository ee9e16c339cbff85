"""What can go wrong with data, each with its exit code and sentence; nothing is trained on it."""

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import repositories
import yaml
from projects import rendered
from repositories import flip

from gatehouse.core.project import Project

CONTENT = b"a,b\n" + b"".join(b"%d,%d\n" % (k, k % 7) for k in range(500))
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SOURCE = Path("data/source.csv")
OTHER = CONTENT[::-1]
OTHER_MD5 = hashlib.md5(OTHER, usedforsecurity=False).hexdigest()
LIST = json.dumps([{"md5": OTHER_MD5, "relpath": "part.csv"}]).encode()
LIST_MD5 = hashlib.md5(LIST, usedforsecurity=False).hexdigest()


def store(folder: Path, content: bytes = CONTENT, md5: str = MD5) -> Path:
    """An object as DVC keeps it in a cache or a remote, read-only."""
    path = folder / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


CACHE = Path(".dvc/cache")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A repository as after a clone: the pointer is here, the source is not."""

    def repository(remote: str | None = None) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RETRY_SECONDS", "0.01")
        Path("data").mkdir()
        Path(".dvc").mkdir()
        config = "[core]\n    analytics = false\n    no_scm = true\n"
        if remote:
            config += f"    remote = store\n['remote \"store\"']\n    url = {remote}\n"
        Path(".dvc/config").write_text(config, encoding="utf-8")
        out = {"md5": MD5, "size": len(CONTENT), "hash": "md5", "path": SOURCE.name}
        Path(f"{SOURCE}.dvc").write_text(yaml.safe_dump({"outs": [out]}), encoding="utf-8")
        Path("params.yaml").write_text(f"ingest:\n  source: {SOURCE}\n", encoding="utf-8")
        return tmp_path

    return repository


def fetch() -> int:
    from gatehouse.vcs.source import fetch_source

    return int(fetch_source(Project()))


def refused(code: int, *sentence: str) -> str:
    """The one sentence with which fetching ends; it holds all of ``sentence``."""
    return repositories.refused(fetch, code, *sentence)


# --- fetching -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [CONTENT, b"another table"])
def test_a_source_that_is_here_is_left_alone(
    repository: Callable[..., Path], content: bytes
) -> None:
    repository()
    SOURCE.write_bytes(content)
    assert fetch() == 0
    assert SOURCE.read_bytes() == content


def test_a_source_is_fetched_from_the_remote(repository: Callable[..., Path]) -> None:
    remote = repository("../remote") / "remote"
    store(remote)
    assert fetch() == 0
    assert SOURCE.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [0, 2, 3])
def test_the_project_may_fetch_it_by_itself(repository: Callable[..., Path], code: int) -> None:
    repository()
    Path("data/fetch.py").write_text(f"raise SystemExit({code})", encoding="utf-8")
    assert fetch() == code


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_flipped_byte_in_the_cache_is_named_and_the_next_run_fetches_afresh(
    repository: Callable[..., Path], keep_time: bool
) -> None:
    store(repository("../remote") / "remote")
    cached = store(CACHE)
    found = flip(cached, keep_time=keep_time)
    refused(2, str(SOURCE), found, MD5, "run the same again")
    assert not cached.exists()
    assert not SOURCE.exists()
    assert fetch() == 0
    assert SOURCE.read_bytes() == CONTENT


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_flipped_byte_in_the_remote_is_named_and_nothing_of_it_stays(
    repository: Callable[..., Path], keep_time: bool
) -> None:
    remote = store(repository("../remote") / "remote")
    found = flip(remote, keep_time=keep_time)
    for _ in range(2):
        refused(2, str(SOURCE), found, MD5)
        assert not SOURCE.exists()
        assert not [path for path in CACHE.rglob("*") if path.is_file()]


def test_an_object_never_pushed(repository: Callable[..., Path]) -> None:
    repository("../remote")
    refused(2, str(SOURCE), "data not pushed: run `gatehouse push` (or `dvc push`)")


def test_neither_source_nor_remote(repository: Callable[..., Path]) -> None:
    repository()
    refused(2, str(SOURCE), "put the file in its place", "dvc remote add")


def test_neither_source_nor_pointer(repository: Callable[..., Path]) -> None:
    repository()
    Path(f"{SOURCE}.dvc").unlink()
    refused(2, f"{SOURCE} is neither here nor in a DVC remote: put the file in its place")


def test_a_damaged_pointer(repository: Callable[..., Path]) -> None:
    repository()
    Path(f"{SOURCE}.dvc").write_text("outs: [{md5: 1", encoding="utf-8")
    refused(2, f"{SOURCE}.dvc is damaged: restore it with `git checkout")


@pytest.fixture
def server() -> Iterator[Callable[[int], str]]:
    """A remote over http that answers every request with this status."""
    running = []

    def serve(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Silent."""

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}/store"

    yield serve
    for one in running:
        one.shutdown()
        one.server_close()


def test_a_remote_that_cannot_be_reached(
    repository: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    repository("http://127.0.0.1:9/store")
    refused(3, str(SOURCE), "3 tries failed")
    assert capfd.readouterr().err.count("trying again in") == 2


def test_a_remote_that_answers_with_an_error_is_out_of_order(
    repository: Callable[..., Path], server: Callable[[int], str]
) -> None:
    repository(server(403))
    refused(3, str(SOURCE), "403", "3 tries failed")


def test_a_remote_that_answers_and_does_not_have_it(
    repository: Callable[..., Path], server: Callable[[int], str]
) -> None:
    repository(server(404))
    refused(2, str(SOURCE), "data not pushed: run `gatehouse push` (or `dvc push`)")


def test_a_remote_of_a_kind_that_is_not_installed(repository: Callable[..., Path]) -> None:
    repository("ssh://127.0.0.1:9/store")
    refused(2, "dvc-ssh", "requirements/train.in")


# --- what the pipeline made -----------------------------------------------------------------


def lock(path: str, md5: str) -> None:
    stages = {"ingest": {"cmd": "x", "outs": [{"path": path, "hash": "md5", "md5": md5}]}}
    text = yaml.safe_dump({"schema": "2.0", "stages": stages})
    Path("dvc.lock").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("out", "md5"), [("data/made.csv", OTHER_MD5), ("made", f"{LIST_MD5}.dir")]
)
def test_a_damaged_output_is_refused_and_its_damaged_copies_are_removed(
    repository: Callable[..., Path], out: str, md5: str
) -> None:
    repository()
    SOURCE.write_bytes(CONTENT)
    lock(out, md5)
    cached = store(CACHE, OTHER, OTHER_MD5)
    copy = Path(out)
    if md5.endswith(".dir"):
        store(CACHE, LIST, md5)
        copy = copy / "part.csv"
        copy.parent.mkdir()
    assert fetch() == 0
    found = flip(cached)
    copy.write_bytes(cached.read_bytes())
    refused(2, str(copy), found, OTHER_MD5)
    assert not cached.exists()
    assert not copy.exists()
    assert SOURCE.exists()
    assert fetch() == 0


def test_a_good_copy_in_the_work_tree_outlives_a_damaged_one_in_the_cache(
    repository: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    repository()
    SOURCE.write_bytes(CONTENT)
    cached = store(CACHE)
    flip(cached)
    assert fetch() == 0
    assert "a damaged copy of data/source.csv, which was removed" in capfd.readouterr().err
    assert not cached.exists()
    assert SOURCE.read_bytes() == CONTENT


# --- the order of the source does not matter ------------------------------------------------

ROWS = 30_000
Split = Callable[[pa.Table], dict[str, bytes]]
COLUMNS: dict[str, Any] = {
    "key": {"type": "integer", "role": "id"},
    "when": {"type": "datetime", "role": "time"},
    "x": {"type": "number"},
    "town": {"type": "string", "pii": True},
    "more": {"type": "number", "role": "ignore"},
    "y": {"type": "boolean", "role": "target"},
}


def rows_of(columns: dict[str, Any], rows: int = ROWS) -> pa.Table:
    rng = np.random.default_rng(0)
    everything = {
        "key": pa.array(rng.integers(0, rows // 3, rows)),  # an id has several rows
        "when": pa.array(rng.integers(0, 10**6, rows), pa.timestamp("us")),
        "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
        "town": pa.array(rng.choice(["a", "bb", "ccc"], rows)),
        "more": pa.array(rng.normal(size=rows)),
        "y": pa.array(rng.random(rows) < 0.5),
    }
    return pa.table({name: everything[name] for name in columns})


@pytest.fixture(params=["content", "id", "time"])
def split(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> tuple[dict[str, Any], Split]:
    """The columns of a kind of table, and what the split writes for it."""
    from gatehouse.training.split import split as run

    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    without = {"content": ("key", "when"), "id": ("when",), "time": ("key",)}[request.param]
    columns = {name: column for name, column in COLUMNS.items() if name not in without}
    schema = {
        "task": "binary",
        "target": "y",
        "classes": [False, True],
        "identity": "id" if request.param == "id" else "content",
        "time_column": "when" if request.param == "time" else None,
        "id_column": "key" if request.param == "id" else None,
        "columns": columns,
    }
    Path("schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False), encoding="utf-8")
    Path("params.yaml").write_text(rendered("params.yaml"), encoding="utf-8")

    def split(table: pa.Table) -> dict[str, bytes]:
        pq.write_table(table, "data/dataset.parquet", row_group_size=7_000)
        run(Project())
        names = ("train", "test", "reference")
        return {name: Path(f"data/{name}.parquet").read_bytes() for name in names}

    return columns, split


def test_rows_and_columns_in_another_order_give_the_same_bytes(
    split: tuple[dict[str, Any], Split],
) -> None:
    columns, run = split
    table = rows_of(columns)
    first = run(table)
    shuffled = table.take(np.random.default_rng(1).permutation(ROWS))
    assert run(shuffled.select(sorted(columns)).append_column("new", shuffled["x"])) == first
    assert run(table.slice(1)) != first


def test_the_files_are_sorted_and_no_row_is_lost(split: tuple[dict[str, Any], Split]) -> None:
    columns, run = split
    run(rows_of(columns))
    sides = [pq.read_table(f"data/{name}.parquet") for name in ("train", "test")]
    assert sum(side.num_rows for side in sides) == ROWS
    for side in sides:
        assert side.column_names == [*columns, "__row_id"]
        by = (["when"] if "when" in columns else []) + ["__row_id"]
        frame = side.to_pandas()
        assert frame["__row_id"].is_unique
        assert frame.equals(frame.sort_values(by, ignore_index=True))


def test_the_reference_is_a_stable_sample_without_what_is_personal(
    split: tuple[dict[str, Any], Split],
) -> None:
    columns, run = split
    used = [n for n in columns if n not in ("town", "more", "key")]
    run(rows_of(columns))
    first = pq.read_table("data/reference.parquet")
    assert first.column_names == used
    assert first.num_rows == 10_000
    run(rows_of(columns).slice(0, ROWS * 9 // 10))  # as if the last tenth came later
    less = pq.read_table("data/reference.parquet").to_pandas()
    both = first.to_pandas().merge(less.drop_duplicates(), how="inner")
    assert len(both) > 7_000
    run(rows_of(columns, 600))
    assert (
        pq.read_metadata("data/reference.parquet").num_rows
        == pq.read_metadata("data/train.parquet").num_rows
    )
