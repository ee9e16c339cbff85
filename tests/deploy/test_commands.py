"""What Docker is told, without an engine: shipped files are laid out, the project's own come first."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manifests import eject, name_project

from gatehouse.core.project import Project

Said = list[tuple[tuple[str, ...], dict[str, Any], dict[str, str]]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def docker() -> tuple[Said, Callable[..., str]]:
    """What was said: the words, the variables, and the files beside the one that was named."""
    said: Said = []

    def run(*words: str, **variables: Any) -> str:
        named = next((Path(word) for word in words if word.endswith("yaml")), None)
        folder = named.parent if named else Path("nowhere")
        files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        read = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
        said.append((words, variables, read))
        return ""

    return said, run


def environment(target: str) -> Any:
    from gatehouse.core.config.deploy import Environment

    return Environment(name="staging", target=target, project="flights", proxy="haproxy:3")


def test_swarm_gets_the_stack_with_all_that_it_names(
    here: Path, docker: tuple[Said, Callable[..., str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.shipped import text
    from gatehouse.deploy import swarm

    said, run = docker
    monkeypatch.setattr(swarm, "docker", run)
    monkeypatch.setattr(swarm.Swarm, "_inspect", lambda _: None)
    digests = set()
    for own in (False, True):
        if own:
            eject("deploy/haproxy.cfg").write_text("# mine\n")
        swarm.Swarm(environment("swarm"))._deploy("flights:1")
        words, variables, files = said.pop()
        assert words[:3] == ("stack", "deploy", "--compose-file")
        assert files["stack.yaml"] == text(Project(), "deploy/stack.yaml")
        assert files["service.env"] == text(Project(), "deploy/service.env")
        assert files["haproxy.cfg"] == text(Project(), "deploy/haproxy.cfg")
        proxy = hashlib.sha256(files["haproxy.cfg"].encode()).hexdigest()[:12]
        assert variables["PROXY_CONFIG"] == proxy
        digests.add(proxy)
        assert not Path(words[3]).exists()
    assert len(digests) == 2


def test_compose_reads_beside_the_projects_own_file(
    here: Path, docker: tuple[Said, Callable[..., str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.shipped import text
    from gatehouse.deploy import compose
    from gatehouse.packaging import docker as engine

    said, run = docker
    monkeypatch.setattr(engine, "docker", run)
    target = compose.Compose(environment("compose"))
    target._up("flights:1")
    words, variables, files = said.pop()
    assert "--project-directory" not in words
    assert (variables["IMAGE"], variables["PORT"]) == ("flights:1", "3000")
    assert files == {"compose.yaml": text(Project(), "deploy/compose.yaml")}
    eject("deploy/compose.yaml").write_text("services: {}\n")
    target._up("flights:1")
    words, _, files = said.pop()
    assert words[words.index("--project-directory") + 1] == "deploy"
    assert files == {"compose.yaml": "services: {}\n"}


def test_a_trial_finds_the_settings_of_the_service_and_its_own_mode(
    here: Path, docker: tuple[Said, Callable[..., str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.deploy import trial_stack

    said, run = docker
    monkeypatch.setattr(trial_stack, "docker", run)
    monkeypatch.setattr(trial_stack, "running", lambda _: None)
    monkeypatch.setattr(trial_stack, "_wait", lambda _: None)
    (here / "deploy.yaml").write_text("image: {trial: nginx:1}\n")
    eject("deploy/service.env").write_text("SERVICE_UNUSUAL=refuse\n")
    settings: list[str] = []

    def deploy(*words: str, **variables: Any) -> str:
        if words[0] == "stack":
            stack = Path(words[words.index("--compose-file") + 1])
            settings.append((stack.parent.parent / "service.env").read_text())
            settings.append(Path(variables["MODE_FILE"]).read_text())
        return run(*words, **variables)

    monkeypatch.setattr(trial_stack, "docker", deploy)
    images = {"champion": "flights:1", "candidate": "flights:2"}
    trial_stack.start(Project(), environment("swarm"), images, "canary", 5, 1)
    assert [words[0] for words, _, _ in said] == ["info", "stack", "stack"]
    assert [variables["PROXIES"] for _, variables, _ in said[1:]] == ["0", "1"]
    assert settings[0] == "SERVICE_UNUSUAL=refuse\n"
    assert settings[1].endswith("{ default candidate:3000; }\n")
    assert said[1][2]["nginx.conf"].startswith("# What stands before production")
