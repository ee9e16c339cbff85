"""Verbs ``deploy`` and ``rollback``: bring an environment to what the record says.

The record says what shall run. Before the switch one container of the release, which nobody is sent
to, must answer golden requests as offline; the engine replaces the old ones only by healthy ones;
then the release is watched. Where any of it fails, the record goes back, and the engine with it.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gatehouse.core.config.deploy import Environment, environment
from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.rules import is_number
from gatehouse.core.console import paint, say
from gatehouse.core.errors import CLOSED, GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.layout import GOLDEN
from gatehouse.core.project import Project
from gatehouse.packaging.docker import run
from gatehouse.packaging.golden_requests import HEADERS, read_golden, wait_ready, wrong
from gatehouse.registry import mirror, record
from gatehouse.registry.promote import back, restore, told
from gatehouse.registry.record import Record, short
from gatehouse.registry.sign import check_image
from gatehouse.vcs.data_branch import refresh
from gatehouse.vcs.dvc import dvc_get

from .target import Target
from .targets import target_of
from .trial_stack import end as end_trial
from .watch import watch

LABELS = {
    "model": "gatehouse.model",
    "blessing": "gatehouse.blessing",
    "commit": "org.opencontainers.image.revision",
}


def deploy(project: Project, name: str) -> int:
    """Run what the record of ``name`` says; exit 1 where it is not good: the one before runs."""
    where = environment(project, name)
    release = record.read(project, name, record.tip(project))
    if release is None:
        raise Stop(
            "nothing-promoted", f"nothing was promoted to {name}: run `make promote TO={name}`"
        )
    target, clock = target_of(where), Clock(name)
    end_trial(where)
    clock(f"shall run {told(release)}, {release.action}d by {release.who}")
    found = target.running()
    golden = golden_of(project, release)
    if found and found.image == release.image and found.healthy >= found.wanted:
        clock("runs already")
        seconds = 0.0
    else:
        try:
            fit_to_run(project, target, where, release, golden, clock)
            clock("replacing containers")
            target.apply(release.image, clock)
        except Stop as stop:
            raise _return(project, name, release, None, clock, stop) from None
        seconds = where.bake_seconds
    with target.front() as address:
        why = _after(project, address, golden, seconds, clock)
    if why:
        bad = Stop("release-refused", f"{short(release.image)} is not good: {why}", CLOSED)
        raise _return(project, name, release, target, clock, bad)
    return _good(clock, release)


def rollback(project: Project, name: str, why: str) -> int:
    """Back to the release before: first the record, or the engine alone where that is far."""
    where = environment(project, name)
    target, clock = target_of(where), Clock(name)
    end_trial(where)
    lag: Stop | None = None
    try:
        release = _release_before(project, name, why, target)
    except Stop as stop:
        if stop.exit_code != INFRASTRUCTURE:
            raise
        lag, now = stop, record.written(project, name, record.tip(project, fetch=False))
        if (known := record.before(project, name, now)) is None:
            raise Stop(
                "no-way-back", f"{stop}; and no release before is known here", INFRASTRUCTURE
            ) from None
        release = known
        say(f"rollback: the record is out of reach ({stop}); going back by the copy here")
    clock(f"back to {told(release)}")
    check_image(project, release.content())
    target.apply(release.image, clock)
    with target.front() as address:
        wait_ready(address, 30)
    _good(clock, release)
    if lag:
        raise Stop(
            "record-lags",
            f"it runs, but the record lags: `make rollback ENV={name}` again ({lag})",
            INFRASTRUCTURE,
        )
    mirror.mirror(project, "rollback")
    return GOOD


def _release_before(project: Project, name: str, why: str, target: Target) -> Record:
    """What the record says from now on; of a rollback that was cut short, what it said already."""
    now = record.written(project, name, record.tip(project))
    if now and now.action == "rollback":
        found = target.running()
        if found is None or found.image != now.image:
            return record.of_main(project, name, now)
    return back(project, name, why, only=now)


class Clock:
    """Tells what happens, and how many seconds in."""

    def __init__(self, name: str) -> None:
        self.name, self.start = name, time.monotonic()

    def __call__(self, what: str) -> None:
        """One step."""
        say(f"{self.name} {time.monotonic() - self.start:5.1f} s  {what}")


def golden_of(project: Project, release: Record) -> dict[str, Any]:
    """Golden requests of a release: those here if they are of its model, else from DVC."""
    if (project / GOLDEN).exists():
        golden = read_golden(project / GOLDEN, old=True)
        if golden["model_digest"] == release.model:
            return golden
    refresh(project, "deploy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GOLDEN.name
        dvc_get(project, str(GOLDEN), release.commit, path)
        golden = read_golden(path, old=True)
    if golden["model_digest"] != release.model:
        raise Stop(
            "golden-of-other-model",
            f"the golden requests of {release.commit[:9]} are of another model",
        )
    return golden


def keys() -> dict[str, str]:
    """Headers of a request; SERVICE_KEY is sent where the service asks for keys."""
    key = os.environ.get("SERVICE_KEY")
    return HEADERS | ({"X-API-Key": key} if key else {})


def fit_to_run(
    project: Project,
    target: Target,
    where: Environment,
    release: Record,
    golden: dict[str, Any],
    clock: Clock,
) -> None:
    """Stop (1) where the image is not what the record says, or does not answer as offline."""
    check_image(project, release.content())
    if where.target in ("swarm", "compose"):
        if not target.present(release.image):
            raise Stop(
                "image-missing",
                f"{release.image} is neither here nor in its registry",
                INFRASTRUCTURE,
            )
        done = run("image", "inspect", release.image, host=where.host)
        found = json.loads(done.stdout)[0]
        labels = found["Config"].get("Labels") or {}
        said = {name: labels.get(label) for name, label in LABELS.items()}
        said["id"] = found["Id"]
        for name, value in said.items():
            if value != getattr(release, name):
                raise Stop(
                    "image-differs",
                    f"{short(release.image)} has {name} {short(str(value))}, the record says "
                    f"{short(getattr(release, name))}: it is not deployed",
                    CLOSED,
                )
    seconds = gates_section(project, "image").get("startup_seconds")
    if seconds is None or not is_number(seconds):
        raise Stop(
            "gate-no-rule",
            "gates.yaml has no image.startup_seconds: say how many are allowed",
            CLOSED,
        )
    with target.alone(release.image) as address:
        clock("asking golden requests of one container that has no traffic")
        wait_ready(address, seconds)
        if why := wrong(address, golden, HEADERS):
            raise Stop(
                "release-wrong-answers",
                f"{short(release.image)} is healthy but wrong: {why}",
                CLOSED,
            )


def _after(
    project: Project, address: str, golden: dict[str, Any], seconds: float, clock: Clock
) -> str:
    try:
        wait_ready(address, 30)
    except Stop as stop:
        return str(stop)
    if why := wrong(address, golden, keys()):
        return why
    if seconds:
        clock(f"answers as offline; watching it for {seconds:g} s")
        return watch(project, address, golden, seconds, keys(), clock)
    return ""


def _return(
    project: Project, name: str, release: Record, target: Target | None, clock: Clock, stop: Stop
) -> Stop:
    """Put the record back, and the engine where it runs the release; what to tell of it."""
    if stop.exit_code != CLOSED:
        return stop  # nobody knows whether the release is bad: the same again will tell
    why = f"{release.image.rpartition(':')[2][:12]} failed: {stop}"
    try:
        old = restore(project, name, release.previous, why) if release.previous else None
        if old and target:
            clock(f"back to {told(old)}")
            target.apply(old.image, clock)
    except Stop as second:
        return Stop("no-way-back", f"{stop}; and going back failed: {second}", INFRASTRUCTURE)
    if old is None:
        return Stop("no-way-back", f"{stop}; there is no release before it", CLOSED)
    sys.stdout.write(f"{paint('BACK', 'red')}: {name} runs {told(old)}\n")
    return Stop("release-refused", str(stop), CLOSED)


def _good(clock: Clock, release: Record) -> int:
    clock("done")
    sys.stdout.write(f"{paint('RUNS', 'green')}: {clock.name} runs {told(release)}\n")
    sys.stdout.flush()
    return GOOD
