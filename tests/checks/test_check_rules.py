"""The parts of the checks that need no Deepchecks, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gatehouse.core.project import Project
from gatehouse.gates.run_checks import check_model, draw

ROWS = 600
RNG = np.random.default_rng(5)
LATE = RNG.random(ROWS) < 0.3
SIZE = RNG.normal(size=ROWS)
KIND = RNG.choice(["a", "b", "c"], ROWS)


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], float]:
    """How far `target_copy` takes a feature for the target."""
    monkeypatch.chdir(tmp_path)

    def copies(feature: Any, target: Any) -> float:
        from gatehouse.checks.exact import target_copy
        from gatehouse.checks.files import Inputs, read_schema, scan

        frame = pd.DataFrame({"feature": feature, "target": target})
        frame.to_parquet("dataset.parquet", index=False)
        number = pd.api.types.is_float_dtype(frame["target"])
        classes = [] if number else sorted(set(frame["target"]))
        columns = {"feature": {"role": "feature"}, "target": {"role": "target"}}
        content = {"target": "target", "classes": classes, "columns": columns}
        Path("schema.yaml").write_text(yaml.safe_dump(content))
        schema = read_schema(Path("schema.yaml"))
        table = scan(Path("dataset.parquet"), schema, 10_000, 1)
        measured: float = target_copy(Inputs(schema, {"train": table}, {}), table)[("feature",)]
        return measured

    return copies


def blanked(values: Any, share: float = 0.2) -> pd.Series:
    return pd.Series(values).astype(object).mask(np.random.default_rng(1).random(ROWS) < share)


def flipped(values: Any, share: float = 0.02) -> Any:
    return np.where(np.random.default_rng(2).random(ROWS) < share, ~values, values)


BALANCED = RNG.random(ROWS) < 0.5
MOMENTS = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.permutation(ROWS), unit="h")
COPIES = {
    "itself": (LATE, LATE),
    "negated": (~LATE, LATE),
    "as text": (np.where(LATE, "yes", "no"), LATE),
    "as another number": (LATE * 7 + 3, LATE),
    "with gaps": (blanked(np.where(LATE, "yes", "no")), LATE),
    "with a slip in fifty": (flipped(BALANCED), BALANCED),
    "as dates": (MOMENTS.take([1, 0]).take(LATE * 1), LATE),
    "of three classes, renamed": (pd.Series(KIND).map({"a": 9, "b": 2, "c": 5}), KIND),
    "filled only where it is true": (np.where(LATE, MOMENTS, np.datetime64("NaT")), LATE),
    "a number as text": ([f"{x:.6f}" for x in SIZE], SIZE),
    "a number scaled": (SIZE * -3 + 1, SIZE),
    "a number's rank": (pd.Series(SIZE).rank(), SIZE),
    "a number with gaps": (blanked(SIZE).astype(float), SIZE),
    "a number with noise": (SIZE + RNG.normal(size=ROWS) / 50, SIZE),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_the_target_is_seen(name: str, copies: Callable[[Any, Any], float]) -> None:
    assert copies(*COPIES[name]) > 0.95


HONEST = {
    "right nine times out of ten": (flipped(BALANCED, 0.1), BALANCED),
    "an id": ([f"person {k}" for k in range(ROWS)], LATE),
    "an id of numbers": (np.arange(ROWS), SIZE),
    "an id as text": ([f"{k}" for k in range(ROWS)], SIZE),
    "a threshold": (SIZE, SIZE > 0.3),
    "a rare flag beside a rare target": (np.arange(ROWS) == 5, np.arange(ROWS) == 6),
    "a rare flag that agrees by chance": (np.arange(ROWS) == 5, np.arange(ROWS) == 5),
    "gaps by chance": (blanked(SIZE), LATE),
    "nothing": (pd.Series([None] * ROWS, dtype="string"), LATE),
    "one value": ([1] * ROWS, LATE),
    "correlation 0.99": (SIZE + RNG.normal(size=ROWS) / 7, SIZE),
    "a target of one class": (LATE, ["a"] * (ROWS - 1) + ["b"]),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_feature_is_no_copy(name: str, copies: Callable[[Any, Any], float]) -> None:
    assert copies(*HONEST[name]) < 0.9


def rules(folder: Path, stage: str, **entries: Any) -> Any:
    from gatehouse.checks.rules import read_rules

    path = folder / "gates.yaml"
    path.write_text(yaml.safe_dump({f"{stage}_checks": {"checks": entries}}), encoding="utf-8")
    return {rule.name: rule for rule in read_rules(path, stage)[2]}


def test_the_fix_says_what_to_paste(tmp_path: Path) -> None:
    entry = {"severity": "fail", "max": 0.9, "accept": ["age"]}
    rule = rules(tmp_path, "data", feature_label_correlation=entry)["feature_label_correlation"]
    assert "`accept: [age, 'petal: width']`" in rule.remedy(["petal: width"])
    weak = rules(tmp_path, "model", weak_segments={"severity": "warn", "max": 0.2})["weak_segments"]
    pasted = weak.remedy(["dep_delay", "größe"]).split("`")[1::2]
    expected = [
        {"metric": "skill", "slice": name, "margin": 0.05} for name in ("dep_delay", "größe")
    ]
    assert [yaml.safe_load(line)[0] for line in pasted] == expected


@pytest.mark.parametrize(
    ("name", "accept", "sentence"),
    [
        ("duplicates", ["age"], "knows no 'accept'"),
        ("missing_values", "age", "must be a list of column names"),
        ("missing_values", [1], "must be a list of column names"),
    ],
)
def test_nothing_but_columns_can_be_vouched_for(
    tmp_path: Path, name: str, accept: Any, sentence: str
) -> None:
    from gatehouse.core.errors import InputError

    with pytest.raises(InputError, match=sentence):
        rules(tmp_path, "data", **{name: {"severity": "warn", "max": 0, "accept": accept}})


@pytest.mark.parametrize(
    "run", [lambda: check_model(Project()), lambda: draw(Project(), "model")], ids=["stage", "page"]
)
def test_without_its_environment_nothing_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[], int]
) -> None:
    from gatehouse.core.errors import Stop

    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        Stop, match=r"environment \.venv-checks is missing: run `make setup`"
    ) as stop:
        run()
    assert stop.value.exit_code == 3
    assert not list(tmp_path.rglob("*.json"))


def test_html_leaves_the_findings_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = tmp_path / ".venv-checks/bin/python"
    runner.parent.mkdir(parents=True)
    runner.write_text('#!/bin/sh\necho "$@" > "$6"\n', encoding="utf-8")
    runner.chmod(0o755)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/data.json").write_text("{}", encoding="utf-8")
    assert draw(Project(), "data") == 0
    called = (tmp_path / "reports/data-checks.html").read_text(encoding="utf-8")
    assert called == "-P -m gatehouse.checks data --html reports/data-checks.html\n"
    assert (tmp_path / "reports/data.json").read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("kept", [True, False])
def test_the_champion_brings_its_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    from gatehouse.registry import champion

    made = {"model": "m1", "blessing.json": "b1"} | (
        {"data/reference.parquet": "r1"} if kept else {}
    )
    lock = {"stages": {"s": {"outs": [{"path": p, "md5": m} for p, m in made.items()]}}}
    brought = []

    def get(_: Any, path: str, commit: str, out: Path) -> None:
        brought.append(path)
        if path == "model":
            out.mkdir()
            for name in ("model.json", "model.skops"):
                (out / name).write_text("{}")
        else:
            out.write_text('{"blessed": true, "model_digest": "sha256:d"}')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(champion, "dvc_get", get)
    monkeypatch.setattr(champion, "git", lambda *_: yaml.safe_dump(lock))
    monkeypatch.setattr(champion, "_commits", lambda _: [("main", "c" * 40, None)])
    names = {Path(path).name: md5 for path, md5 in made.items()}
    monkeypatch.setattr(champion, "md5_of", lambda out: names[out.name])
    monkeypatch.setattr(champion, "model_digest", lambda _: "sha256:d")
    Path("dvc.lock").write_text("stages: {}")
    assert champion.fetch(Project()) == 0
    assert Path("champion/reference.parquet").exists() is kept
    assert Path("champion/model.skops").exists()
    brought.clear()
    champion.fetch(Project())
    assert brought == []
