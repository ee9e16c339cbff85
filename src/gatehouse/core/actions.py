"""In GitHub Actions: git asks gh for the token of the step that wants one; none is stored.

What a job may ask for is written in its workflow and cannot be decided by a run: so the grant of a
cloud's token is put there where the data lie in a bucket, and taken out where they do not.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .project import Project

CLOUDS = ("s3", "gs", "azure")
WORKFLOWS = Path(".github/workflows")
JOB = re.compile(r"^  [\w-]+:.*\n(?:(?:    .*)?\n)+", re.MULTILINE)
GRANTS = re.compile(r"^(    permissions: \{[^}]+?)(?:, id-token: write)?\}", re.MULTILINE)
ASKS, MAY = "./gatehouse github oidc", ", id-token: write"


def lend_token() -> None:
    """Let every git below use the token of this step, where it has one."""
    if os.environ.get("GITHUB_ACTIONS") and "GIT_CONFIG_COUNT" not in os.environ:
        os.environ["GIT_CONFIG_COUNT"] = "1"
        os.environ["GIT_CONFIG_KEY_0"] = "credential.helper"
        os.environ["GIT_CONFIG_VALUE_0"] = "!gh auth git-credential"


def unfit(project: Project, url: str) -> dict[Path, str]:
    """Workflows whose grants do not fit the data remote ``url`` -> what they should be."""

    def job(found: re.Match[str]) -> str:
        return GRANTS.sub(rf"\1{may}}}", found[0]) if ASKS in found[0] else found[0]

    may = MAY if url.partition("://")[0] in CLOUDS else ""
    texts = {path: path.read_text("utf-8") for path in (project / WORKFLOWS).glob("*.yml")}
    fit = {path: JOB.sub(job, text) for path, text in sorted(texts.items())}
    return {path: text for path, text in fit.items() if text != texts[path]}
