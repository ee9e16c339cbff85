"""The stack of a trial in Docker Swarm: candidate, a champion of its own, and what splits requests.

The proxy of the environment finds the splitter by its name and sends all requests there; it takes
the service itself again once the splitter is gone. So neither a start nor an end of a trial touches
production.
"""

import hashlib
import json
import time
from typing import Any

from gatehouse.core import shipped
from gatehouse.core.config.deploy import Environment, image_setting
from gatehouse.core.console import say
from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.project import Project
from gatehouse.packaging.docker import docker, run

SIDES = ("champion", "candidate")
MODES = ("canary", "shadow", "ab")
WAIT_SECONDS = 90
STEADY = 5  # looks, so that what dies at once is seen


def config(mode: str, share: float, salt: str, *, kubernetes: bool = False) -> str:
    """``mode.conf`` of the splitter: who gets what, and under which addresses they are found."""
    # Canary and shadow draw for each request; ab by the key, so that it always gets the same side.
    drawn = {"canary": "$side", "ab": "$of_key", "shadow": "$copied"}[mode]
    by = "$http_x_assign_key" if mode == "ab" else "$request_id"
    parts = f"    {share:g}% candidate;\n    {share:g}% champion;\n    * production;\n"
    if mode == "shadow":
        parts = f'    {share:g}% 1;\n    * "";\n' if share < 100 else "    * 1;\n"
    elif share == 50:
        parts = "    50% candidate;\n    * champion;\n"
    lines = [f'split_clients "{salt}{by}" {drawn} ' + "{\n" + parts + "}"]
    fixed = {"mode": mode}
    if mode == "ab":
        lines.append('map $http_x_assign_key $side { "" production; default $of_key; }')
    if mode == "shadow":
        fixed["side"] = "production"
        lines.append("mirror /.champion;\nmirror /.candidate;")
    else:
        fixed["copied"] = "1"
    for name in ("production", *SIDES):
        fixed[name] = name if kubernetes else {"production": "app"}.get(name, name) + ":3000"
        if kubernetes:
            lines.append(f"upstream {name} " + "{ server " + name + "; }")
    if not kubernetes:
        lines.append("resolver 127.0.0.11 valid=1s ipv6=off;\nresolver_timeout 1s;")
    lines += [f'map "" ${name} ' + "{ default " + value + "; }" for name, value in fixed.items()]
    return "\n".join(lines) + "\n"


def start(
    project: Project, where: Environment, images: dict[str, str], mode: str, share: float, size: int
) -> None:
    """Bring the trial up, or to this mode and share; requests come once both sides are healthy."""
    now = running(where)
    if now and {side: now[side] for side in SIDES} != images:
        end(where)
        now = None
    salt = hashlib.sha256(images["candidate"].encode()).hexdigest()[:8]
    text = config(mode, share, salt)
    with shipped.laid_out(project, "deploy") as folder:
        nginx = (folder / "trial/nginx.conf").read_bytes()
        (path := folder / "trial/mode.conf").write_text(text, encoding="utf-8")
        variables = {
            "STACK": where.stack,
            "NODE": docker("info", "--format", "{{.Swarm.NodeID}}", host=where.host),
            "PROXY": image_setting(project, "trial"),
            "REPLICAS": str(size),
            "MODE": mode,
            "SHARE": f"{share:g}",
            "MODE_FILE": str(path),
            "MODE_DIGEST": hashlib.sha256(text.encode()).hexdigest()[:12],
            "NGINX_DIGEST": hashlib.sha256(nginx).hexdigest()[:12],
        } | {side.upper(): image for side, image in images.items()}
        for proxies in ("1",) if now else ("0", "1"):
            docker(
                *("stack", "deploy", "--compose-file", str(folder / "trial/stack.yaml")),
                *("--with-registry-auth", "--resolve-image", "never", f"{where.stack}-trial"),
                host=where.host,
                given=None,
                **variables,
                PROXIES=proxies,
            )
            _wait(where)


def end(where: Environment) -> bool:
    """Take the trial away, so that production answers alone; False where there was none."""
    if where.target != "swarm" or not _services(where):
        return False
    # First what splits: whoever still has a request there gets his answer.
    docker("service", "rm", f"{where.stack}-trial_trial", host=where.host)
    time.sleep(2)  # until the proxy has noticed
    docker("stack", "rm", f"{where.stack}-trial", host=where.host)
    until = time.monotonic() + WAIT_SECONDS
    while _containers(where) and time.monotonic() < until:
        time.sleep(0.3)
    say(f"trial: ended, {where.name} answers alone")
    return True


def running(where: Environment) -> dict[str, Any] | None:
    """Images, mode and share of the trial; None without one."""
    services = _services(where)
    if not services:
        return None
    ids = docker("service", "inspect", *services, host=where.host)
    found = {one["Spec"]["Name"].rpartition("_")[2]: one["Spec"] for one in json.loads(ids)}
    if not {*SIDES, "trial"} <= set(found):
        return dict.fromkeys((*SIDES, "mode", "share"), "")
    labels = found["trial"]["Labels"]
    images = {side: found[side]["TaskTemplate"]["ContainerSpec"]["Image"] for side in SIDES}
    return {**images, "mode": labels.get("mode", ""), "share": float(labels.get("share") or 0)}


def logs(where: Environment) -> str:
    """Every line that the splitter and both sides wrote; also those that have ended."""
    # Not `docker service logs`: it waits for ever where a container has just died.
    ids = _containers(where, "--all").split()
    return "\n".join(docker("logs", id_, host=where.host) for id_ in ids)


def _services(where: Environment) -> dict[str, str]:
    """Of each service how many of its containers run, as 1/2; empty without a trial."""
    form = "{{.Name}}\t{{.Replicas}}"
    only = f"label=com.docker.stack.namespace={where.stack}-trial"
    done = run("service", "ls", "--filter", only, "--format", form, host=where.host)
    # An engine that is not in swarm mode has no trial.
    pairs = (line.split("\t") for line in done.stdout.splitlines())
    return {name: replicas.split()[0] for name, replicas in pairs}


def _containers(where: Environment, *words: str) -> str:
    only = f"label=com.docker.stack.namespace={where.stack}-trial"
    return docker("ps", *words, "--quiet", "--filter", only, host=where.host)


def _wait(where: Environment) -> None:
    until, said, steady = time.monotonic() + WAIT_SECONDS, "", 0
    while time.monotonic() < until:
        services = _services(where)
        counts = [count.split("/") for count in services.values()]
        steady = steady + 1 if all(count[0] == count[1] for count in counts) else 0
        if steady == STEADY:
            return
        short = (f"{name.rpartition('_')[2]} {count}" for name, count in services.items())
        if (now := ", ".join(short)) != said:
            say(f"trial: {(said := now)}")
        time.sleep(0.3)
    end(where)
    raise Stop(
        "trial-unhealthy",
        f"the trial did not become healthy in {WAIT_SECONDS} s ({said}): it was ended",
        CLOSED,
    )
