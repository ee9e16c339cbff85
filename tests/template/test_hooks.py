"""What the hooks do with good answers: inert texts, data in place, one commit, never fatal."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

HOSTILE = (
    "'\"; touch owned; rm -rf $(touch owned) `touch owned` #",
    "'''\"\"\"); open('owned', 'w') #",
    "\\' + str(open('owned', 'w')) + '\\",
    "{{ cookiecutter.project_slug }} {% raw %} {# no #} {%- endraw -%}",
    "key: [value, *alias] # comment & !tag | > % @",
    "<!-- ${{ github.token }} --> %s {0} \\u0041 \\N{DIGIT ONE}",
    "Žluťoučký 中文 😀 \U0001f9ea \u200b-rtl-\u05d0",
)
KEEP = 'git add . && git commit -m "First model"'
ROWS = "2024-01-01,1.5,true\n2024-01-02,2.5,false\n"
NO_CONFIG = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


def literal(text: str) -> str:
    """Return an answer that cookiecutter, which renders answers given to it, takes as ``text``."""
    return "{{ " + ascii(text) + " }}"


def write_csv(path: Path, *names: str) -> Path:
    """Write two rows under three column names and return the path."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(names or ("day", "size", "late"))
    path.write_text(header.getvalue() + ROWS, encoding="utf-8")
    return path


