"""A change does not choose the thresholds that judge it; no champion wants a recorded reason."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import rendered, small_project

from gatehouse.core.project import Project

STRICT = """\
model:
  rules:
    - {metric: skill, min: 0.5} # agreed with the business
  rows_min: 10
"""
LOOSE = STRICT.replace("0.5", "-9")
TIGHT = STRICT.replace("0.5", "0.6")
LOOSER = "gates.yaml is looser than main's, whose thresholds judge"


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


def commit(gates: str | bytes) -> None:
    Path("gates.yaml").write_bytes(gates if isinstance(gates, bytes) else gates.encode())
    git("add", "gates.yaml")
    git("commit", "--quiet", "-m", "thresholds")


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A branch that wants looser thresholds than main has; its verdict is open by them."""
    from gatehouse.core.digests import MODEL, model_digest
    from gatehouse.core.files import write_json
    from gatehouse.gates import verdict

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASE_REF", raising=False)
    monkeypatch.setattr(verdict, "stale_stages", lambda _: [])
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "person@example.org")
    git("init", "--quiet", "--initial-branch=main")
    commit(STRICT)
    git("switch", "--quiet", "-c", "loosen")
    commit(LOOSE)
    Path("model").mkdir()
    for name in ("model.json", "model.skops"):
        Path("model", name).write_text("x")
    small_project(tmp_path, "dvc.yaml")
    judged = {"model_digest": model_digest(MODEL), "blessed": True, "reasons": [], "rules": []}
    write_json(Path("blessing.json"), judged)
    write_json(
        Path("reports/data_gate.json"), {"open": True, "reasons": [], "rows": 9, "findings": []}
    )
    return tmp_path


def collect() -> dict[str, Any]:
    from gatehouse.gates.verdict import collect

    return dict(collect(Project()))


@pytest.mark.gate("blessing", "thresholds of the base branch", "closed")
@pytest.mark.usefixtures("change")
def test_attack_looser_thresholds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ATTACK: `gates.yaml` is loosened in the change that it judges | the base branch's judges, and each threshold that is looser closes"""
    from gatehouse.gates.thresholds import restore
    from gatehouse.gates.verdict import lines

    monkeypatch.setenv("BASE_REF", "main")
    reason = f"{LOOSER}: model.rules: skill min 0.5 is now -9"
    for _ in range(3):
        verdict = collect()
        assert (verdict["open"], verdict["reasons"]) == (False, [reason])
        assert f"  - {reason}" in lines(verdict)
        assert restore(Project()) == 0
        said = capsys.readouterr().err
        assert "thresholds: looser than main: model.rules: skill min 0.5 is now -9\n" in said
        assert "gates.yaml is now that of main, which judges" in said
        assert Path("gates.yaml").read_text() == STRICT


@pytest.mark.usefixtures("change")
@pytest.mark.parametrize("base", [None, ""])
def test_a_loosened_gates_yaml_is_noted_on_a_laptop(
    monkeypatch: pytest.MonkeyPatch, base: str | None
) -> None:
    from gatehouse.gates.verdict import lines

    if base is not None:
        monkeypatch.setenv("BASE_REF", base)
    verdict = collect()
    assert (verdict["open"], verdict["reasons"]) == (True, [])
    note = f"{LOOSER} in CI: model.rules: skill min 0.5 is now -9"
    assert f"  note: {note}" in lines(verdict)


