"""Every bad answer is refused in one sentence, and its nearest good neighbour is taken."""

from __future__ import annotations

import base64
import csv
import importlib.metadata
import importlib.util
import io
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException

# Written by pyarrow 25: three rows of when (timestamp), size (double), kind (string), late (bool).
PARQUET = base64.b64decode("""
UEFSMRUAFTwVPCwVBhUAFQYVBhwAAAACAAAABgEAICEQ1w0GAAAgIRDXDQYAACAhENcNBgAVABUsFSwsFQYVABUG
FQYcAAAAAgAAAAMFAAAAAAAA+D8AAAAAAAAIQBUAFSoVKiwVBhUAFQYVBhwAAAACAAAABgEBAAAAYQEAAABiAQAA
AGEVABUOFQ4sFQYVABUGFQYcAAAAAgAAAAYBBRUEGVw1ABgGc2NoZW1hFQgAFQQlAhgEd2hlbiUUTIwSHCwAAAAA
ABUKJQIYBHNpemUAFQwlAhgEa2luZCUATBwAAAAVACUCGARsYXRlABYGGRwZTCYAHBUEGSUGABkYBHdoZW4VABYG
FmIWYiYISRwVABUAFQIAPCkGGSYABgAAACYAHBUKGSUGABkYBHNpemUVABYGFlIWUiZqSRwVABUAFQIAPCkGGSYC
BAAAACYAHBUMGSUGABkYBGtpbmQVABYGFlAWUCa8AUkcFQAVABUCADwWBhkGGSYABgAAACYAHBUAGSUGABkYBGxh
dGUVABYGFjQWNCaMAkkcFQAVABUCADwpBhkmAAYAAAAWuAIWBiYIFrgCACggcGFycXVldC1jcHAtYXJyb3cgdmVy
c2lvbiAyNS4wLjEZTBwAABwAABwAABwAAABIAQAAUEFSMQ==
""")
CSV = b"when,size,kind,late\n2024-01-01,1.5,a,true\n"
ANSWERS = {
    "project_name": "Late Trains",
    "project_slug": "late-trains",
    "package_name": "late_trains",
    "description": "Says whether a train is late.",
    "author_name": "Ada",
    "data": "example",
    "target": "late",
    "time_column": "",
    "id_column": "",
    "github_owner": "",
    "data_remote": "branch",
    "task": "auto",
    "python_version": "3.11",
    "license": "MIT",
}


