"""A trial on a real engine: who gets what, what clients notice, and what the verdict says.

The service is a stand-in of a few lines, so that it can be broken at will; records, verbs, proxy,
splitter and engine are real.
"""

import http.client
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from brokers import free_port
from engine import Load, docker, require_engine
from manifests import name_project
from projects import rendered

from gatehouse.core.project import Project

pytestmark = pytest.mark.slow

NAME = "trial-flights"
ROW = {"x": 1}
SERVICE = """\
import http.server, itertools, json, os, random
how, model, side = os.environ["HOW"], os.environ["MODEL"], os.environ.get("SIDE")
answer = {"prediction": how == "other", "model_digest": model}
lock = __import__("threading").Lock()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def reply(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.reply(200, {})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if how == "broken" and side and random.random() < 0.3:
            return self.reply(500, {})
        self.reply(200, [answer] if self.path == "/predict_batch" else answer)
        if side:
            line = {"id": self.headers["X-Request-Id"], "side": side, "prediction": [int(how == "other")]}
            with lock:
                print(json.dumps(line), flush=True)
    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

Server(("0.0.0.0", 3000), Handler).serve_forever()
"""
CHECK = "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"
MODELS = {how: f"sha256:{n:064x}" for n, how in enumerate(("good", "same", "other", "broken"))}


class World:
    """A project whose production runs, and images to try beside it."""

    def __init__(self, project: BakedProject, folder: Path) -> None:
        self.project, self.folder, self.port = project, folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def ops(self, *words: str, code: int | None = 0) -> str:
        done = self.project.run(sys.executable, "-m", "gatehouse.cli", *words, code=code)
        return done.stdout + done.stderr

    def verdict(self, code: int, *words: str) -> dict[str, Any]:
        done = self.project.run(
            *(sys.executable, "-m", "gatehouse.cli", "trial", "verdict", "--json"),
            *words,
            code=code,
        )
        content: dict[str, Any] = json.loads(done.stdout)
        content["states"] = {rule["name"]: rule["state"] for rule in content["rules"]}
        return content

    def release(self, environment: str, how: str) -> None:
        """Build the stand-in and write it into the record, past `promote`."""
        tag = f"{NAME}:{how}"
        said = {"image": tag, "model": MODELS[how], "blessing": MODELS["good"]}
        said["commit"] = self.project.git("rev-parse", "HEAD")
        (self.folder / "service.py").write_text(SERVICE)
        (self.folder / "Dockerfile").write_text(
            f"FROM {os.environ['BASE_IMAGE']}\nENV HOW={how} MODEL={MODELS[how]}\nUSER 10001\n"
            f"LABEL gatehouse.model={said['model']} gatehouse.blessing={said['blessing']} "
            f"org.opencontainers.image.revision={said['commit']}\n"
            "COPY service.py /service.py\nSTOPSIGNAL SIGKILL\n"
            f'HEALTHCHECK --interval=1s --retries=3 CMD ["python3", "-c", "{CHECK}"]\n'
            'ENTRYPOINT ["python3", "/service.py"]\n'
        )
        docker("build", "--quiet", "--tag", tag, str(self.folder))
        said["id"] = json.loads(docker("image", "inspect", tag))[0]["Id"]
        code = (
            "from gatehouse.core.project import Project\n"
            "from gatehouse.registry import record\n"
            "def decide(read):\n"
            f"    now = read({environment!r})\n"
            f"    return record.Record(**{said!r}, action='promote', data={{'test': {MODELS['good']!r}}},\n"
            "        who='a', why='', when='2026-11-27T17:00:00Z', previous=now and now.at)\n"
            f"record.change(Project(), {environment!r}, decide)\n"
        )
        self.project.run(sys.executable, "-c", code)
        answer = {"prediction": how == "other"}
        golden = {"model_digest": said["model"], "rows": [ROW], "answers": [answer]}
        (self.project.path / "predictions").mkdir(exist_ok=True)
        self.project.write("predictions/golden.json", json.dumps(golden))

    def start(self, how: str, mode: str, share: int) -> str:
        self.release("staging", how)
        return self.ops("trial", "start", "--mode", mode, "--share", str(share))

    def ask(self, count: int, keys: int = 0) -> list[tuple[int, str, str]]:
        """(status, model, key) of so many requests, four at a time."""

        def one(number: int) -> tuple[int, str, str]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            key = f"key-{number % keys}" if keys else ""
            headers = {"Content-Type": "application/json"} | ({"X-Assign-Key": key} if key else {})
            connection.request("POST", "/predict", json.dumps(ROW), headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            connection.close()
            return answer.status, said.get("model_digest", ""), key

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, range(count)))

    def lines(self) -> list[dict[str, Any]]:
        """What the splitter has written since the trial began, as far as it was read."""
        text = self.project.read("reports/trial.jsonl").splitlines()
        found = [json.loads(line) for line in text if line.startswith("{")]
        return [line for line in found if "uri" in line]

    def containers(self, service: str = "") -> list[str]:
        name = f"name={NAME}-production-trial_{service}"
        return docker("ps", "--quiet", "--filter", name).split()


