"""What comes out of cookiecutter: exactly these files, complete, with nothing of ours left in."""

import re
import subprocess
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from baked import BakedProject
from conftest import Bake, bake_into
from cookiecutter.main import cookiecutter

EVERYWHERE = [
    ".github/CODEOWNERS",
    ".github/dependabot.yml",
    ".github/pull_request_template.md",
    ".github/ruleset-records.json",
    ".github/ruleset.json",
    ".github/settings.json",
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".python-version",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "data/.gitignore",
    "data/source.csv.dvc",
    "dvc.yaml",
    "gates.yaml",
    "ml-canvas.yaml",
    "params.yaml",
    "pyproject.toml",
    "schema.yaml",
    "deploy/Dockerfile",
    "deploy/haproxy.cfg",
    "deploy/trial/candidate/kustomization.yaml",
    "deploy/trial/champion/kustomization.yaml",
    "deploy/trial/kustomization.yaml",
    "deploy/trial/mode.conf",
    "deploy/trial/network.yaml",
    "deploy/trial/nginx.conf",
    "deploy/trial/service.yaml",
    "deploy/trial/splitter.yaml",
    "deploy/trial/stack.yaml",
    "deploy/service.env",
    "deploy/settings.yaml",
    "deploy/stack.yaml",
    "requirements/bento.in",
    "requirements/bento.txt",
    "requirements/checks.in",
    "requirements/checks.txt",
    "requirements/serve-skops.in",
    "requirements/serve-skops.txt",
    "requirements/serve.in",
    "requirements/serve.txt",
    "requirements/sign.in",
    "requirements/sign.txt",
    "requirements/train.in",
    "requirements/train.txt",
    "ops/__init__.py",
    "ops/__main__.py",
    "ops/batch/__init__.py",
    "ops/batch/answers.py",
    "ops/batch/log.py",
    "ops/batch/sinks.py",
    "ops/batch/source.py",
    "ops/branch.py",
    "ops/monitor/__init__.py",
    "ops/monitor/clock.py",
    "ops/monitor/history.py",
    "ops/training.py",
    "ops/training_facts.py",
    "ops/github/alerts.py",
    "ops/github/issues.py",
    "ops/github/training.py",
    "ops/github/webhook.py",
    ".github/workflows/ct.yml",
    ".github/workflows/monitor.yml",
    "ops/canvas.py",
    "ops/deploy/__init__.py",
    "ops/deploy/deploy.py",
    "ops/deploy/docker.py",
    "ops/deploy/golden.py",
    "ops/deploy/replay.py",
    "ops/deploy/settings.py",
    "ops/deploy/swarm.py",
    "ops/deploy/target.py",
    "ops/deploy/trial.py",
    "ops/deploy/trial_log.py",
    "ops/deploy/trial_stack.py",
    "ops/deploy/trial_verdict.py",
    "ops/deploy/watch.py",
    "ops/image/__init__.py",
    "ops/image/audit.py",
    "ops/image/build.py",
    "ops/image/probe.py",
    "ops/image/sbom.py",
    "ops/catalogue.py",
    "monitor.yaml",
    "deploy/grafana/dashboard.json",
    "deploy/grafana/rules.yaml",
    "ops/monitor/__init__.py",
    "ops/monitor/clock.py",
    "ops/monitor/deep.py",
    "ops/monitor/labels.py",
    "ops/monitor/log.py",
    "ops/monitor/log_files.py",
    "ops/monitor/log_lines.py",
    "ops/monitor/moved.py",
    "ops/monitor/numbers.py",
    "ops/monitor/window.py",
    "ops/monitor/page.py",
    "ops/monitor/performance.py",
    "ops/monitor/quality.py",
    "ops/monitor/records.py",
    "ops/monitor/reference.py",
    "ops/monitor/settings.py",
    "ops/champion.py",
    "ops/console.py",
    "deploy/compose.yaml",
    "deploy/kubernetes/base/account.yaml",
    "deploy/kubernetes/base/autoscaler.yaml",
    "deploy/kubernetes/base/deployment.yaml",
    "deploy/kubernetes/base/disruption.yaml",
    "deploy/kubernetes/base/kustomization.yaml",
    "deploy/kubernetes/base/network.yaml",
    "deploy/kubernetes/base/service.yaml",
    "deploy/kubernetes/overlays/production/kustomization.yaml",
    "deploy/kubernetes/overlays/staging/kustomization.yaml",
    "ops/deploy/__init__.py",
    "ops/deploy/bentocloud.py",
    "ops/deploy/compose.py",
    "ops/deploy/docker.py",
    "ops/deploy/kubernetes.py",
    "ops/deploy/settings.py",
    "ops/deploy/target.py",
    "ops/digests.py",
    "ops/doctor.py",
    "ops/explain.py",
    "ops/findings.py",
    "ops/folder.py",
    "ops/git.py",
    "ops/github/__init__.py",
    "ops/github/api.py",
    "ops/github/comment.py",
    "ops/github/keys.py",
    "ops/github/settings.py",
    "ops/github/setup.py",
    ".github/workflows/batch.yml",
    ".github/workflows/cd.yml",
    ".github/workflows/ci.yml",
    ".github/workflows/report.yml",
    "ops/github/oidc.py",
    "ops/github/release.py",
    "ops/github/review.py",
    "ops/model_tests.py",
    "ops/monitor/__init__.py",
    "ops/monitor/arrays.py",
    "ops/monitor/domain.py",
    "ops/monitor/drift.py",
    "ops/monitor/estimate.py",
    "ops/packages.py",
    "ops/personal.py",
    "ops/deploy/__init__.py",
    "ops/release/__init__.py",
    "ops/release/mirror.py",
    "ops/release/promote.py",
    "ops/release/record.py",
    "ops/release/status.py",
    "ops/report/__init__.py",
    "ops/report/cards.py",
    "ops/report/data-card.md.j2",
    "ops/report/model-card.md.j2",
    "ops/report/markdown.py",
    "ops/report/page.py",
    "ops/report/plots.py",
    "ops/release/__init__.py",
    "ops/release/keys.py",
    "ops/release/provenance.py",
    "ops/release/mirror.py",
    "ops/release/promote.py",
    "ops/release/record.py",
    "ops/release/sign.py",
    "ops/release/status.py",
    "ops/report/sections.py",
    "ops/results.py",
    "ops/review/__init__.py",
    "ops/review/answers.py",
    "ops/run_checks.py",
    "ops/schema_init.py",
    "ops/source.py",
    "ops/storage.py",
    "ops/strict_yaml.py",
    "ops/checks/__init__.py",
    "ops/checks/__main__.py",
    "ops/checks/deep.py",
    "ops/checks/exact.py",
    "ops/checks/files.py",
    "ops/checks/inputs.py",
    "ops/checks/checks.yaml",
    "ops/checks/judged.py",
    "ops/checks/measures.py",
    "ops/checks/rules.py",
    "ops/gates/__init__.py",
    "ops/gates/blessing.py",
    "ops/gates/data.py",
    "ops/gates/metric_table.py",
    "ops/gates/predictions.py",
    "ops/gates/rules.py",
    "ops/gates/schema.py",
    "ops/gates/slices.py",
    "ops/gates/statistics.py",
    "ops/gates/thresholds.py",
    "ops/gates/verdict.py",
    "src/PACKAGE/__init__.py",
    "src/PACKAGE/arrays.py",
    "src/PACKAGE/baseline.py",
    "src/PACKAGE/blessed.py",
    "src/PACKAGE/catalogued.py",
    "src/PACKAGE/cells.py",
    "src/PACKAGE/choose.py",
    "src/PACKAGE/client.py",
    "src/PACKAGE/client_form.py",
    "src/PACKAGE/evaluate.py",
    "src/PACKAGE/explain.py",
    "src/PACKAGE/golden.py",
    "src/PACKAGE/edges.py",
    "src/PACKAGE/features.py",
    "src/PACKAGE/infer.py",
    "src/PACKAGE/ingest.py",
    "src/PACKAGE/metrics.py",
    "src/PACKAGE/model.py",
    "src/PACKAGE/onnx_model.py",
    "src/PACKAGE/params.py",
    "src/PACKAGE/parity.py",
    "src/PACKAGE/predict.py",
    "src/PACKAGE/round_trip.py",
    "src/PACKAGE/schema.py",
    "src/PACKAGE/search.py",
    "src/PACKAGE/service/__init__.py",
    "src/PACKAGE/service/__main__.py",
    "src/PACKAGE/service/access.py",
    "src/PACKAGE/service/app.py",
    "src/PACKAGE/service/arrow.py",
    "src/PACKAGE/service/bento.py",
    "src/PACKAGE/service/body.py",
    "src/PACKAGE/service/direct.py",
    "src/PACKAGE/service/inputs.py",
    "src/PACKAGE/service/lines.py",
    "src/PACKAGE/service/log.py",
    "src/PACKAGE/service/log_lines.py",
    "src/PACKAGE/service/log_store.py",
    "src/PACKAGE/service/numbers.py",
    "src/PACKAGE/service/page.css",
    "src/PACKAGE/service/page.html",
    "src/PACKAGE/service/page.js",
    "src/PACKAGE/service/pages.py",
    "src/PACKAGE/service/precomputed.py",
    "src/PACKAGE/service/predictor.py",
    "src/PACKAGE/service/protocol.py",
    "src/PACKAGE/service/requests.py",
    "src/PACKAGE/service/server.py",
    "src/PACKAGE/service/settings.py",
    "src/PACKAGE/split.py",
    "src/PACKAGE/splits.py",
    "src/PACKAGE/stage.py",
    "src/PACKAGE/table.py",
    "src/PACKAGE/train.py",
    "src/PACKAGE/wheel.py",
    "src/PACKAGE/written.py",
    "tests/conftest.py",
    "tests/code/test_features.py",
    "tests/code/test_model.py",
    "tests/code/test_split.py",
    "tests/data/test_split_files.py",
    "tests/model/behaviour.yaml",
    "tests/model/conftest.py",
    "tests/model/test_behaviour.py",
    "tests/model/test_budget.py",
    "tests/model/test_missing_values.py",
    "tests/model/test_model_files.py",
    "tests/service/test_service.py",
]
JINJA = r"(?<!\$)\{\{(?!\.|json |index )|\{%"
EXAMPLE_ONLY = {"data/fetch.py", "requirements/example.txt"}
OWN_TABLE = "a,b,y\n1,x,0\n2,y,1\n"


