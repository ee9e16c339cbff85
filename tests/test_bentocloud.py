"""The target ``bentocloud``: its commands against a stand-in, and the real command line logged out.

Nobody has an account here. The stand-in answers as the source of BentoML 1.4 says that the real
``bentoml deployment`` does; nothing was ever deployed with it.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject

V1, V2 = (f"registry.example/flights@sha256:{digit * 64}" for digit in "12")

STANDIN = f"""\
#!{sys.executable}
import json, pathlib, sys
path = pathlib.Path("cloud.json")
cloud = json.loads(path.read_text())
verb, words = sys.argv[2], sys.argv[3:]
if not cloud["context"]:
    sys.exit("Error: [deployment] `get` failed: No cloud context default found")
if cloud["down"]:
    sys.exit("Error: [deployment] `get` failed: All connection attempts failed")
if verb == "apply":
    name, value = words[-1].split("=", 1)
    bento = words[0].replace("latest", cloud["latest"])
    status = {{"status": cloud["next"].pop(0) if cloud["next"] else "running", "updated_at": "2026-11-27T17:00:00Z"}}
    config = {{"envs": [{{"name": name, "value": value}}]}}
    cloud["deployed"] = {{"bento": bento, "config": config, "status": status, "endpoint_urls": ["https://flights.example"]}}
elif cloud["deployed"]:
    print(json.dumps(cloud["deployed"]))
else:
    sys.exit("Error: [deployment] `get` failed: Deployment flights-production is not found: record not found")
path.write_text(json.dumps(cloud))
"""


@pytest.fixture
def cloud(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """An empty BentoCloud; called, it changes what it is."""
    program = here / ".venv-serve/bin/bentoml"
    program.parent.mkdir(parents=True)
    program.write_text(STANDIN, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("RETRY_SECONDS", "0")

    def change(image: str = "", **values: Any) -> Any:
        path = here / "cloud.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")
        if image:
            (here / "reports/image.json").write_text(json.dumps({"image": image}), "utf-8")
        return json.loads(path.read_text("utf-8"))

    (here / "cloud.json").write_text("{}", encoding="utf-8")
    change(V1, context=True, down=False, next=[], latest="a", deployed=None)
    return change


def target(**settings: Any) -> Any:
    from ops.deploy.bentocloud import BentoCloud
    from ops.deploy.settings import Environment

    return BentoCloud(
        Environment(name="production", target="bentocloud", host="", port=3000, replicas=1, project="flights", proxy="", settings=settings)
    )  # fmt: skip


def refusal(action: Callable[[], Any]) -> tuple[int, str]:
    from ops.console import Stop

    with pytest.raises(Stop) as stop:
        action()
    return stop.value.code, str(stop.value)


def test_it_deploys_the_bento_of_the_image(cloud: Callable[..., Any]) -> None:
    steps: list[str] = []
    assert target().running() is None
    target().apply(V1, steps.append)
    assert target().running() == (V1, 1, 1, "2026-11-27T17:00:00Z")
    with target().front() as address:
        assert address == "https://flights.example"
    assert steps[-1] == "flights-production: running"


def test_another_image_than_the_one_made_here_is_refused(cloud: Callable[..., Any]) -> None:
    code, said = refusal(lambda: target().apply(V2, print))
    assert (code, said.startswith(f"the Bento here is not that of {V2}")) == (2, True)
    assert cloud()["deployed"] is None


def test_what_fails_is_taken_back(cloud: Callable[..., Any]) -> None:
    target().apply(V1, print)
    cloud(V2, next=["image-build-failed", "running"], latest="b")
    code, said = refusal(lambda: target().apply(V2, print))
    assert (code, "flights-production is image-build-failed" in said) == (1, True)
    assert target().running().image == V1
    assert cloud()["deployed"]["bento"] == "flights:a"


def test_nobody_is_logged_in(cloud: Callable[..., Any]) -> None:
    cloud(context=False)
    for action in (target().running, lambda: target().apply(V1, print)):
        code, said = refusal(action)
        assert (code, said.endswith("run `.venv-serve/bin/bentoml cloud login`")) == (2, True)


def test_it_cannot_be_reached(cloud: Callable[..., Any]) -> None:
    cloud(down=True)
    code, said = refusal(target().running)
    assert (code, "All connection attempts failed" in said) == (3, True)
    Path(".venv-serve/bin/bentoml").unlink()
    assert refusal(target().running)[0] == 3


@pytest.mark.slow
def test_the_real_command_line_knows_these_words_and_says_that_nobody_is_logged_in(
    environments: BakedProject, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".venv-serve").symlink_to(environments.path / ".venv-serve")
    (here / "reports/image.json").write_text(json.dumps({"image": V1}), encoding="utf-8")
    monkeypatch.setenv("BENTOML_HOME", str(here / "bentoml"))
    for name in [name for name in os.environ if name.startswith("BENTO_CLOUD")]:
        monkeypatch.delenv(name)
    one = target()
    for action in (one.running, lambda: one.apply(V1, print), lambda: one._bring("a:b", V1, print)):
        code, said = refusal(action)
        assert (code, "nobody is logged in" in said) == (2, True), said
