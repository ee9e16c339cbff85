"""Verb ``image``: the serving image of the blessed model, and whether it may move on.

``reports/image.json`` is the infra blessing: it names the image by digest, what it was made from,
what was measured, and why it may not move on, if so.
"""

import json
import sys
from pathlib import Path

from ..console import CLOSED, GOOD, Stop, paint, read_json, say, write_json

STATEMENT = Path("reports/image.json")


def image(*, as_json: bool) -> int:
    """Build, start, measure, push; exit 1 when the infra gate is closed."""
    from ..deploy.docker import docker, patiently
    from ..deploy.settings import image_setting, project
    from ..digests import file_digest, model_digest
    from ..release.sign import check_model
    from . import build, probe

    STATEMENT.unlink(missing_ok=True)
    blessing = read_json(build.BLESSING)
    if blessing.get("blessed") is not True or blessing.get("model_digest") != model_digest():
        raise Stop("the model is not blessed, or not the one that was: see `make gate`", CLOSED)
    check_model()
    commit = build.commit_here()
    base_name, base = build.find_base()
    labels = {
        "org.opencontainers.image.title": project(),
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.base.name": base_name.partition("@")[0],
        "org.opencontainers.image.base.digest": base.rpartition("@")[2],
        "gatehouse.model": blessing["model_digest"],
        "gatehouse.blessing": file_digest(build.BLESSING),
        "gatehouse.data": blessing["digests"]["test_data"],
    }
    id_ = build.build(labels, base_name)
    reasons, measured = probe.probe(id_)
    repository = image_setting("repository")
    name = f"{repository or project()}:{id_.removeprefix('sha256:')[:12]}"
    docker("tag", id_, name)
    if repository and not reasons:
        say(f"image: pushing to {repository}")
        patiently("push", "--quiet", name)
        found = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", id_))
        name = next(each for each in found if each.startswith(f"{repository}@"))
    said = build.statement(name, id_, commit, base)
    said |= {"blessed": not reasons, "reasons": reasons, "measured": measured}
    write_json(STATEMENT, said)
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