def expected(package: str) -> set[str]:
    return {name.replace("PACKAGE", package) for name in EVERYWHERE}


def test_the_example_has_exactly_these_files(example: BakedProject) -> None:
    assert example.files() == expected("flight_delays") | EXAMPLE_ONLY


def test_an_own_table_has_exactly_these_files(bake: Bake, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(OWN_TABLE)
    project = bake(data=str(table), target="y", project_name="My Model")
    assert project.files() == expected("my_model") | {"data/source.csv"}
    assert project.read("data/source.csv") == OWN_TABLE


@pytest.mark.parametrize("kind", ["s3", "gs", "azure", "ssh"])
def test_another_data_remote_brings_the_lock_of_its_plug_in(bake: Bake, kind: str) -> None:
    project = bake(data_remote=f"{kind}://place/folder")
    more = {"requirements/remote.in", "requirements/remote.txt"}
    assert project.files() == expected("flight_delays") | EXAMPLE_ONLY | more
    assert f"url = {kind}://place/folder\n" in project.read(".dvc/config")
    assert project.read("requirements/remote.in").endswith(f"-c train.txt\ndvc-{kind}\n")
    [plug_in] = re.findall(r"^dvc-\w+", project.read("requirements/remote.txt"), re.MULTILINE)
    assert plug_in == f"dvc-{kind}"


@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
def test_a_broker_brings_the_consumer_and_the_lock_of_its_client(bake: Bake, kind: str) -> None:
    project = bake(broker=kind)
    more = {
        "requirements/consumer.in",
        "requirements/consumer.txt",
        "src/flight_delays/service/brokers.py",
        "src/flight_delays/service/consumer.py",
    }
    assert project.files() == expected("flight_delays") | EXAMPLE_ONLY | more
    assert f"faststream[{kind}]" in project.read("requirements/consumer.in")
    lock = project.read("requirements/consumer.txt")
    client = {"nats": "nats-py", "redis": "redis", "kafka": "aiokafka"}[kind]
    assert re.search(rf"^{client}==", lock, re.MULTILINE)
    assert "://" not in lock
    served = pins(project, "serve-skops")
    mine = pins(project, "consumer")
    shared = mine.keys() & served.keys()
    assert {"numpy", "onnxruntime", "pydantic"} <= shared
    assert {name: mine[name] for name in shared} == {name: served[name] for name in shared}
    assert "consume " in project.make().stdout


def test_without_a_broker_nothing_speaks_of_one(example: BakedProject) -> None:
    for name in ("Makefile", "README.md"):
        assert not re.search("faststream|consume:|make consume", example.read(name)), name


@pytest.fixture(scope="module")
def plain_name(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example under a name that nothing reads as anything else; to be read, not changed."""
    names = {"project_slug": "zebra-slug", "package_name": "zebra_package"}
    return bake_into(tmp_path_factory.mktemp("plain"), **names)


LICENSES = {
    "MIT": "Permission is hereby granted",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "Redistribution and use",
    "Proprietary": "All rights reserved",
}


@pytest.mark.parametrize(
    ("task", "python", "terms"),
    [
        *product(["auto", "binary", "multiclass", "regression"], ["3.11"], ["MIT"]),
        *product(["auto"], ["3.12", "3.13"], ["MIT"]),
        *product(["auto"], ["3.11"], ["Apache-2.0", "BSD-3-Clause", "Proprietary"]),
    ],
)
def test_every_answer_reaches_its_place(bake: Bake, task: str, python: str, terms: str) -> None:
    project = bake(task=task, python_version=python, license=terms, author_name="Ada & Co")
    assert project.yaml("schema.yaml")["task"] == task
    assert project.read(".python-version").strip() == python
    assert LICENSES[terms] in project.read("LICENSE")
    if terms != "Apache-2.0":
        assert "Ada & Co" in project.read("LICENSE")


@pytest.mark.parametrize("target", ["late", "arr_delay", "air_time"])
def test_the_example_ignores_what_is_known_only_after_landing(bake: Bake, target: str) -> None:
    project = bake(target=target)
    ignored = set(project.yaml("schema.yaml")["ignore"])
    assert ignored == {"arr_delay", "arr_time", "air_time"} - {target}
    derived = project.yaml("params.yaml")["ingest"]["derive_target"]
    assert (derived is not None) == (target == "late")


def test_nothing_of_the_template_is_left(example: BakedProject) -> None:
    for name in example.files():
        if name.endswith(".j2"):  # templates of the cards, for the project itself to render
            continue
        text = example.read(name)
        # A workflow has expressions of its own, with a dollar sign in front.
        # Docker's templates begin with a dot, or with a function of theirs; Grafana's are names.
        jinja = r"\{%" if name.startswith("deploy/grafana/") else JINJA
        assert not re.search(jinja, text), name
        assert "cookiecutter" not in text.lower(), name


def test_every_yaml_and_toml_file_is_valid(example: BakedProject) -> None:
    names = [name for name in example.files() if name.endswith((".yaml", ".yml", ".dvc"))]
    assert len(names) >= 5
    for name in names:
        assert isinstance(yaml.safe_load(example.read(name)), dict), name
    assert tomllib.loads(example.read("pyproject.toml"))["project"]["name"] == "flight-delays"


def renamed(value: Any, old: str, new: str) -> Any:
    """The same with another name in every text of it."""
    if isinstance(value, dict):
        return {renamed(key, old, new): renamed(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, old, new) for inner in value]
    return value.replace(old, new) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("Null", "null"),
        ("2024", "model_2024"),
        ("On", "on"),
        ("1e3", "model_1e3"),
        ("Yes", "yes"),
        ("0x1F", "model_0x1f"),
        ("2024-01-02", "model_2024_01_02"),
        ("true", "true"),
    ],
)
def test_a_name_that_yaml_and_toml_may_read_otherwise_stays_text(
    bake: Bake, plain_name: BakedProject, name: str, package: str
) -> None:
    project = bake(project_name=name)
    places = set()
    slug = name.lower()
    for file in plain_name.files():
        if not file.endswith((".yaml", ".yml", ".toml")):
            continue
        parse = (
            tomllib.loads if file.endswith(".toml") else lambda text: [*yaml.safe_load_all(text)]
        )
        plain = parse(plain_name.read(file))
        expected = renamed(renamed(plain, "zebra_package", package), "zebra-slug", slug)
        assert parse(project.read(file)) == expected, file
        places |= {file} if expected != plain else set()
    assert {"params.yaml", "pyproject.toml", "deploy/kubernetes/base/kustomization.yaml"} <= places


def test_locks_are_hashed_and_name_no_host(example: BakedProject) -> None:
    least = {"serve": 20, "serve-skops": 30, "bento": 50, "train": 150, "checks": 100}
    for name, few in least.items():
        lock = example.read(f"requirements/{name}.txt")
        pins = re.findall(r"^[A-Za-z0-9][^ \n]*==", lock, re.MULTILINE)
        hashed = re.findall(r"^[A-Za-z0-9][^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE)
        assert len(pins) == len(hashed) > few
        assert "://" not in lock
        assert "index-url" not in lock


def pins(project: BakedProject, name: str) -> dict[str, set[str]]:
    """The versions of a lock; more than one where Pythons differ."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ \n]+)",
        project.read(f"requirements/{name}.txt"),
        re.MULTILINE,
    ):
        found.setdefault(package, set()).add(version)
    return found


def test_train_and_serve_share_versions(example: BakedProject) -> None:
    train, serve, skops = (pins(example, name) for name in ("train", "serve", "serve-skops"))
    bento = pins(example, "bento")
    assert "bentoml" in bento
    assert not bento.keys() & serve.keys()
    assert {n: bento[n] for n in bento.keys() & skops.keys()} == {
        n: skops[n] for n in bento.keys() & skops.keys()
    }
    assert {"numpy", "onnxruntime", "pydantic"} <= train.keys() & serve.keys()
    assert {"scikit-learn", "pandas", "skops"} <= train.keys() & skops.keys()
    assert not {"scikit-learn", "pandas", "skops"} & serve.keys()
    for lock in (serve, skops):
        shared = train.keys() & lock.keys()
        assert {n: train[n] for n in shared} == {n: lock[n] for n in shared}


def test_make_alone_prints_help(example: BakedProject) -> None:
    targets = ["setup", "check", "pipeline", "gate", "serve", "predict", "bento", "ui", "lock"]
    said = example.make().stdout
    assert all(re.search(rf"^ +{target} ", said, re.MULTILINE) for target in targets)


def test_the_machinery_knows_no_science_and_science_no_machinery(example: BakedProject) -> None:
    for name in example.files():
        if name.startswith("src/") and name.endswith(".py"):
            assert not re.search(r"^\s*(from|import) ops\b", example.read(name), re.MULTILINE), name
        if name.startswith("ops/") and name.endswith(".py"):
            assert "flight_delays" not in example.read(name), name


def test_checks_import_nothing_of_the_rest(example: BakedProject) -> None:
    for name in example.files():
        if name.startswith("ops/checks/") and name.endswith(".py"):
            text = example.read(name).replace("from ..gates.metric_table import ", "")
            assert not re.search(r"^\s*(from \.\.|from ops|import ops)", text, re.M), name
    # One definition of each metric, which wants NumPy alone.
    shared = example.read("ops/gates/metric_table.py")
    assert not re.search(r"^\s*(from \.|from ops|import ops|import pandas)", shared, re.M)
    assert example.read("ops/gates/__init__.py").count("import") == 0


def test_git_ignores_no_file_of_the_template(template_dir: Path) -> None:
    # The ignore rules meant for generated projects hold in the template's own folders, too.
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=template_dir, capture_output=True, text=True, check=True)
    inside = [name for name in done.stdout.split("\0") if name.startswith("{{")]
    assert inside == []


def test_a_folder_that_a_repository_ignores_gets_one_of_its_own(
    template_dir: Path, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n", encoding="utf-8")
    for folder in ("ignored", "watched"):
        cookiecutter(str(template_dir), no_input=True, output_dir=str(tmp_path / folder))
    assert (tmp_path / "ignored/flight-delays/.git").is_dir()
    assert not (tmp_path / "watched/flight-delays/.git").exists()
