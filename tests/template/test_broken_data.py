"""Broken data in a whole project: where the pipeline stops, and what it leaves as it was."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from baked import BakedProject
from conftest import bake_into
from repositories import flip

pytestmark = pytest.mark.slow


def orders(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    basket = rng.gamma(2, 40, rows).round(2)
    channel = rng.choice(["web", "shop", "phone"], rows)
    returned = rng.random(rows) < 1 / (1 + np.exp(-(basket - 90) / 20 - (channel == "web")))
    frame = {"basket": basket, "channel": channel, "items": rng.integers(1, 9, rows)}
    return pd.DataFrame({**frame, "returned": np.where(returned, "yes", "no")})


@pytest.fixture(scope="module")
def project(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project whose pipeline has run once."""
    folder = tmp_path_factory.mktemp("faults")
    orders().to_csv(folder / "orders.csv", index=False)
    answers = {"data": str(folder / "orders.csv"), "target": "returned", "project_name": "Orders"}
    project = bake_into(folder, **answers).borrow_environments(environments).be_patient()
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


def test_a_source_without_a_new_row_ends_nothing_changed(as_committed: BakedProject) -> None:
    project = as_committed
    before = lock_of(project)
    again = orders().sample(frac=1, random_state=5)[["returned", "items", "channel", "basket"]]
    again.to_csv(project.path / "data/source.csv", index=False)
    said = project.make("pipeline")
    assert "split" in ran(said.stdout)
    assert "train" not in ran(said.stdout)
    assert "nothing changed" in said.stderr
    after = lock_of(project)
    assert after["data/dataset.parquet"] != before["data/dataset.parquet"]
    for path in ("data/train.parquet", "data/test.parquet", "data/reference.parquet", "model"):
        assert after[path] == before[path]


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