@pytest.mark.usefixtures("change")
def test_a_laptop_says_where_the_judge_of_ci_differs(
    tmp_path: Path, template_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(STRICT)
    small_project(tmp_path, "params.yaml", "dvc.yaml")
    git("add", "--all")
    git("switch", "--quiet", "main")
    git("commit", "--quiet", "-m", "base")
    git("switch", "--quiet", "-c", "other")
    assert collect()["notes"] == []
    for name, old, new in (
        ("params.yaml", "  test_fraction: 0.2", "  test_fraction: 0.3"),
        ("dvc.yaml", "gatehouse stage evaluate", "python mine.py"),
    ):
        text = Path(name).read_text()
        assert old in text
        Path(name).write_text(text.replace(old, new))
    Path("requirements").mkdir()
    Path("requirements/train.txt").write_text("x==1\n")
    git("add", "--all")
    own, packages, split = collect()["notes"]
    assert "evaluate" in own and "packages" in packages and "split" in split
    monkeypatch.setenv("BASE_REF", "main")
    assert not [note for note in collect()["notes"] if note.startswith("in CI")]


@pytest.mark.usefixtures("change")
def test_what_the_judge_says_beside_the_gates_counts(tmp_path: Path) -> None:
    from gatehouse.core.files import write_json
    from gatehouse.gates.verdict import EXAM

    commit(STRICT)
    assert collect()["open"] is True
    beside = {"notes": ["seen"], "judging": ["gone"], "pins": ["two"]}
    said = {"reasons": ["split"], "recorded": "another", **beside}
    write_json(Path(EXAM), said)
    found = collect()
    assert found["open"] is False
    assert found["reasons"] == ["split", "another"]
    assert {key: found[key] for key in beside} == beside
    Path("blessing.json").unlink()
    assert (collect()["open"], collect()["reasons"]) == (False, ["split"])


@pytest.mark.gate("blessing", "thresholds of the base branch", "open")
@pytest.mark.usefixtures("change")
@pytest.mark.parametrize("gates", [STRICT, TIGHT, "# why\n" + STRICT.replace("\n", "\r\n")])
def test_a_file_that_loosens_nothing_judges(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gates: str
) -> None:
    from gatehouse.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", "main")
    commit(gates)
    assert restore(Project()) == 0
    assert "gates.yaml is no looser than that of main, and judges" in capsys.readouterr().err
    assert Path("gates.yaml").read_bytes() == gates.encode()
    assert collect()["open"] is True


@pytest.mark.gate("blessing", "thresholds of the base branch", "closed")
@pytest.mark.usefixtures("change")
@pytest.mark.parametrize(
    "gates",
    [
        b"",
        b"# nothing\n",
        b"a: [",
        b"\xff\xfe" + STRICT.encode(),
        b"model: {rules: [{metric: skill, min: \xff}]}\n",
        TIGHT.replace("0.6", "0.6, min: 0.7").encode(),
        (TIGHT + TIGHT).encode(),
        TIGHT.encode() + b"x: !!bool x\n",
        TIGHT.encode() + b"x: !!python/object/apply:os.system [exit]\n",
        TIGHT.encode() + b"x: " + b"[" * 600,
        None,
    ],
)
def test_a_file_that_cannot_be_compared_is_looser(
    monkeypatch: pytest.MonkeyPatch, gates: bytes | None
) -> None:
    from gatehouse.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", "main")
    if gates is None:
        git("rm", "--quiet", "gates.yaml")
        git("commit", "--quiet", "-m", "thresholds")
    else:
        commit(gates)
    for _ in range(2):
        verdict = collect()
        assert verdict["open"] is False
        assert verdict["reasons"][0].startswith(LOOSER)
        assert restore(Project()) == 0
        assert Path("gates.yaml").read_text() == STRICT


@pytest.mark.usefixtures("change")
def test_what_is_not_committed_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", "main")
    commit(STRICT)
    Path("gates.yaml").write_text(LOOSE)
    assert collect()["reasons"] == [f"{LOOSER}: model.rules: skill min 0.5 is now -9"]
    Path("gates.yaml").unlink()
    assert collect()["reasons"] == [f"{LOOSER}: it is not there"]
    assert restore(Project()) == 0
    assert Path("gates.yaml").read_text() == STRICT
    assert collect()["open"] is True


@pytest.mark.usefixtures("change")
def test_ten_loosenings_are_told_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_REF", "main")
    words = [f"type{k}" for k in range(30)]
    words[0] = "\n::error::@everyone\u202e\x1b[31m" + "x" * 900
    commit(STRICT + f"trusted_types: {json.dumps(words)}\n")
    reasons = collect()["reasons"]
    assert len(reasons) == 11
    assert reasons[0].startswith(f"{LOOSER}: trusted_types: ?::error::@everyone??[31mxxx")
    assert max(map(len, reasons)) < 300
    assert reasons[10] == f"{LOOSER}: 20 loosenings more"


# --- which change is a loosening --------------------------------------------------------------

BASE: dict[str, Any] = {
    "data": {"rows_min": 50},
    "model": {
        "bootstrap": "first model",
        "rows_min": 10,
        "resamples": 1000,
        "rules": [
            {"metric": "skill", "min": 0.02, "margin": 0.05},
            {"metric": "skill", "against": "dummy", "gain": 0},
            {"metric": "rmse", "max": 3, "slice": "carrier", "rows_min": 20},
            {"metric": "recall", "min": 0.5, "slice": {"carrier": ["UA", "DL"]}},
            {"metric": "skill", "slice": "sensitive", "gap": 0.2, "rows_min": 100},
        ],
    },
    "model_tests": {
        "may_skip": ["test_behaviour"],
        "timeout_minutes": 10,
        "missing_values": {"share": 0.1, "max_loss": 0.5},
        "budget": {"size_mb": 200, "latency_ms": 1000},
    },
    "trusted_types": ["numpy.dtype"],
    "data_checks": {
        "sample": {"rows": 10000, "seed": 1},
        "checks": {
            "target_copy": {"severity": "fail", "max": 0.95, "accept": ["a"]},
            "duplicates": {"severity": "warn", "max": 0.05, "rows": 100, "may_skip": True},
            "mixed_types": {"severity": "warn", "rare_below": 0.1},
        },
    },
    "model_checks": {"checks": {"row_overlap": {"severity": "fail", "max": 0.01}}},
}
GONE = object()
RULE = "model.rules.{}".format
CHECK = "data_checks.checks.{}".format


def changed(changes: dict[str, Any]) -> str:
    """BASE with the values at these dotted paths changed, added or GONE."""
    content = copy.deepcopy(BASE)
    for path, value in changes.items():
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        at: Any = content
        for key in way:
            at = at[key]
        if value is GONE:
            del at[last]
        elif isinstance(last, int) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return str(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({RULE("0.min"): -9}, ["model.rules: skill min 0.02 is now -9"]),
        ({RULE("0.margin"): 0.06}, ["model.rules: skill margin 0.05 is now 0.06"]),
        ({RULE("0.margin"): GONE}, ["model.rules: skill margin 0.05 is gone"]),
        ({RULE("0.min"): float("nan")}, []),  # faulty, so never passed
        ({RULE("0.against"): "linear"}, ["model.rules: skill is gone"]),
        ({RULE("0.slice"): "carrier"}, ["model.rules: skill is gone"]),
        ({RULE("0.rows_min"): 5}, ["model.rules: skill rows_min 10 is now 5"]),
        ({RULE("1.gain"): -0.1}, []),  # faulty
        ({RULE("1"): GONE}, ["model.rules: skill is gone"]),
        ({RULE("2"): GONE}, ["model.rules: rmse on carrier is gone"]),
        ({RULE("2.max"): 4}, ["model.rules: rmse on carrier max 3 is now 4"]),
        # Groups below rows_min are left out.
        ({RULE("2.rows_min"): 900}, ["model.rules: rmse on carrier rows_min 20 is now 900"]),
        ({RULE("2.rows_min"): GONE}, ["model.rules: rmse on carrier rows_min 20 is now 10"]),
        (
            {RULE("3.slice"): {"carrier": ["UA"]}},
            ["model.rules: recall on carrier = UA, DL is gone"],
        ),
        ({RULE("3.slice"): "carrier"}, ["model.rules: recall on carrier = UA, DL is gone"]),
        ({RULE("4.gap"): 0.3}, ["model.rules: skill on sensitive gap 0.2 is now 0.3"]),
        (
            {"model.rules": "none"},
            [
                "model.rules: skill is gone",
                "model.rules: rmse on carrier is gone",
                "model.rules: recall on carrier = UA, DL is gone",
                "model.rules: skill on sensitive is gone",
            ],
        ),
        (
            {"model.rows_min": 9},
            [
                "model: rows_min 10 is now 9",
                "model.rules: skill rows_min 10 is now 9",
                "model.rules: recall on carrier = UA, DL rows_min 10 is now 9",
            ],
        ),
        ({"model.resamples": 2000}, ["model: resamples 1000 is now 2000"]),
        ({"model.bootstrap": "we like it"}, ["model.bootstrap: we like it is new"]),
        ({"model.confidence": 0.5}, ["model: confidence is new"]),
        ({"model": 3}, ["model {'bootstrap': 'first model', 'resamples': 1000, 'rows_min': 10"]),
        ({"model": GONE}, ["model is gone"]),
        ({"data.rows_min": 49}, ["data: rows_min 50 is now 49"]),
        ({"data.rows_min": "many"}, ["data: rows_min 50 is now many"]),
        ({"data.rows_min": float("nan")}, ["data: rows_min 50 is now nan"]),
        ({"model_tests.may_skip": "test_x"}, ["model_tests.may_skip: test_x is new"]),
        (
            {"model_tests.may_skip.1": "test_budget"},
            ["model_tests.may_skip: test_budget is new"],
        ),
        ({"model_tests.timeout_minutes": GONE}, ["model_tests: timeout_minutes is gone"]),
        ({"model_tests.timeout_minutes": 99}, ["model_tests: timeout_minutes 10 is now 99"]),
        (
            {"model_tests.missing_values": {"share": 0.01, "max_loss": 0.9}},
            [
                "model_tests.missing_values: share 0.1 is now 0.01",
                "model_tests.missing_values: max_loss 0.5 is now 0.9",
            ],
        ),
        ({"model_tests.budget.size_mb": 900}, ["model_tests.budget: size_mb 200 is now 900"]),
        ({"model_tests": GONE}, ["model_tests is gone"]),
        ({"trusted_types.1": "builtins.eval"}, ["trusted_types: builtins.eval is new"]),
        ({"trusted_types": {"a": 1}}, ["trusted_types: {'a': 1} is new"]),
        (
            {CHECK("target_copy.severity"): "warn"},
            ["data_checks.checks.target_copy: severity fail is now warn"],
        ),
        (
            {CHECK("target_copy.max"): 0.99},
            ["data_checks.checks.target_copy: max 0.95 is now 0.99"],
        ),
        ({CHECK("target_copy.accept.1"): "b"}, ["data_checks.checks.target_copy.accept: b is new"]),
        (
            {CHECK("target_copy.may_skip"): True},
            ["data_checks.checks.target_copy.may_skip: True is new"],
        ),
        ({CHECK("target_copy"): GONE}, ["data_checks.checks: target_copy is gone"]),
        (
            {CHECK("target_copy"): "off"},
            ["data_checks.checks: target_copy {'accept': ['a'], 'max': 0.95, 'severity': 'fail'}"],
        ),
        (
            {CHECK("duplicates.rows"): 200},
            ["data_checks.checks.duplicates: rows 100 is now 200"],
        ),
        (
            {CHECK("mixed_types.rare_below"): 0.05},
            ["data_checks.checks.mixed_types: rare_below 0.1 is now 0.05"],
        ),
        ({"data_checks.sample.seed": 2}, ["data_checks.sample: seed 1 is now 2"]),
        ({"data_checks.sample": GONE}, ["data_checks: sample is gone"]),
        ({"model_checks.sample": {"rows": 9}}, ["model_checks: sample is new"]),
        ({"monitor": {"max": 1}}, ["monitor is new"]),
    ],
)
def test_each_loosening_has_its_sentence(changes: dict[str, Any], sentences: list[str]) -> None:
    from gatehouse.gates.thresholds import looser

    found = list(dict.fromkeys(looser(changed({}), changed(changes))))
    assert len(found) == len(sentences), found
    assert all(said.startswith(asked) for said, asked in zip(found, sentences, strict=True)), found


