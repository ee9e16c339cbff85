"""What GitHub's runners start at once: verbs of ``gatehouse github`` that need no environment.

The command line of the library calls the same functions; here the standard library reads the words.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from gatehouse.core.project import Project

HERE = Project()  # a runner stands in its checkout
# Verb -> what stands behind it, where it does without an environment.
STEPS = {
    "tell": ("begin", "end"),
    "release": ("look", "image", "failed"),
    "training": ("look", "failed", "hand-over"),
    "alerts": ("stopped", "passed"),
}


def needs_none(words: list[str]) -> bool:
    """Whether ``gatehouse github WORDS`` runs without an environment."""
    if words[:1] in (["changes"], ["oidc"], ["setup"], ["keys"], ["judge"]):
        return True
    return len(words) == 2 and words[1] in STEPS.get(words[0], ())


def run(words: list[str], own: Callable[[list[str]], list[str]]) -> int:
    """Run it; its exit code. ``own`` gives the command of another verb. Raises ``Stop``."""
    verb, rest = words[0], words[1:]
    if verb == "tell":
        from . import comment

        return comment.begin() if rest == ["begin"] else comment.end()
    if verb == "judge":
        from .judging import judge

        return judge(HERE, own)
    if verb == "changes":
        from .changes import changes

        return changes(HERE)
    if verb == "oidc":
        from .trust import step

        return step(HERE, *rest)
    if verb == "keys":
        from .keys import keys

        return keys(own(rest))
    if verb == "setup":
        return _setup(rest)
    if verb == "release":
        from .release import release

        return release(HERE, rest[0])  # type: ignore[arg-type]  # one of STEPS
    if verb == "training":
        from . import handover, training

        steps = {"look": training.look, "failed": training.failed, "hand-over": handover.hand_over}
        return steps[rest[0]](HERE)
    from . import alerts

    return alerts.stopped(HERE) if rest == ["stopped"] else alerts.after_pass(HERE)


def _setup(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="gatehouse github setup",
        description="Create or adopt the repository on GitHub, with its rules; again goes on.",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="else that of origin")
    parser.add_argument("--public", action="store_true", help="make it public")
    parser.add_argument("--private", action="store_true", help="make it private")
    asked = parser.parse_args(words)
    from .setup import setup

    private = True if asked.private else False if asked.public else None
    return setup(HERE, dry_run=asked.dry_run, repository=asked.repository, private=private)