@pytest.fixture
def generate(template_dir: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run cookiecutter as a person does; ``options`` reach subprocess.run."""
    out = tmp_path / "out"
    out.mkdir()

    def generate(
        options: dict[str, Any] | None = None, **answers: str
    ) -> subprocess.CompletedProcess[str]:
        given = [f"{name}={text}" for name, text in answers.items()]
        command = [sys.executable, "-m", "cookiecutter", str(template_dir), "--no-input"]
        command += ["-o", str(out)]
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "env": {**os.environ}}
        return subprocess.run(
            [*command, *given],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **settings | (options or {}),
        )

    return generate


def git(folder: Path, *arguments: str) -> str:
    """Return what git says in ``folder``."""
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_inert(bake: Callable[..., Any], tmp_path: Path, text: str) -> None:
    """In the free texts, in the names of columns and in the name of the data file."""
    columns = [f"{prefix} {text}" for prefix in ("when", "id", "target")]
    folder = tmp_path / "here"
    folder.mkdir()
    # Enough plain columns for the comma to win over the semicolons and bars in the hostile ones.
    data = write_csv(folder / f"{text.replace('/', ' ')}.csv", *columns, *"abcdefghijklmnop")
    project = bake(
        project_name=literal(text),
        project_slug="safe",
        package_name="safe",
        description=literal(text),
        author_name=literal(text),
        data=literal(str(data)),
        time_column=literal(columns[0]),
        id_column=literal(columns[1]),
        target=literal(columns[2]),
    )
    assert project.path.name == "safe"
    assert (project.path / "data/source.csv").read_bytes() == data.read_bytes()
    assert project.git("log", "-1", "--format=%s").strip() == f"Generate {text} from Gatehouse"
    assert list(tmp_path.rglob("owned")) == []
    assert not Path("owned").exists()
    schema = yaml.safe_load(project.read("schema.yaml"))
    assert [schema["time_column"], schema["id_column"], schema["target"]] == columns
    for path in project.path.rglob("*"):
        if path.suffix in (".yaml", ".yml"):
            assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path
        elif path.suffix == ".toml":
            assert tomllib.loads(path.read_text(encoding="utf-8")), path
        elif path.suffix == ".py":
            assert compile(path.read_text(encoding="utf-8"), path, "exec"), path


def derive(template_dir: Path, **answers: str) -> dict[str, Any]:
    """Return all answers as cookiecutter derives them from the given ones."""
    questions = generate_context(str(template_dir / "cookiecutter.json"), extra_context=answers)
    return dict(prompt_for_config(questions, no_input=True))


@pytest.mark.parametrize(
    ("name", "slug", "package"),
    [
        ("Flight Delays", "flight-delays", "flight_delays"),
        ("Vorhersage für Züge", "vorhersage-fur-zuge", "vorhersage_fur_zuge"),
        ("O'Reilly & Söhne", "o-reilly-sohne", "o_reilly_sohne"),
        ("北京 天气", "bei-jing-tian-qi", "bei_jing_tian_qi"),
        ("long " * 40, "-".join(["long"] * 10), "_".join(["long"] * 10)),
        ("***", "-", "_"),
        ("2024", "2024", "model_2024"),
        ("9 lives", "9-lives", "model_9_lives"),
        ("Null", "null", "null"),
    ],
)
def test_names_are_derived(template_dir: Path, name: str, slug: str, package: str) -> None:
    answers = derive(template_dir, project_name=name)
    assert (answers["project_slug"], answers["package_name"]) == (slug, package)


@pytest.mark.parametrize(
    ("data", "source", "target", "example", "fetch"),
    [
        ("example", "data/source.csv", "late", "yes", "fetch.py"),
        ("example.csv", "data/source.csv", "", "", ""),
        ("a.data", "data/source.csv", "", "", ""),
        ("a.parquet", "data/source.parquet", "", "", ""),
        ("A.PQ", "data/source.parquet", "", "", ""),
        ("a.parquet.csv", "data/source.csv", "", "", ""),
    ],
)
def test_what_the_data_decides(
    template_dir: Path, data: str, source: str, target: str, example: str, fetch: str
) -> None:
    answers = derive(template_dir, data=data)
    found = [answers[name] for name in ("__source", "target", "__example", "__fetch_file")]
    assert found == [source, target, example, fetch]


def test_questions_are_explained(template_dir: Path) -> None:
    """Each question has a sentence, one with choices lists them, and no other prompt is there."""
    questions = json.loads((template_dir / "cookiecutter.json").read_text(encoding="utf-8"))
    prompts = questions.pop("__prompts__")
    asked = {name: value for name, value in questions.items() if not name.startswith("_")}
    assert list(prompts) == list(asked)
    # cookiecutter ends in a traceback where a variable with choices is given another word.
    assert all(isinstance(value, str) for value in asked.values())
    choices = load_hook(template_dir, "pre_gen_project").CHOICES
    for name, words in choices.items():
        assert asked[name] == words[0]
        assert re.findall(r"\[bold\](.+?)\[/\]: \S", prompts[name]) == list(words)
    assert [name for name, text in prompts.items() if "[bold]" in text] == list(choices)


def test_an_answer_at_the_prompt_that_is_no_choice(template_dir: Path, tmp_path: Path) -> None:
    """Return at each question but one: all are shown with their choices, the hook refuses."""
    answers = "\n" * 7 + "classification\n" + "\n" * 7
    command = [sys.executable, "-m", "cookiecutter", str(template_dir), "-o", str(tmp_path)]
    done = subprocess.run(command, input=answers, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "regression: a number\n    Write one of these words (auto): " in done.stdout
    assert done.stderr.startswith("gatehouse: task 'classification' is none of auto, binary")
    assert list(tmp_path.iterdir()) == []


def test_data_is_copied_with_its_pointer(bake: Callable[..., Any], tmp_path: Path) -> None:
    data = write_csv(tmp_path / "a.data")
    project = bake(data=str(data), target="late")
    content = data.read_bytes()
    assert (project.path / "data/source.csv").read_bytes() == content
    assert project.read("data/source.csv.dvc") == (
        f"outs:\n- md5: {hashlib.md5(content).hexdigest()}\n  size: {len(content)}\n"
        "  hash: md5\n  path: source.csv\n"
    )
    committed = project.git("ls-files").split()
    assert "data/source.csv.dvc" in committed
    assert "data/source.csv" not in committed
    assert not any(name.endswith("fetch.py") for name in committed)
    assert project.git("status", "--porcelain") == ""
    assert project.git("branch", "--show-current").strip() == "main"
    assert project.git("log", "--format=%s").strip() == "Generate Flight Delays from Gatehouse"


def test_many_chunks_are_copied_and_hashed(template_dir: Path, tmp_path: Path) -> None:
    """More than one chunk, and the last one not full."""
    hook = load_post_hook(template_dir)
    content = os.urandom(hook.CHUNK * 2 + 12_345)
    (tmp_path / "from").write_bytes(content)
    copied = hook.copy_data(str(tmp_path / "from"), str(tmp_path / "to"))
    assert copied == (hashlib.md5(content).hexdigest(), len(content))
    assert (tmp_path / "to").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"from", "to"}


def test_commit_waits_for_the_data(
    template_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git is prepared while the data is copied, however long that takes."""
    hook = load_post_hook(template_dir)

    def copy_slowly(*_: str) -> tuple[str, int]:
        time.sleep(0.5)
        return "0" * 32, 1

    monkeypatch.setattr(hook, "copy_data", copy_slowly)
    monkeypatch.chdir(tmp_path)
    answers = {"data": "a.csv", "__source": "data/source.csv"}
    hook.main(answers | {"project_name": "Late", "author_name": "Ada"}, str(template_dir))
    assert git(tmp_path, "ls-files") == "data/source.csv.dvc"


def test_example_has_a_pointer_and_no_data(bake: Callable[..., Any]) -> None:
    project = bake()
    assert "md5: aec9c406a2ecf5717b2efb8605510b0f\n  size: 31053850\n" in project.read(
        "data/source.csv.dvc"
    )
    assert not project.has_file("data/source.csv")


def test_author_stands_in_for_a_missing_identity(
    bake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in IDENTITY:
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_CONFIG.items():
        monkeypatch.setenv(name, value)
    project = bake(author_name="Ada Lovelace")
    who = project.git("log", "-1", "--format=%an <%ae>").strip()
    assert who == "Ada Lovelace <noreply@example.invalid>"


def test_own_identity_is_respected(
    bake: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without an e-mail address is kept too, and only the address is filled in."""
    for name in IDENTITY:
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Grace\n\temail = grace@example.org\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    seen = bake(author_name="Ada").git("log", "-1", "--format=%an <%ae>").strip()
    assert seen == "Grace <grace@example.org>"
    config.write_text("[user]\n\tname = Grace\n", encoding="utf-8")
    seen = bake(author_name="Ada").git("log", "-1", "--format=%an <%ae>").strip()
    assert seen == "Grace <noreply@example.invalid>"


def test_project_inside_a_repository(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q")
    done = generate()
    project = tmp_path / "out" / "flight-delays"
    assert done.returncode == 0
    assert f"lies in the git repository {tmp_path}" in done.stdout
    assert done.stdout.endswith(f"make pipeline gate\n  {KEEP}\n  make serve\n")
    assert not (project / ".git").exists()
    assert (project / "data/source.csv.dvc").is_file()
    assert git(tmp_path, "status", "--porcelain") == "?? out/"


def test_variables_of_a_running_git_are_ignored(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Generated from a git hook or an alias, the commit must not land in that repository."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    around = {"GIT_DIR": str(other / ".git"), "GIT_INDEX_FILE": str(other / ".git/index")}
    assert generate({"env": os.environ | around}).returncode == 0
    assert git(tmp_path / "out/flight-delays", "status", "--porcelain") == ""
    assert not (other / ".git/index").exists()


def test_git_is_missing(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    data = write_csv(tmp_path / "a.csv")
    done = generate(
        {"env": os.environ | {"PATH": str(tmp_path)}},
        data=str(data),
        target="late",
        project_name="It's",
    )
    project = tmp_path / "out" / "it-s"
    warnings = done.stderr.splitlines()
    assert done.returncode == 0
    assert len(warnings) == 1
    assert "git was not found" in warnings[0]
    assert (project / "data/source.csv").is_file()
    assert not (project / ".git").exists()
    mend = warnings[0].split("run `")[1].split("`")[0]
    subprocess.run(mend, shell=True, cwd=project, check=True, capture_output=True)
    assert git(project, "log", "--format=%s") == "Generate It's from Gatehouse"


def test_commit_fails(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A commit hook from the person's git template says no."""
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\necho not\necho today >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    done = generate({"env": os.environ | {"GIT_TEMPLATE_DIR": str(hooks.parent)}})
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "there is no first commit" in done.stderr
    assert "today" in done.stderr
    assert git(tmp_path / "out/flight-delays", "status", "--porcelain").startswith("A ")


def full_at(limit: int) -> Callable[[], None]:
    """A limit on the size of files stands in for a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_disk_has_no_room_for_the_library(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = generate({"preexec_fn": full_at(1 << 20)})
    assert done.returncode == 0
    assert re.match(r"gatehouse: warning: vendor/gatehouse_ml-\S+ is not in place", done.stderr)
    assert list((tmp_path / "out/flight-delays/vendor").iterdir()) == []


def test_disk_is_full(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The project is kept all the same."""
    data = tmp_path / "a.csv"
    data.write_text("day,size,late\n" + ROWS * 60_000, encoding="utf-8")

    done = generate({"preexec_fn": full_at(9 << 18)}, data=str(data), target="late")
    project = tmp_path / "out" / "flight-delays"
    warnings = done.stderr.splitlines()
    assert done.returncode == 0
    assert len(warnings) == 1
    assert "data/source.csv is not in place" in warnings[0]
    assert f"cp {data} data/source.csv" in warnings[0]
    assert [path for path in (project / "data").iterdir() if "source" in path.name] == []
    assert git(project, "status", "--porcelain") == ""


def test_nobody_reads_the_output(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """As in ``cookiecutter ... | head -0``: the project must not be removed for that."""
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = generate({"stdout": writer, "env": buffered})
    os.close(writer)
    assert done.returncode == 0
    assert git(tmp_path / "out/flight-delays", "status", "--porcelain") == ""


def test_output_is_closed(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = generate({"preexec_fn": lambda: os.close(1)}, author_name="Ada")
    assert done.returncode == 0
    assert git(tmp_path / "out/flight-delays", "status", "--porcelain") == ""


def test_terminal_without_unicode(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PATH": str(tmp_path)}
    done = generate({"env": environment}, project_name="Züge")
    assert done.returncode == 0
    assert "Z\\xfcge" in done.stderr


def test_relative_data_from_where_the_person_stands(
    generate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    write_csv(here / "a.csv")
    done = generate(
        {"cwd": here, "env": os.environ | {"PWD": str(here)}}, data="a.csv", target="late"
    )
    project = tmp_path / "out" / "flight-delays"
    assert done.returncode == 0
    assert (project / "data/source.csv").read_bytes() == (here / "a.csv").read_bytes()


def test_next_commands_work_from_where_the_person_stands(
    template_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = load_post_hook(template_dir)
    project = tmp_path / "my out" / "late"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    for stands, way in (
        (tmp_path / "my out", "late"),
        (tmp_path, "'my out/late'"),
        (tmp_path / "else", f"'{project}'"),
    ):
        monkeypatch.setenv("PWD", str(stands))
        assert hook.next_steps().splitlines() == [
            "Generated. Next:",
            f"  cd {way}",
            "  make setup",
            "  make pipeline gate",
            f"  {KEEP}",
            "  make serve",
        ]


def load_post_hook(template_dir: Path) -> Any:
    """Return the post-generation hook as a module."""
    return load_hook(template_dir, "post_gen_project")


def load_hook(template_dir: Path, name: str) -> Any:
    """Return a hook as a module; they are plain Python before they are rendered, too."""
    spec = importlib.util.spec_from_file_location(name, template_dir / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