@pytest.mark.parametrize(
    "changes",
    [
        {RULE("0.min"): 0.03, RULE("0.margin"): 0.01},
        {RULE("0.max"): 0.99, RULE("0.rows_min"): 20},
        {RULE("1.gain"): 0.01},
        {RULE("2.max"): 2},
        {RULE("3.slice"): {"carrier": ["DL", "UA", "AA"]}},
        {RULE("4.gap"): 0.1},
        {RULE("5"): {"metric": "skill", "min": 0.01, "slice": "origin"}},
        {RULE("5"): {"metric": "skill", "min": 0.001}},
        {"model.rules": list(reversed(BASE["model"]["rules"]))},
        {"model.bootstrap": GONE},
        {"data.rows_min": 51},
        {"model_tests.may_skip": []},
        {"model_tests.may_skip": GONE, "trusted_types": GONE},
        {"model_tests.timeout_minutes": 5, "model_tests.budget.latency_ms": 10},
        {"model_tests.missing_values": {"share": 0.2, "max_loss": 0.1}},
        {CHECK("target_copy.max"): 0.9, CHECK("target_copy.accept"): GONE},
        {CHECK("duplicates.severity"): "fail", CHECK("duplicates.may_skip"): False},
        {CHECK("mixed_types.rare_below"): 0.2, CHECK("mixed_types.may_skip"): False},
        {CHECK("single_value"): {"severity": "warn", "may_skip": True}},
    ],
)
def test_what_is_stricter_or_says_the_same_is_no_loosening(changes: dict[str, Any]) -> None:
    from gatehouse.gates.thresholds import looser

    assert looser(changed({}), changed(changes)) == []
    assert looser(changed({}), changed(changes) + "# a comment\n") == []


