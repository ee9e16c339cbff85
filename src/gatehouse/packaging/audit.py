"""Verb ``audit``: does the image hold a Python package with a known vulnerability.

The packages are those of the image's own SBOM. https://osv.dev is asked, where the advisories of
PyPI and GitHub come together. No answer is no all-clear. What must be lived with for a while stands
in gates.yaml, with its reason: ``vulnerabilities: {accepted: {GHSA-…: reason}}``.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.console import paint
from gatehouse.core.errors import CLOSED, GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json
from gatehouse.core.project import Project

SBOM = Path("build/image/files/app/sbom.cdx.json")
URL = "https://api.osv.dev"
SECONDS = 30


def audit(project: Project, sbom: Path) -> int:
    """Exit 1 for a vulnerability that nobody accepted, 3 where nobody can be asked."""
    parts = read_json(sbom, "run `make image`").get("components") or []
    named = [part.get("purl", "") for part in parts if isinstance(part, dict)]
    packages = [name for name in named if name.startswith("pkg:pypi/")]
    if not packages:
        raise Stop("sbom-empty", f"{sbom} names no Python package: run `make image`")
    accepted = gates_section(project, "vulnerabilities").get("accepted") or {}
    if not isinstance(accepted, dict) or not all(accepted.values()):
        raise Stop(
            "rules-value",
            "gates.yaml: vulnerabilities.accepted wants a reason for each: `ID: reason`",
        )
    found = [(name, id_) for name, ids in zip(packages, ask(packages), strict=True) for id_ in ids]
    bad = [pair for pair in found if pair[1] not in accepted]
    word = paint("CLOSED", "red") if bad else paint("OPEN", "green")
    lines = [f"{word}: {len(packages)} Python packages, {len(bad)} known vulnerabilities"]
    lines += [f"  {name.removeprefix('pkg:pypi/')}  https://osv.dev/{id_}" for name, id_ in bad]
    lines += [f"  accepted: {id_} ({accepted[id_]})" for _, id_ in found if id_ in accepted]
    if bad:
        lines.append(
            "  take newer versions: `gatehouse lock --upgrade`; or accept it in gates.yaml"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    return CLOSED if bad else GOOD


def ask(packages: list[str]) -> list[list[str]]:
    """The identifiers of what is known of each package; Stop (3) for any other answer."""
    body = json.dumps({"queries": [{"package": {"purl": name}} for name in packages]}).encode()
    headers = {"Content-Type": "application/json"}
    url = os.environ.get("OSV_URL", URL) + "/v1/querybatch"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=SECONDS
        ) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
        ids = [[str(one["id"]) for one in each.get("vulns") or []] for each in results]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        said = str(error) or type(error).__name__
        raise Stop(
            "advisories-unreachable",
            f"{url} gave no answer ({said}): run the same again",
            INFRASTRUCTURE,
        ) from None
    if len(ids) != len(packages):
        raise Stop(
            "advisories-unreachable",
            f"{url} answered {len(ids)} of {len(packages)} questions",
            INFRASTRUCTURE,
        )
    return ids
