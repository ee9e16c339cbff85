"""What can go wrong with data, each with its exit code and sentence; nothing is trained on it."""

import hashlib
import http.server
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from baked import BakedProject

CONTENT = b"a,b\n" + b"".join(b"%d,%d\n" % (k, k % 7) for k in range(500))
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SOURCE = Path("data/source.csv")
OTHER = CONTENT[::-1]
OTHER_MD5 = hashlib.md5(OTHER, usedforsecurity=False).hexdigest()
LIST = json.dumps([{"md5": OTHER_MD5, "relpath": "part.csv"}]).encode()
LIST_MD5 = hashlib.md5(LIST, usedforsecurity=False).hexdigest()


def flip(path: Path, *, keep_time: bool = False) -> str:
    """Change one bit in the middle of a file, whatever its mode; return its new digest."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def store(folder: Path, content: bytes = CONTENT, md5: str = MD5) -> Path:
    """An object as DVC keeps it in a cache or a remote, read-only."""
    path = folder / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


CACHE = Path(".dvc/cache")


@pytest.fixture
def repository(
    science: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
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
    from ops.source import fetch_source

    return int(fetch_source())


def refused(code: int, *sentence: str) -> str:
    """The one sentence with which fetching ends; it holds all of ``sentence``."""
    from ops.console import Stop

    with pytest.raises(Stop) as stopped:
        fetch()
    said = str(stopped.value)
    assert stopped.value.code == code, said
    assert "\n" not in said
    assert [part for part in sentence if part not in said] == [], said
    return said


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
    refused(2, str(SOURCE), "data not pushed: run `dvc push`")


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
    refused(2, str(SOURCE), "data not pushed: run `dvc push`")


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
    science: BakedProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> tuple[dict[str, Any], Split]:
    """The columns of a kind of table, and what the split writes for it."""
    from flight_delays.split import split as run

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
    Path("params.yaml").write_text((science.path / "params.yaml").read_text(encoding="utf-8"))

    def split(table: pa.Table) -> dict[str, bytes]:
        pq.write_table(table, "data/dataset.parquet", row_group_size=7_000)
        run()
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


# --- a whole project ------------------------------------------------------------------------


def orders(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    basket = rng.gamma(2, 40, rows).round(2)
    channel = rng.choice(["web", "shop", "phone"], rows)
    returned = rng.random(rows) < 1 / (1 + np.exp(-(basket - 90) / 20 - (channel == "web")))
    frame = {"basket": basket, "channel": channel, "items": rng.integers(1, 9, rows)}
    return pd.DataFrame({**frame, "returned": np.where(returned, "yes", "no")})


@pytest.fixture(scope="module")
def project(
    template_dir: Path, environments: BakedProject, tmp_path_factory: pytest.TempPathFactory
) -> BakedProject:
    """A project whose pipeline has run once."""
    from cookiecutter.main import cookiecutter

    folder = tmp_path_factory.mktemp("faults")
    orders().to_csv(folder / "orders.csv", index=False)
    answers = {"data": str(folder / "orders.csv"), "target": "returned", "project_name": "Orders"}
    made = cookiecutter(
        str(template_dir), no_input=True, output_dir=str(folder), extra_context=answers
    )
    project = BakedProject(Path(made)).borrow_environments(environments).be_patient()
    project.make("setup", "pipeline")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "First candidate")
    return project


@pytest.fixture
def as_committed(project: BakedProject) -> Iterator[BakedProject]:
    yield project
    project.git("checkout", "--quiet", "--", ".")
    project.activated("dvc", "checkout", "--quiet", "--force")


def lock_of(project: BakedProject) -> dict[str, str]:
    """Path -> digest of what the pipeline made."""
    stages = project.yaml("dvc.lock")["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def ran(said: str) -> list[str]:
    return re.findall("Running stage '(.*)'", said)


@pytest.mark.slow
def test_a_source_without_a_new_row_ends_nothing_changed(as_committed: BakedProject) -> None:
    project = as_committed
    before = lock_of(project)
    again = orders().sample(frac=1, random_state=5)[["returned", "items", "channel", "basket"]]
    again.to_csv(project.path / "data/source.csv", index=False)
    said = project.make("pipeline")
    assert "split" in ran(said.stdout)
    assert "train" not in ran(said.stdout)
    assert "nothing changed" in said.stdout
    after = lock_of(project)
    assert after["data/dataset.parquet"] != before["data/dataset.parquet"]
    for path in ("data/train.parquet", "data/test.parquet", "data/reference.parquet", "model"):
        assert after[path] == before[path]


@pytest.mark.slow
def test_one_new_row_is_a_change(as_committed: BakedProject) -> None:
    project = as_committed
    orders(440).to_csv(project.path / "data/source.csv", index=False)
    said = project.make("pipeline")
    assert "train" in ran(said.stdout)
    assert "nothing changed" not in said.stdout


@pytest.mark.slow
def test_a_damaged_intermediate_is_refused_and_made_again(as_committed: BakedProject) -> None:
    """DVC itself hands it over without a word, which the middle of this test shows."""
    project = as_committed
    before = project.read("dvc.lock")
    md5 = lock_of(project)["data/dataset.parquet"]
    found = flip(project.path / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    dataset = project.path / "data/dataset.parquet"
    dataset.unlink()
    project.activated("dvc", "checkout", "data/dataset.parquet")
    assert hashlib.md5(dataset.read_bytes(), usedforsecurity=False).hexdigest() == found
    said = project.make("pipeline", code=2)
    assert ran(said.stdout) == []
    assert f"data/dataset.parquet is damaged, its digest is {found} and not {md5}" in said.stderr
    assert not dataset.exists()
    project.make("pipeline")
    assert project.read("dvc.lock") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop(columns="channel"), "schema: channel: the column is missing"),
        (lambda table: table.rename(columns={"channel": "kanal"}), "Was it renamed to 'kanal'?"),
        (lambda table: table.assign(basket="much"), "the values are no number but string"),
        (lambda table: table.assign(basket=None), "schema: basket: all values are missing"),
        (
            lambda table: table.assign(mail="jo@example.org"),
            "personal: mail: 100% of its different",
        ),
    ],
)
def test_broken_data_stop_the_pipeline_before_training(
    as_committed: BakedProject, change: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    project = as_committed
    change(orders()).to_csv(project.path / "data/source.csv", index=False)
    said = project.make("pipeline", code=2)
    assert sentence in said.stderr
    assert ran(said.stdout)[-1] == "data_gate"
    assert "jo@example.org" not in said.stderr + said.stdout


@pytest.mark.slow
def test_another_unit_is_a_finding(as_committed: BakedProject) -> None:
    project = as_committed
    orders().assign(basket=orders()["basket"] * 1000).to_csv(
        project.path / "data/source.csv", index=False
    )
    project.activated("dvc", "repro", "data_gate")
    report = json.loads(project.read("reports/data_gate.json"))
    [found] = [f for f in report["findings"] if f["check"] == "values: basket"]
    assert float(found["value"].split(" to ")[1].replace(",", "")) > 100_000
    assert float(found["threshold"].split(" to ")[1].replace(",", "")) < 1_000
    assert "another unit?" in found["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2 - 3], "another number of fields"),
        (lambda text: text.replace(b",", b"#"), "has no column 'returned'"),
        (lambda text: text.replace(b"web", b"w\xe9b"), "is not utf-8 text"),
        (lambda text: text.splitlines()[0] + b"\n", "has no rows"),
        (lambda text: text.replace(b",yes\n", b",no\n"), "target_unusable"),
    ],
)
def test_a_broken_file_stops_the_pipeline_and_the_model_stays(
    as_committed: BakedProject, change: Callable[[bytes], bytes], sentence: str
) -> None:
    project = as_committed
    model = (project.path / "model/model.skops").read_bytes()
    source = project.path / "data/source.csv"
    text = source.read_bytes()
    source.unlink()  # it may be a link into the cache
    source.write_bytes(change(text))
    said = project.make("pipeline", code=2)
    assert sentence in said.stderr
    assert "Traceback" not in said.stderr
    assert not {"split", "train"} & set(ran(said.stdout))
    assert (project.path / "model/model.skops").read_bytes() == model