def test_a_rule_that_could_never_pass_and_now_can_is_a_loosening() -> None:
    from gatehouse.gates.thresholds import looser

    faulty = changed({RULE("0.typo"): 1})
    assert looser(faulty, changed({})) == ["model.rules: skill could never pass and now can"]
    assert looser(changed({}), faulty) == []


def test_the_thresholds_of_a_new_project_are_no_looser_than_themselves() -> None:
    from gatehouse.gates.thresholds import looser

    text = rendered("gates.yaml")
    assert looser(text, text + "# the same\n") == []
    gone = looser(text, "nothing: 1\n")
    sections = ["data", "model", "model_tests", "image", "release", "trial"]
    sections += ["data_checks", "model_checks"]
    assert gone == [*(f"{name} is gone" for name in sections), "nothing is new"]


@pytest.mark.usefixtures("change")
def test_a_base_branch_without_the_file_leaves_it_to_the_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gatehouse.gates.thresholds import restore

    git("switch", "--quiet", "--orphan", "empty")
    git("commit", "--quiet", "--allow-empty", "-m", "nothing yet")
    git("switch", "--quiet", "loosen")
    monkeypatch.setenv("BASE_REF", "empty")
    assert restore(Project()) == 0
    assert Path("gates.yaml").read_text() == LOOSE
    assert collect()["open"] is True


