"""What the image is made of, as a CycloneDX document: packages of the lock and of the base."""

import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gatehouse.core.files import write_json
from gatehouse.core.project import Project

from .docker import docker, run


def write_sbom(project: Project, path: Path, site: Path, base: str) -> None:
    """Write CycloneDX 1.6 JSON; the same inputs give the same bytes."""
    found = sorted(distributions(path=[str(site)]), key=lambda one: one.name.lower())
    write_json(
        path,
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            # Not the commit, which is a label: a release that changes nothing here adds no layer.
            "metadata": {"component": {"type": "container", "name": project.name}},
            "components": [*map(_python, found), *_debian(base)],
        },
    )


def _python(found: Distribution) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", found.name).lower()
    return _component(name, found.version, f"pkg:pypi/{name}@{quote(found.version)}")


def _debian(base: str) -> list[dict[str, Any]]:
    """What dpkg of the base lists; a base without dpkg has no list."""
    alone = ("run", "--rm", "--network", "none", "--entrypoint")
    if run(*alone, "test", base, "-x", "/usr/bin/dpkg-query").returncode:
        return []
    form = "${Package} ${Version} ${Architecture}\n"
    lines = docker(*alone, "dpkg-query", base, "-W", "-f", form).splitlines()
    made = []
    for name, version, architecture in map(str.split, sorted(lines)):
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        made.append(_component(name, version, purl))
    return made


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