@pytest.fixture(scope="module")
def world(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    require_engine()
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("trial")
    patch.setenv("PYTHONPATH", str(template_dir / "src"))
    patch.setenv("IMAGE_PROXY", os.environ["BASE_IMAGE"])
    patch.setenv("IMAGE_TRIAL", os.environ["BASE_IMAGE"])
    project = BakedProject(folder / "project")
    name_project(project.path, NAME)
    for name in ("deploy.yaml", "gates.yaml", "ml-canvas.yaml"):
        project.write(name, rendered(name))
    project.write("schema.yaml", "classes: ['false', 'true']\n")
    project.git("init", "--quiet", "-b", "main")
    project.git("add", ".")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    project.git(*who, "commit", "--quiet", "--message", "x")
    world = World(project, folder)
    project.replace("deploy.yaml", "port: 3000, replicas: 2", f"port: {world.port}, replicas: 2")
    project.replace("deploy.yaml", "bake_seconds: 60", "bake_seconds: 0")
    project.replace("gates.yaml", "p99_ms: 500", "p99_ms: 5000")  # of a machine that does more
    project.replace("gates.yaml", "requests: 1000", "requests: 150")
    project.replace("gates.yaml", "error_rate: 0.01, changed", "error_rate: 0.05, changed")
    world.release("production", "good")
    world.ops("deploy", "production")
    yield world
    docker("stack", "rm", f"{NAME}-production-trial", code=None)
    time.sleep(3)
    docker("stack", "rm", f"{NAME}-production", code=None)
    patch.undo()


def test_01_there_is_nothing_to_try_yet(world: World) -> None:
    assert "promote them first" in world.ops("trial", "start", code=2)
    world.release("staging", "good")
    assert "there is nothing to try" in world.ops("trial", "start", code=2)
    assert world.ops("trial", "status").strip() == "production: no trial"
    assert "0.01 to 50" in world.ops("trial", "start", "--share", "60", code=2)


def test_02_canary_gets_its_share_and_nobody_notices(world: World) -> None:
    with Load(world.address, ROW) as load:
        world.start("same", "canary", 20)
        seen = Counter(model for _, model, _ in world.ask(500))
    assert not load.failed
    assert set(seen) == {MODELS["good"], MODELS["same"]}
    assert abs(seen[MODELS["same"]] - 100) < 4 * math.sqrt(500 * 0.2 * 0.8)


@pytest.mark.gate("trial", "canary on a real engine", "open")
def test_03_a_good_canary_passes_once_there_are_enough(world: World) -> None:
    world.ask(1500)  # 268 of each side show that 99 % are in time
    found = world.verdict(0)
    sides = Counter(line["uri"] for line in world.lines())
    assert set(sides) == {"/.production", "/.champion", "/.candidate"}
    total = sum(sides.values())
    for side in ("/.champion", "/.candidate"):
        assert abs(sides[side] - 0.2 * total) < 4 * math.sqrt(total * 0.16)
    assert found["verdict"] == "pass"
    world.project.replace("gates.yaml", "requests: 150", "requests: 100000")
    assert world.verdict(1)["verdict"] == "inconclusive"
    world.project.replace("gates.yaml", "requests: 100000", "requests: 150")


def test_04_starting_again_changes_nothing_and_another_share_only_the_splitter(
    world: World,
) -> None:
    before = world.containers()
    world.ops("trial", "start", "--mode", "canary", "--share", "20")
    assert world.containers() == before
    with Load(world.address, ROW) as load:
        world.ops("trial", "start", "--mode", "canary", "--share", "40")
    assert not load.failed
    assert len({*world.containers()} & {*before}) == 2  # both sides are the same containers
    assert "canary 40 %" in world.ops("trial", "status")
    world.ops("trial", "start", "--mode", "shadow", "--share", "100")
    world.ask(20)
    assert world.verdict(1)["mode"] == "shadow"
    world.ops("trial", "start", "--mode", "canary", "--share", "40")


@pytest.mark.gate("trial", "canary on a real engine", "closed")
def test_05_a_canary_that_dies_hurts_nobody_and_fails(world: World) -> None:
    with Load(world.address, ROW) as load:
        time.sleep(2)
        for _ in range(2):
            docker("kill", *world.containers("candidate"))
            time.sleep(4)
        docker("kill", *world.containers("trial"))
        time.sleep(4)
    assert not load.failed
    assert world.verdict(1)["states"]["errors"] == "fail"


def test_06_stop_brings_plain_production_back(world: World) -> None:
    with Load(world.address, ROW) as load:
        world.ops("trial", "stop")
        world.ops("trial", "stop")
    assert not load.failed
    assert not world.containers()
    assert {model for _, model, _ in world.ask(40)} == {MODELS["good"]}
    assert world.verdict(1)["states"]["errors"] == "fail"  # of what was logged


def test_07_a_key_always_gets_the_same_side(world: World) -> None:
    world.start("same", "ab", 50)
    sides: dict[str, set[str]] = {}
    for status, model, key in world.ask(1000, keys=200):
        assert status == 200
        sides.setdefault(key, set()).add(model)
    assert {len(models) for models in sides.values()} == {1}
    tried = sum(models == {MODELS["same"]} for models in sides.values())
    assert abs(tried - 100) < 4 * math.sqrt(200 * 0.25)
    assert {model for _, model, _ in world.ask(50)} == {MODELS["good"]}  # without a key: production
    assert world.verdict(1)["states"]["value"] == "inconclusive"
    keys = {line["key"]: line["uri"] for line in world.lines()}
    world.ops("trial", "stop")
    world.ops("trial", "start", "--mode", "ab", "--share", "50")
    world.ask(200, keys=200)
    world.verdict(1)
    keys.pop("")
    assert keys == {line["key"]: line["uri"] for line in world.lines()}
    world.ops("trial", "stop")


def test_08_in_shadow_only_production_answers(world: World) -> None:
    with Load(world.address, ROW, rate=30) as load:
        world.start("same", "shadow", 100)
        asked = world.ask(400)
    assert not load.failed
    assert {model for _, model, _ in asked} == set(load.models) == {MODELS["good"]}
    found = world.verdict(0)
    assert found["states"]["changed"] == "pass"
    sides = Counter(line["uri"] for line in world.lines())
    assert sides["/.production"] == sides["/.champion"] == sides["/.candidate"] >= 400
    world.ops("trial", "start", "--mode", "shadow", "--share", "25")
    world.ask(400)
    world.verdict(0)
    more = Counter(line["uri"] for line in world.lines()) - sides
    assert abs(more["/.candidate"] - 100) < 4 * math.sqrt(400 * 0.25 * 0.75)


def test_09_shadow_sees_other_answers_and_errors(world: World) -> None:
    world.start("other", "shadow", 100)
    world.ask(200)
    states = world.verdict(1)["states"]
    assert (states["changed"], states["errors"]) == ("fail", "pass")
    with Load(world.address, ROW) as load:
        world.start("broken", "shadow", 100)
        world.ask(200)
    assert not load.failed
    assert world.verdict(1)["states"]["errors"] == "fail"


def test_10_errors_of_a_canary_reach_nobody_and_a_verdict_that_waits_ends_it(world: World) -> None:
    with Load(world.address, ROW) as load:
        world.start("broken", "canary", 50)
        assert world.verdict(1, "--wait", "120")["states"]["errors"] == "fail"
    assert not load.failed
    assert not world.containers()


def test_11_a_deploy_ends_a_trial(world: World) -> None:
    world.start("same", "canary", 50)
    world.ops("deploy", "production", code=None)  # its golden requests are those of the candidate
    assert not world.containers()
    assert {model for _, model, _ in world.ask(40)} == {MODELS["good"]}


@pytest.mark.parametrize("kubernetes", [True, False])
@pytest.mark.parametrize("mode", ["canary", "ab", "shadow"])
def test_the_splitter_can_read_what_is_written(kubernetes: bool, mode: str, tmp_path: Path) -> None:
    require_engine()
    from gatehouse.core.shipped import text as shipped
    from gatehouse.deploy.trial_stack import config

    text = config(mode, 12.5, "salt", kubernetes=kubernetes).replace(
        "server production", "server 127.0.0.1"
    )
    for side in ("champion", "candidate"):
        text = text.replace(f"server {side};", "server 127.0.0.1;")
    (tmp_path / "mode.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(shipped(Project(), "deploy/trial/nginx.conf"))
    archive = subprocess.run(
        ["tar", "-C", str(tmp_path), "-c", "."], capture_output=True, check=True
    )
    command = ["docker", "run", "--rm", "--interactive", os.environ["BASE_IMAGE"], "sh", "-c"]
    read = "mkdir /t && tar -x -C /t && nginx -t -e stderr -c /t/nginx.conf"
    done = subprocess.run([*command, read], input=archive.stdout, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