@pytest.mark.usefixtures("change")
@pytest.mark.parametrize(
    ("base", "code", "sentence"),
    [
        ("", 2, "BASE_REF names no branch: set it"),
        ("nowhere", 3, "git knows no nowhere: run `git fetch origin`"),
        ("--output=x", 3, "git knows no --output=x"),
    ],
)
def test_a_base_that_cannot_be_read_stops(
    monkeypatch: pytest.MonkeyPatch, base: str, code: int, sentence: str
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.gates.thresholds import restore

    monkeypatch.setenv("BASE_REF", base)
    with pytest.raises(Stop, match=sentence) as stop:
        restore(Project())
    assert stop.value.exit_code == code
    assert Path("gates.yaml").read_text() == LOOSE
    assert not Path("x").exists()


# --- why there is no champion -----------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "  bootstrap: first model\n"])
def test_the_reason_for_a_bootstrap_is_written_down(change: Path, before: str) -> None:
    from gatehouse.gates.thresholds import bootstrap

    Path("gates.yaml").write_text(STRICT.replace("  rules:", f"{before}  rules:"))
    assert bootstrap(Project(), 'new market:\n  "no" model   yet') == 0
    text = Path("gates.yaml").read_text()
    assert yaml.safe_load(text)["model"]["bootstrap"] == 'new market: "no" model yet'
    assert "# agreed with the business" in text
    assert text.count("bootstrap:") == 1


@pytest.mark.usefixtures("change")
@pytest.mark.parametrize(
    ("gates", "reason", "sentence"),
    [
        (STRICT, "  ", "^bootstrap wants the reason"),
        ("data: {rows_min: 1}\n", "x", "gates.yaml has no line `model:`"),
        ("model: {rules: []}\n", "x", "gates.yaml has no line `model:`"),
    ],
)
def test_a_bootstrap_without_reason_or_place_is_refused(
    gates: str, reason: str, sentence: str
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.gates.thresholds import bootstrap

    Path("gates.yaml").write_text(gates)
    with pytest.raises(Stop, match=sentence):
        bootstrap(Project(), reason)
    assert Path("gates.yaml").read_text() == gates
