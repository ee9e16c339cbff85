"""Verbs about releases: the image, the record, what runs where."""

import os
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from gatehouse.core import environments
from gatehouse.core.errors import GOOD, Stop

from .app import DAILY, HERE, RELEASE, verb
from .model import Json, serving_parts
from .run import all_of, own, program


class Place(StrEnum):
    """Where releases run."""

    staging = "staging"
    production = "production"


class Mode(StrEnum):
    """How a trial shares requests."""

    canary = "canary"
    shadow = "shadow"
    ab = "ab"


class Trial(StrEnum):
    """What is done with a trial."""

    start = "start"
    status = "status"
    verdict = "verdict"
    stop = "stop"
    config = "config"


Where = Annotated[Place, typer.Argument(help="Where.")]
Why = Annotated[str, typer.Option(metavar="TEXT", envvar="WHY", help="Written into the record.")]


def _signing() -> None:
    """What signs and verifies, where somebody signs."""
    from gatehouse.registry.sign import used

    if used(HERE):
        environments.ensure("train", "sign")


@verb(DAILY)
def image(as_json: Json = False) -> int:
    """Build the serving image, start it, measure it, push it."""
    from gatehouse.packaging.image import image, refuse_unblessed

    refuse_unblessed(HERE)  # before anything is installed for it
    _signing()
    environments.ensure("serve", *serving_parts())
    return image(HERE, as_json=as_json)


@verb(RELEASE)
def audit() -> int:
    """Known vulnerabilities of the packages in the image: asks osv.dev."""
    from gatehouse.packaging.audit import SBOM, audit

    return audit(HERE, SBOM)


@verb(DAILY)
def promote(
    to: Annotated[Place, typer.Option(help="Who shall run it.")],
    why: Why = "",
    as_json: Json = False,
) -> int:
    """Name the blessed image in the record."""
    from gatehouse.registry.promote import promote

    return promote(HERE, to.value, why, as_json=as_json)


@verb(DAILY)
def deploy(environment: Where) -> int:
    """Run what the record says, watch it, go back where it is not good."""
    from gatehouse.deploy.rollout import deploy

    _signing()
    return deploy(HERE, environment.value)


@verb(DAILY)
def rollback(environment: Where, why: Why = "") -> int:
    """Go back to the release before."""
    from gatehouse.deploy.rollout import rollback

    _signing()
    return rollback(HERE, environment.value, why)


@verb(DAILY)
def status(
    as_json: Json = False,
    html: Annotated[bool, typer.Option("--html", help="Write reports/status.html, too.")] = False,
) -> int:
    """What shall run where, what does, and the way back; exit code 1 where they differ."""
    from gatehouse.deploy.status import status

    return status(HERE, as_json=as_json, html=html)


@verb(RELEASE)
def history(
    environment: Annotated[Place | None, typer.Argument(help="Only of this one.")] = None,
    as_json: Json = False,
) -> int:
    """Every release and rollback, newest first."""
    from gatehouse.deploy.status import history

    return history(HERE, environment.value if environment else None, as_json=as_json)


@verb(RELEASE)
def trial(
    action: Annotated[Trial, typer.Argument(help="What to do.")] = Trial.start,
    environment: Annotated[Place, typer.Argument(help="Beside whose release.")] = Place.production,
    mode: Annotated[Mode, typer.Option(help="Who is asked.")] = Mode.canary,
    share: Annotated[float, typer.Option(help="% of requests (of keys in mode ab).")] = 5,
    replicas: Annotated[int, typer.Option(help="Containers of each side.")] = 1,
    log: Annotated[list[Path] | None, typer.Option(help="Judge this log.")] = None,
    outcomes: Annotated[Path | None, typer.Option(help="Table: id, and value or truth.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds until there is a verdict.")] = 0,
    as_json: Json = False,
) -> int:
    """Staging's release beside production's: canary, shadow, or A/B."""
    from gatehouse.deploy.trials import run

    return run(
        HERE,
        SimpleNamespace(
            action=action.value,
            environment=environment.value,
            mode=mode.value,
            share=share,
            replicas=replicas,
            log=log or [],
            outcomes=outcomes,
            wait=wait,
            json=as_json,
        ),
    )


@verb(RELEASE)
def replay(
    old: Annotated[str, typer.Option("--from", metavar="ENV", help="The old.")] = "production",
    new: Annotated[
        str, typer.Option("--to", metavar="ENV", help="The new, or http://…")
    ] = "staging",
    rows: Annotated[Path | None, typer.Option(help="JSON lines; else golden requests.")] = None,
    as_json: Json = False,
) -> int:
    """The same requests to two versions, compared."""
    from gatehouse.deploy.replay import replay

    return replay(HERE, old, new, rows, as_json=as_json)


@verb(RELEASE)
def sign(
    key: Annotated[Path | None, typer.Option(help="A private key; else keyless in CI.")] = None,
) -> int:
    """Sign the blessed model and the statement of its image."""
    from gatehouse.registry.sign import sign

    environments.ensure("train", "sign")
    return sign(HERE, key)


@verb(RELEASE)
def verify() -> int:
    """Are model and image what somebody signed?"""
    from gatehouse.registry.sign import verify

    environments.ensure("train", "sign")
    return verify(HERE)


@verb(RELEASE)
def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the public key in deploy/keys/.")],
    out: Annotated[Path | None, typer.Option(help="Where the private key goes.")] = None,
) -> int:
    """Make a pair of keys for signing."""
    from gatehouse.registry.keys import new_key

    environments.ensure("train", "sign")
    return new_key(HERE, name, out)


@verb(RELEASE)
def cd(
    part: Annotated[
        str, typer.Argument(metavar="image|staging|production|prove", help="One step of cd.yml.")
    ],
) -> int:
    """A release as cd.yml does it; `prove` does all of it on the engine that is here."""
    from gatehouse.registry.sign import signs

    sign = [own("sign")] if signs(HERE) else []
    build = [*sign, own("image"), *sign]
    why = os.environ.get("WHY", "")
    if part == "image":
        return all_of(*build)
    if part in ("staging", "production"):
        asked = [own("replay")] if part == "staging" and os.environ.get("PRODUCTION_HOST") else []
        return all_of(own("promote", "--to", part, "--why", why), own("deploy", part), *asked)
    if part != "prove":
        raise Stop(
            "cd-step-unknown", f"cd has no step {part!r}: it is image, staging, production or prove"
        )
    # Without a host: on the engine that is here, with a record that nobody else sees.
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    os.environ |= {"STAGING_HOST": host, "PRODUCTION_HOST": host}
    if code := _swarm() or program("git", "remote", "remove", "origin"):
        return code
    proven = ["--why", "proven by CD, released nowhere"]
    released = [
        words
        for place in ("staging", "production")
        for words in (own("promote", "--to", place, *proven), own("deploy", place))
    ]
    return all_of(*build, *released, own("replay"))


def _swarm() -> int:
    """Make the engine a swarm where it is none."""
    from gatehouse.packaging.docker import docker

    if docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "true":
        return GOOD
    return program("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")
