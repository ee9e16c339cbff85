"""``deploy.yaml`` is read strictly: what cannot be followed is named, with the nearest known name."""

from pathlib import Path

import pytest
from projects import small_project
from stops import stops

from gatehouse.core.config.deploy import Place, environment, image_setting, load
from gatehouse.core.errors import Stop
from gatehouse.core.project import Project

USUAL = "image: {base: a, proxy: b, trial: c}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("STAGING_HOST", "IMAGE_REPOSITORY", "IMAGE_BASE"):
        monkeypatch.delenv(name, raising=False)
    small_project(tmp_path, "deploy.yaml", "pyproject.toml")
    return Project(tmp_path)


def test_what_is_generated_can_be_followed(project: Project) -> None:
    staging, production = (environment(project, name) for name in ("staging", "production"))
    assert (staging.port, staging.replicas, staging.bake_seconds) == (3001, 1, 10)
    assert (production.target, production.stack) == ("swarm", "flight-delays-production")
    assert image_setting(project, "repository") == ""
    assert load(project).signing.keys == "deploy/keys"


def test_the_environment_says_otherwise(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGING_HOST", "ssh://a@b")
    monkeypatch.setenv("IMAGE_REPOSITORY", "Registry/A")
    assert environment(project, "staging").host == "ssh://a@b"
    assert environment(project, "production").host == ""
    assert image_setting(project, "repository") == "registry/a"


def test_a_target_gets_what_it_wants_besides(project: Project) -> None:
    text = "environments: {staging: {target: kubernetes, context: c, namespace: n}}\n"
    (project / "deploy.yaml").write_text(USUAL + text, encoding="utf-8")
    assert environment(project, "staging").settings == {"context": "c", "namespace": "n"}
    with stops("deploy-no-environment"):
        environment(project, "production")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 2", "version: "),
        ("imagee: {}", r"imagee: there is no such field \(did you mean image\?\)"),
        ("image: {bases: a}", r"image.bases: there is no such field \(did you mean base\?\)"),
        ("environments: {prod: {}}", "environments.prod: there is no such field"),
        ("environments: {staging: {replica: 2}}", r"swarm has no field replica \(did you mean repl"),
        ("environments: {staging: {timeout: 2}}", "swarm has no field timeout"),
        ("environments: {staging: {target: swam}}", "target: 'swam' is none of swarm, compose"),
        ("environments: {staging: {port: '3001'}}", "staging.port: "),
        ("environments: {staging: {replicas: -1}}", "staging.replicas: "),
        ("environments: {staging: {bake_seconds: .nan}}", "staging.bake_seconds: "),
        ("environments: {staging: {port: 1, port: 2}}", "has a key twice"),
        ("signing: {required: 'true'}", "signing.required: "),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_named(project: Project, text: str, sentence: str) -> None:
    (project / "deploy.yaml").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(Stop, match=sentence) as stop:
        environment(project, "staging")
    assert (stop.value.exit_code, "\n" in str(stop.value)) == (2, False)


def test_defaults_are_those_of_the_docs() -> None:
    assert Place().model_dump() == {
        **{"target": "swarm", "host": "", "port": 3000, "replicas": 1, "bake_seconds": 60},
    }