@pytest.fixture
def hook(template_dir: Path) -> Iterator[Any]:
    """The pre-generation hook as a module; it is plain Python before it is rendered, too."""
    limit = csv.field_size_limit()
    spec = importlib.util.spec_from_file_location(
        "pre_gen_project", template_dir / "hooks" / "pre_gen_project.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    csv.field_size_limit(limit)  # of the whole process


@pytest.fixture
def judge(hook: Any) -> Callable[..., str]:
    """Return the sentence with which the hook refuses these answers, or nothing."""

    def judge(**answers: str) -> str:
        try:
            hook.main(ANSWERS | answers)
        except hook.AnswerError as refusal:
            sentence = str(refusal)
            assert sentence.endswith("."), sentence
            assert len(sentence.splitlines()) == 1, sentence
            assert ": " in sentence, "says what to do after a colon"
            return sentence
        return ""

    return judge


@pytest.mark.parametrize(
    ("red", "said", "green"),
    [
        ({"project_slug": "Late-trains"}, "project_slug 'Late-trains'", {"project_slug": "late"}),
        ({"project_slug": "-late"}, "project_slug", {"project_slug": "l-ate"}),
        ({"project_slug": "late-"}, "project_slug", {"project_slug": "9-late"}),
        ({"project_slug": "late_trains"}, "hyphens", {"project_slug": "late-9"}),
        ({"project_slug": "../late"}, "project_slug", {"project_slug": "late"}),
        ({"project_slug": "late\n"}, "U+000A", {"project_slug": "late"}),
        ({"project_slug": "züge"}, "a-z", {"project_slug": "zuge"}),
        ({"project_slug": "a" * 64}, "64 characters", {"project_slug": "a" * 63}),
        ({"project_slug": "-"}, "no letter or digit", {"project_slug": "a"}),
        ({"package_name": "9_lives"}, "package_name '9_lives'", {"package_name": "lives_9"}),
        ({"package_name": "late-trains"}, "underscores", {"package_name": "late_trains"}),
        ({"package_name": "Late"}, "small letter", {"package_name": "late"}),
        ({"package_name": "züge"}, "a-z", {"package_name": "zuge"}),
        ({"package_name": ""}, "package_name", {"package_name": "a"}),
        ({"package_name": "class"}, "class_model", {"package_name": "match"}),
        ({"package_name": "json"}, "json_model", {"package_name": "json_model"}),
        ({"package_name": "distutils"}, "hide", {"package_name": "distutil"}),
        ({"package_name": "numpy"}, "hide", {"package_name": "numpy_model"}),
        ({"package_name": "pandas"}, "hide", {"package_name": "panda"}),
        ({"package_name": "sklearn"}, "hide", {"package_name": "sk"}),
        ({"package_name": "dvc"}, "hide", {"package_name": "dvcs"}),
        ({"package_name": "ops"}, "hide", {"package_name": "mlops"}),
        ({"package_name": "tests"}, "hide", {"package_name": "tester"}),
        ({"package_name": "xgboost"}, "hide", {"package_name": "xgboost_model"}),
        ({"package_name": "sigstore"}, "hide", {"package_name": "sigstores"}),
        ({"package_name": "example"}, "hide", {"package_name": "examples"}),
        ({"project_slug": "scikit-learn"}, "scikit-learn-model", {"project_slug": "sklearn"}),
        ({"task": "clustering"}, "give one of them", {"task": "multiclass"}),
        ({"task": "Binary"}, "did you mean task=binary", {"task": "binary"}),
        ({"task": ""}, "none of auto, binary, multiclass", {"task": "regression"}),
        ({"python_version": "3.9"}, "3.11, 3.12, 3.13", {"python_version": "3.12"}),
        ({"python_version": "3.13.1"}, "did you mean python_version=3.13", {}),
        ({"license": "GPL"}, "give one of them", {"license": "Proprietary"}),
        ({"license": "Apache"}, "did you mean license=Apache-2.0", {"license": "Apache-2.0"}),
        ({"data_remote": ""}, "give the word branch", {"data_remote": "branch"}),
        ({"data_remote": "http://a/b"}, "no place", {"data_remote": "s3://bucket/b"}),
        ({"data_remote": "/mnt/data"}, "no place", {"data_remote": "ssh://mnt/data"}),
        ({"data_remote": "s3:/a1"}, "starts with s3://", {"data_remote": "s3://a1"}),
        ({"data_remote": "gs://"}, "cannot be read", {"data_remote": "gs://my-bucket/x/y"}),
        ({"data_remote": "s3://a b"}, "cannot be read", {"data_remote": "s3://a.b"}),
        ({"data_remote": "azure://a?x=1"}, "cannot be read", {"data_remote": "azure://box/x=1"}),
        ({"data_remote": "s3://a/#b"}, "cannot be read", {"data_remote": "s3://bucket/b"}),
        ({"data_remote": "s3://a/'b"}, "cannot be read", {"data_remote": "s3://bucket/"}),
        ({"data_remote": "ssh://host"}, "USER@HOST/PATH", {"data_remote": "ssh://jo@host:22/x"}),
        ({"data_remote": "ssh://jo:pw@host/x"}, "a password", {"data_remote": "ssh://host/x"}),
        ({"project_name": " "}, "project_name is empty", {"project_name": "9"}),
        ({"author_name": ""}, "author_name is empty", {"author_name": "é"}),
        ({"author_name": "A\x1b[31m"}, "U+001B", {"author_name": "A [31m"}),
        ({"author_name": "A\nB"}, "one line", {"author_name": "A B"}),
        ({"description": "a\u2028b"}, "U+2028", {"description": ""}),
        ({"description": "a\x85b"}, "U+0085", {"description": "a…b"}),
        ({"description": "a\ud800b"}, "U+D800", {"description": "a😀b"}),
        ({"project_name": "a\tb"}, "U+0009", {"project_name": "a b"}),
        ({"github_owner": "@"}, "github_owner '@'", {"github_owner": "octocat"}),
        ({"github_owner": "a b"}, "no GitHub user", {"github_owner": "@a-b"}),
        ({"github_owner": "acme/"}, "organisation/team", {"github_owner": "acme/ml.team"}),
        ({"github_owner": "a@x.org"}, "no GitHub user", {"github_owner": "@acme/ml"}),
        ({"github_owner": "-a"}, "no GitHub user", {"github_owner": "a_b"}),
        ({"github_owner": "a" * 40}, "no GitHub user", {"github_owner": "a" * 39}),
        ({"data": "a\0b"}, "U+0000", {}),
        ({"data": " "}, "data is empty", {}),
        ({"target": ""}, "target is empty", {"target": "arr_delay"}),
        ({"target": "Late"}, "did you mean target=late", {"target": "late"}),
        ({"target": " late"}, "did you mean target=late", {"target": "late"}),
        ({"target": "price"}, "and 10 more", {"target": "distance"}),
        ({"time_column": "timehour"}, "time_column=time_hour", {"time_column": "time_hour"}),
        ({"time_column": "late"}, "both 'late'", {"time_column": "year"}),
        ({"id_column": "flights"}, "id_column=flight", {"id_column": "flight"}),
        ({"id_column": "late"}, "id_column and target", {"id_column": "tailnum"}),
        (
            {"id_column": "hour", "time_column": "hour"},
            "id_column and time_column",
            {"id_column": "hour", "time_column": "minute"},
        ),
    ],
)
def test_answer(
    judge: Callable[..., str], red: dict[str, str], said: str, green: dict[str, str]
) -> None:
    assert said in judge(**red)
    assert judge(**green) == ""


@pytest.mark.parametrize(
    ("red", "said", "green"),
    [
        (b"", "is empty", CSV),
        (b"\n" + CSV, "starts with a blank line", CSV),
        (b"when,late\n", "no rows", b"when,late\n,\n"),
        (b"when,late\n\n  \n", "no rows", b"when,late\n\n1,0\n"),
        (b"when,late", "no rows", b"when,late\n1,0"),
        (b"late\n1\n", "only one column ('late')", b"a,late\n1,0\n"),
        (b"a:late\n1:0\n", "only one column", b"a;late\n1;0\n"),
        (b"a late\n1 0\n", "only one column", b"a\tlate\n1\t0\n"),
        (b"a/late\n1/0\n", "only one column", b"a|late\n1|0\n"),
        (b"a,late,late\n1,0,1\n", "more than one column 'late'", b"a,late,later\n1,0,1\n"),
        (b"a,late, late \n1,0,1\n", "more than one column 'late'", b"a, late \n1,0\n"),
        (b",unnamed_0,late\n1,1,1\n", "more than one column 'unnamed_0'", b",late\n1,1\n"),
        (b'"a\nb",late\n1,0\n', "column 1", b'"a, b",late\n1,0\n'),
        (b'a,late,"b\n1,0,1\n2,0,1\n', "quote", b'a,late,"b"\n1,0,1\n'),
        (b"a\x1b,late\n1,0\n", "control character", b"a,late\n\x1b,0\n"),
        (b"__row_id,late\n1,0\n", "keeps for itself", b"row_id,late\n1,0\n"),
        (b"a,lates\n1,0\n", "did you mean target=lates", b"a,late\r\n1,0\r\n"),
        (b"1.5,2.5\n1,0\n", "'1.5', '2.5'", b"a,late\r1,0\r"),
        ("é,late\n1,0\n".encode("latin-1"), "iconv -f WINDOWS-1252", "é,late\n1,0\n".encode()),
        (b"a,late\n1,0\n2,\xe9\n", "line 3 (byte 13)", "a,late\n1,0\n2,é\n".encode()),
        (b"a,late\n1,\xc3", "not UTF-8", b"a,late\n1,\xc3\xa9"),
        ("a,late\n1,0\n".encode("utf-16"), "iconv -f UTF-16", b"\xef\xbb\xbfa,late\n1,0\n"),
        ("a,late\n1,0\n".encode("utf-16-le"), "NUL byte", b'\xef\xbb\xbf"late",a\n1,0\n'),
        (b"a,late\n1,\0\n", "NUL byte in line 2", b"a,late\n1,0\n"),
        (b"PK\x03\x04....xl/workbook.xml", "an Excel workbook", b"PK,late\n1,0\n"),
        (b"PK\x03\x04....data.csv", "unzip", CSV),
        (b"\x1f\x8b\x08\x00", "gunzip", CSV),
        (b"BZh91AY", "bunzip2", b"BZ,late\n1,0\n"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel workbook", CSV),
        (b"\x80\x04\x95\x10\x00\x00\x00", "never loaded", CSV),
        (b"cos\nsystem\n(S'id'\ntR.", "never loaded", b"cos,late\nsystem,1\n"),
        (b'{"a": 1}', "JSON", b'"{a}",late\n1,0\n'),
        (b' [\n {"a": 1}]', "JSON", b"[a],[b],late\n1,2,0\n"),
        (b"<!DOCTYPE html>", "web page", b"<a>,late\n1,0\n"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", b"version,late\n1,0\n"),
        (PARQUET, "rename it to end in .parquet", CSV),
    ],
)
def test_csv(
    judge: Callable[..., str], tmp_path: Path, red: bytes, said: str, green: bytes
) -> None:
    data = tmp_path / "data.csv"
    data.write_bytes(red)
    assert said in judge(data=str(data))
    data.write_bytes(green)
    assert judge(data=str(data)) == ""


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b;c\n1,2;3\n", ["a", "b;c"]),
        (b"a;b,c;d\n1;2,3;4\n", ["a", "b,c", "d"]),
        (b'"a ""q""",\xc2\xa0b\xc2\xa0\n1,2\n', ['a "q"', "b"]),
        (b",a, ,b\n1,2,3,4\n", ["unnamed_0", "a", "unnamed_2", "b"]),
        (b"a,b\n" + b"x" * 300_000 + b",1\n", ["a", "b"]),
        ("日本,😀\n1,2\n".encode(), ["日本", "😀"]),
    ],
)
def test_column_names(hook: Any, tmp_path: Path, content: bytes, columns: list[str]) -> None:
    data = tmp_path / "data.txt"
    data.write_bytes(content)
    assert hook.columns_of(str(data)) == columns


def test_every_byte_up_to_the_limit_is_verified(
    hook: Any, judge: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk may end inside a letter, a bad byte may stand last, and behind the limit is free."""
    monkeypatch.setattr(hook, "CHUNK", 7)
    data = tmp_path / "data.csv"
    good = "a,late\n" + "éß😀,0\n" * 40
    data.write_text(good, encoding="utf-8")
    assert judge(data=str(data)) == ""
    data.write_bytes(good.encode() + b"\xff,1\n")
    assert f"line 42 (byte {len(good.encode())})" in judge(data=str(data))
    monkeypatch.setattr(hook, "MAX_VERIFIED", 140)
    assert judge(data=str(data)) == ""


def number(value: int) -> bytes:
    """Return ``value`` as Thrift writes a signed number in its compact protocol."""
    return size(value << 1)


def size(value: int) -> bytes:
    """Return ``value`` as Thrift writes an unsigned number in its compact protocol."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def parquet(*names: str, rows: int = 1, children: int = 0, repetition: int = 0) -> bytes:
    """Return a Parquet file without pages; ``children`` and ``repetition`` are of the last name."""
    elements = [b"\x48\x06schema\x15" + number(len(names)) + b"\x00"]
    for position, name in enumerate(names):
        last = position == len(names) - 1
        text = name.encode("utf-8", "surrogateescape")
        element = b"\x15\x04\x25" + number(repetition if last else 0)
        element += b"\x18" + size(len(text)) + text
        elements.append(
            element + (b"\x15" + number(children) if last and children else b"") + b"\0"
        )
    header = (
        bytes([len(elements) << 4 | 12]) if len(elements) < 15 else b"\xfc" + size(len(elements))
    )
    footer = (
        b"\x15\x04\x19" + header + b"".join(elements) + b"\x16" + number(rows) + b"\x19\x0c\x00"
    )
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("red", "said", "green"),
    [
        (parquet("a", "late", rows=0), "no rows", parquet("a", "late", rows=1)),
        (parquet("a", "late", children=2), "column 'late'", parquet("a", "late")),
        (parquet("a", "late", repetition=2), "nested", parquet("a", "late", repetition=1)),
        (parquet("late"), "only one column", parquet("a", "late")),
        (parquet("a", "late", "late"), "more than one", parquet("a", "late", "later")),
        (parquet("a\n", "la\nte"), "line break", parquet("a\n", " late")),
        (parquet("a", "\udcff", "late"), "damaged", parquet("a", "é", "late")),
        (parquet("", "lat"), "target=lat", parquet("", "late")),
        (parquet(*map(str, range(99))), "89 more", parquet("late", *map(str, range(3000)))),
        (PARQUET[:-1], "truncated", PARQUET),
        (PARQUET[:200], "truncated", PARQUET),
        (PARQUET[:-1] + b"2", "truncated", PARQUET),
        (b"PAR1", "truncated", PARQUET),
        (PARQUET[:-8] + b"\xff\xff\xff\xff" + b"PAR1", "truncated", PARQUET),
        (PARQUET[:-8] + b"\x02\x00\x00\x00" + b"PAR1", "damaged", PARQUET),
        (b"PARE" + PARQUET[4:], "encrypted", PARQUET),
        (CSV, "no Parquet file", PARQUET),
        (b"", "is empty", PARQUET),
        (b"\x80\x04\x95", "never loaded", PARQUET),
    ],
)
@pytest.mark.parametrize("ending", [".parquet", ".PQ"])
def test_parquet(
    judge: Callable[..., str], tmp_path: Path, red: bytes, said: str, green: bytes, ending: str
) -> None:
    data = tmp_path / f"data{ending}"
    data.write_bytes(red)
    assert said in judge(data=str(data))
    data.write_bytes(green)
    assert judge(data=str(data)) == ""


def test_real_parquet(hook: Any, bake: Callable[..., Any], tmp_path: Path) -> None:
    data = tmp_path / "data.parquet"
    data.write_bytes(PARQUET)
    assert hook.columns_of(str(data)) == ["when", "size", "kind", "late"]
    project = bake(data=str(data), target="late", time_column="when")
    assert (project.path / "data/source.parquet").read_bytes() == PARQUET
    assert f"size: {len(PARQUET)}" in project.read("data/source.parquet.dvc")


def spoiled(good: bytes, dice: random.Random) -> bytes:
    """Return ``good`` cut, changed in a few bytes, or replaced by noise."""
    match dice.randrange(4):
        case 0:
            return good[: dice.randrange(len(good))]
        case 1:
            return dice.randbytes(dice.randrange(64))
        case 2 if good.startswith(b"PAR1"):
            noise = dice.randbytes(dice.randrange(200))
            return b"PAR1" + noise + len(noise).to_bytes(4, "little") + b"PAR1"
    changed = bytearray(good)
    for _ in range(dice.randint(1, 8)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize(("name", "good"), [("x.parquet", PARQUET), ("x.csv", CSV * 5)])
def test_garbage_ends_in_a_sentence(
    judge: Callable[..., str], tmp_path: Path, name: str, good: bytes
) -> None:
    """Any other exception than a refusal fails this test; both outcomes do occur."""
    dice = random.Random(20261121)
    data = tmp_path / name
    outcomes = set()
    for _ in range(1500):
        data.write_bytes(spoiled(good, dice))
        outcomes.add(judge(data=str(data)) == "")
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("footer", "said"),
    [
        (b"\x1c" * 100_000, "nested too deeply"),
        (b"\x19\xf7" + b"\xff" * 8 + b"\x7f", "ends too early"),
        (b"\x19\xf5" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x1e", "no Thrift type"),
        (b"\x15\x04\x26\x02\x16\x02", "no schema"),
    ],
)
def test_malicious_footer_ends_soon(hook: Any, footer: bytes, said: str) -> None:
    """Neither the stack nor the memory is exhausted by what a footer claims."""
    with pytest.raises((IndexError, ValueError), match=said):
        hook.parse_footer(footer, "data.parquet")


def test_what_is_no_file(judge: Callable[..., str], tmp_path: Path) -> None:
    assert "was not found" in judge(data=str(tmp_path / "absent.csv"))
    assert "is a folder" in judge(data=str(tmp_path))
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no regular file" in judge(data=str(tmp_path / "pipe.csv"))
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    assert "was not found" in judge(data=str(tmp_path / "link.csv"))
    (tmp_path / "nowhere.csv").write_bytes(CSV)
    assert judge(data=str(tmp_path / "link.csv")) == ""


def test_unreadable_file(
    hook: Any, judge: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal of the system is played."""
    data = tmp_path / "data.csv"
    data.write_bytes(CSV)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    assert judge(data=str(data)) == ""
    monkeypatch.setattr(hook, "open", refuse, raising=False)
    assert "cannot be read (Permission denied)" in judge(data=str(data))


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("penguin.csv", "penguins.csv"),
        ("Penguins.CSV", "penguins.csv"),
        ("penguins", "penguins.csv"),
        ("penguins.xlsx", "penguins.csv"),
        ("late trians/data.csv", "Late Trains/data.csv"),
        ("late trains/inner/dat.csv", "Late Trains/inner/data.csv"),
        ("whales.csv", ""),
        ("nowhere/at/all.csv", ""),
        ("penguins.csv/x.csv", ""),
        ("Late Train", ""),  # a folder is no data
    ],
)
def test_a_path_that_is_nearly_right_gets_the_near_name(
    judge: Callable[..., str], tmp_path: Path, asked: str, near: str
) -> None:
    (tmp_path / "Late Trains/inner").mkdir(parents=True)
    for name in ("penguins.csv", "Late Trains/data.csv", "Late Trains/inner/data.csv"):
        (tmp_path / name).write_bytes(CSV)
    said = judge(data=str(tmp_path / asked))
    assert "was not found" in said
    assert ("did you mean" in said) == bool(near)
    assert f"did you mean data={tmp_path / near}, or give" in said or not near


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (
            "https://a.org/b/c.csv",
            "`curl -fL -o c.csv https://a.org/b/c.csv`, then give data=c.csv",
        ),
        ("HTTP://a.org/", "`curl -fL -o data.csv HTTP://a.org/`"),
        ("https://a.org/x y?z=$(id)", "`curl -fL -o 'x y' 'https://a.org/x y?z=$(id)'`"),
        ("https://jo:secret@a.org/c.csv", "`curl -fL -o c.csv https://a.org/c.csv`"),
        ("https://[a.csv", "download it first"),
        ("s3://bucket/c.parquet", "`aws s3 cp s3://bucket/c.parquet c.parquet`"),
        ("gs://bucket/c.csv", "`gcloud storage cp gs://bucket/c.csv c.csv`"),
        ("file:///tmp/c.csv", "copy the file here first"),
        ("postgresql://jo:secret@host/db", "copy the file here first"),
    ],
)
def test_an_address_is_to_be_downloaded_first(
    judge: Callable[..., str], url: str, command: str
) -> None:
    said = judge(data=url)
    assert command in said
    assert "secret" not in said


# Import names that differ from the name of the package; what is installed here is asked itself.
DIFFERENT = {
    "antlr4-python3-runtime": "antlr4",
    "atpublic": "public",
    "azure-core": "azure",
    "beautifulsoup4": "bs4",
    "databricks-sdk": "databricks",
    "dnspython": "dns",
    "gitpython": "git",
    "google-auth": "google",
    "grpcio": "grpc",
    "nats-py": "nats",
    "nvidia-ml-py": "pynvml",
    "proto-plus": "proto",
    "pyjwt": "jwt",
    "python-dateutil": "dateutil",
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "pyzmq": "zmq",
    "ruamel-yaml": "ruamel",
    "scikit-learn": "sklearn",
    "websocket-client": "websocket",
}


def test_no_package_of_a_lock_can_be_hidden(hook: Any, template_dir: Path) -> None:
    """Neither by its own name nor by one that it is imported by; add what is named to the hook."""
    project = template_dir / "{{cookiecutter.project_slug}}/requirements"
    locks = [*project.glob("*.txt"), *project.glob("*_lock*")]
    locks += (template_dir / "src/gatehouse/files/locks").glob("*.txt")
    assert len(locks) >= 13
    packages = {
        re.sub("[-_.]+", "-", name).lower()
        for path in locks
        for name in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==", path.read_text("utf-8"), re.MULTILINE)
    }
    assert {"scikit-learn", "deepchecks", "bentoml", "sigstore", "s3fs", "nats-py"} <= packages
    locked = {name.replace("-", "_") for name in packages}
    assert sorted(locked ^ set(hook.LOCKED.split())) == [], "hooks/pre_gen_project.py: LOCKED"
    imported = {module for name, module in DIFFERENT.items() if name in packages}
    for module, providers in importlib.metadata.packages_distributions().items():
        mine = {re.sub("[-_.]+", "-", name).lower() for name in providers}
        if mine & packages and re.fullmatch("[a-z][a-z0-9_]*", module):
            imported.add(module)
    taken = set(f"{hook.LOCKED} {hook.TAKEN}".split()) | sys.stdlib_module_names
    assert sorted(imported - taken) == [], "hooks/pre_gen_project.py: TAKEN"


def test_relative_path(
    judge: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the person stands and the folder around the project both count, but not two files."""
    here, out = tmp_path / "here", tmp_path / "out"
    (out / "late-trains").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(out / "late-trains")
    monkeypatch.setenv("PWD", str(here))
    assert "was not found" in judge(data="data.csv")
    (out / "data.csv").write_bytes(CSV)
    assert judge(data="data.csv") == ""
    (here / "data.csv").write_bytes(CSV)
    assert "give an absolute path" in judge(data="data.csv")
    assert judge(data=str(here / "data.csv")) == ""
    (out / "data.csv").unlink()
    assert judge(data="data.csv") == ""
    (out / "data.csv").symlink_to(here / "data.csv")
    assert judge(data="data.csv") == ""
    monkeypatch.setenv("HOME", str(here))
    assert judge(data="~/data.csv") == ""
    monkeypatch.delenv("PWD")
    assert judge(data="data.csv") == ""


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"project_name": "***"}, "no letter or digit"),
        ({"package_name": "9_lives"}, "package_name '9_lives'"),
        ({"task": "clustering"}, "task 'clustering'"),
        ({"python_version": "3.9"}, "python_version '3.9'"),
        ({"license": "GPL"}, "license 'GPL'"),
        ({"data": "https://a.org/c.csv"}, "download it first"),
        ({"data": "absent.csv", "target": "late"}, "was not found"),
        ({"target": "'''\"; exit 0 #"}, "target"),
    ],
)
def test_refusal_is_a_sentence_and_leaves_nothing_behind(
    template_dir: Path, tmp_path: Path, answers: dict[str, str], said: str
) -> None:
    done = generate(template_dir, tmp_path, answers)
    assert done.returncode == 1
    sentence, *after = done.stderr.splitlines()
    assert sentence.startswith("gatehouse: ")
    assert said in sentence
    assert [line for line in after if line] == ["Aborted!"]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def generate(
    template: Path, out: Path, answers: dict[str, str], **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter as a person does."""
    given = [f"{name}={text}" for name, text in answers.items()]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "-o", str(out), *given],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_refusal_where_interrupts_are_ignored(template_dir: Path, tmp_path: Path) -> None:
    """As of a shell's background job: cookiecutter says more then, and ends all the same."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    done = generate(template_dir, tmp_path, {"task": "clustering"}, preexec_fn=ignore)
    assert done.returncode == 1
    assert done.stderr.startswith("gatehouse: task 'clustering' is none of")
    assert list(tmp_path.iterdir()) == []


def test_refusal_keeps_what_was_there(template_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "flight-delays").mkdir()
    (tmp_path / "flight-delays/mine.txt").touch()
    command = [sys.executable, "-m", "cookiecutter", str(template_dir), "--no-input", "-f"]
    done = subprocess.run([*command, "-o", str(tmp_path), "task=no"], capture_output=True)
    assert done.returncode == 1
    assert (tmp_path / "flight-delays/mine.txt").is_file()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/python /usr/bin/cookiecutter x", True),
        ("python -m cookiecutter x", True),
        ("python -I -m cookiecutter x", True),
        ("cruft create x", True),
        ("python -m pytest cookiecutter", False),
        ("python generate.py cookiecutter", False),
        ("python", False),
    ],
)
def test_only_the_command_line_is_interrupted(
    hook: Any, monkeypatch: pytest.MonkeyPatch, command: str, expected: bool
) -> None:
    """From /proc, and where there is none by ps."""

    def words(*_: object, **__: object) -> Any:
        return io.StringIO("\0".join(command.split()) + "\0")

    def no_proc(*_: object, **__: object) -> Any:
        raise FileNotFoundError

    def ps(*_: object, **__: object) -> Any:
        return subprocess.CompletedProcess([], 0, stdout=f"{command}\n")

    monkeypatch.setattr(hook, "open", words, raising=False)
    assert hook.on_command_line() == expected
    monkeypatch.setattr(hook, "open", no_proc, raising=False)
    monkeypatch.setattr(subprocess, "run", ps)
    assert hook.on_command_line() == expected


def test_refusal_is_an_exception_for_callers(bake: Callable[..., Any]) -> None:
    with pytest.raises(FailedHookException):
        bake(target="price")
