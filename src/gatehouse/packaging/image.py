"""Verb ``image``: the serving image of the blessed model, and whether it may move on.

``reports/image.json`` is the infra blessing: it names the image by digest, what it was made from,
what was measured, and why it may not move on, if so.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.core.console import paint, say
from gatehouse.core.errors import CLOSED, GOOD
from gatehouse.core.files import write_json
from gatehouse.core.layout import BLESSING
from gatehouse.core.project import Project

if TYPE_CHECKING:  # late: what has no environment asks for the path below
    from gatehouse.core.config import results

STATEMENT = Path("reports/image.json")


def refuse_unblessed(project: Project) -> "results.Blessing":
    """The blessing; raises ``Stop`` (1) where it is not one of the model that is here.

    What an older model was found to be is gone by then.
    """
    from gatehouse.core.config import results

    (project / STATEMENT).unlink(missing_ok=True)
    return results.blessing(project.root)


def image(project: Project, *, as_json: bool) -> int:
    """Build, start, measure, push; exit 1 when the infra gate is closed."""
    from gatehouse.core.config.deploy import image_setting
    from gatehouse.core.digests import file_digest
    from gatehouse.registry.sign import check_model

    from . import build, probe
    from .docker import docker, patiently

    blessing = refuse_unblessed(project)
    check_model(project)
    commit = build.commit_here(project)
    base_name, base = build.find_base(project)
    labels = {
        "org.opencontainers.image.title": project.name,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.base.name": base_name.partition("@")[0],
        "org.opencontainers.image.base.digest": base.rpartition("@")[2],
        "gatehouse.model": blessing.model_digest,
        "gatehouse.blessing": file_digest(project / BLESSING),
        "gatehouse.data": blessing.digests.get("test_data", ""),
    }
    id_ = build.build(project, labels, base_name)
    reasons, measured = probe.probe(project, id_)
    repository = image_setting(project, "repository")
    name = f"{repository or project.name}:{id_.removeprefix('sha256:')[:12]}"
    docker("tag", id_, name)
    if repository and not reasons:
        say(f"image: pushing to {repository}")
        patiently("push", "--quiet", name)
        found = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", id_))
        name = next(each for each in found if each.startswith(f"{repository}@"))
    said = build.statement(project, name, id_, commit, base)
    said |= {"blessed": not reasons, "reasons": reasons, "measured": measured}
    write_json(project / STATEMENT, said)
    if as_json:
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        sys.stdout.write(_table(name, reasons, measured))
    return CLOSED if reasons else GOOD


def _table(name: str, reasons: list[str], measured: dict[str, float]) -> str:
    from .probe import BUDGET

    verdict = paint("CLOSED", "red") if reasons else paint("OPEN", "green")
    lines = [f"{verdict}: {name} {'is NOT' if reasons else 'is'} fit to serve"]
    lines += [f"  {measured[key]:>8.4g} {unit}" for key, unit in BUDGET.items() if key in measured]
    return "\n".join([*lines, *(f"  {reason}" for reason in reasons)]) + "\n"
