"""One pull request of a branch that workflows push, or the link by which a person opens it."""

import os
from typing import Any

from .api import call, reason


def put(branch: str, base: str, said: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Open it with the ``title`` and ``body`` of ``said``, or bring it up to date.

    What GitHub has then; where it refuses, nothing, and what a person can do.
    """
    repository = os.environ["GITHUB_REPOSITORY"]
    where, owner = f"repos/{repository}/pulls", repository.partition("/")[0]
    _, found = call("GET", f"{where}?state=open&base={base}&head={owner}:{branch}")
    if found:
        status, made = call("PATCH", f"{where}/{found[0]['number']}", said)
    else:
        status, made = call("POST", where, said | {"base": base, "head": branch})
    if status < 300:
        return made, ""
    # GitHub has one switch for opening and approving, and it is off.
    link = f"{os.environ['GITHUB_SERVER_URL']}/{repository}/compare/{base}...{branch}?expand=1"
    return {}, (
        f"GitHub refused the pull request ({reason(made)}): [open it yourself]({link}), or let "
        "workflows open them: Settings, Actions, General"
    )
