"""In GitHub Actions: git asks gh for the token of the step that wants one; none is stored."""

from __future__ import annotations

import os


def lend_token() -> None:
    """Let every git below use the token of this step, where it has one."""
    if os.environ.get("GITHUB_ACTIONS") and "GIT_CONFIG_COUNT" not in os.environ:
        os.environ["GIT_CONFIG_COUNT"] = "1"
        os.environ["GIT_CONFIG_KEY_0"] = "credential.helper"
        os.environ["GIT_CONFIG_VALUE_0"] = "!gh auth git-credential"
