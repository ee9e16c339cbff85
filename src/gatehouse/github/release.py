"""What cd.yml tells GitHub: ``gatehouse github release look|image|propose|failed``.

A summary of the run, a pull request that asks for production where no reviewer can be asked, one
issue for releases that failed. Everything but ``propose`` does without an environment.
``release(step)`` is all of it.
"""

import json
import os
import re
from pathlib import Path
from typing import Literal

from gatehouse.core.digests import MODEL
from gatehouse.core.errors import GOOD
from gatehouse.core.files import read_json
from gatehouse.core.layout import DEPLOY as SETTINGS
from gatehouse.core.project import Project
from gatehouse.monitoring.history import run_link
from gatehouse.packaging.build import MADE_OF
from gatehouse.registry import record
from gatehouse.registry.record import short
from gatehouse.vcs.dvc import LOCK, md5_of
from gatehouse.vcs.git import git, have

from . import issues, pulls
from .keys import explained, output, summary

BLESSING, IMAGE = Path("blessing.json"), Path("reports/image.json")
RECORDED = re.compile(r"path: model\n\s+hash: md5\n\s+md5: (\S+)")
BRANCH = "release-production"
NOT_SET = """\
It was built, started, released to a staging and a production on this run's own engine, and watched
there, as it would be on hosts. **It was released nowhere**: the engine ended with the run, so the
record (branch `environments`) says nothing of it.

To release, set the variables of the repository `STAGING_HOST` and `PRODUCTION_HOST`
(`ssh://user@host`, Docker in swarm mode) and `SSH_KNOWN_HOSTS`, and the secret `DEPLOY_SSH_KEY`:
see `docs/cd.md` of Gatehouse.
"""


def look(project: Project) -> None:
    """Output ``way``: to hosts, proven here, or nothing, where staging has it already."""
    lock = (project / LOCK).read_text("utf-8") if (project / LOCK).exists() else ""
    commit = (git(project, "rev-parse", "HEAD") or "").strip()
    # What is compared with this release later is fetched by dvc.lock of its commit. CI has said so.
    if {*RECORDED.findall(lock)} != {md5_of(project / MODEL)}:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))
        take = f"gatehouse github take {int(event['workflow_run']['id'])}"
        why = f"{LOCK} of {commit[:7]} does not record the model that CI judged"
        print(f"::warning title=CD::Nothing is released: {why}")
        summary(f"## Nothing released: {why}\n\n`{take}`, then a pull request with {LOCK}.\n")
        output("way", "nothing")
        return
    way = "hosts" if os.environ.get("STAGING_HOST") else "prove"
    if way == "hosts" and (staged := record.read(project, "staging", record.tip(project))):
        have(project, staged.commit)
        changed = git(project, "diff", "--name-only", staged.commit, commit, "--", *MADE_OF)
        if staged.model == read_json(project / BLESSING)["model_digest"] and changed == "":
            way = "nothing"
            since = f"nothing that the image is made of has changed since {staged.commit[:7]}"
            summary(f"Nothing new: {_model(staged.model)} is in staging, and {since}.\n")
    output("way", way)


def image(project: Project) -> None:
    """The image in the summary, and what attests it; where it was only proven, what to set."""
    said = read_json(project / IMAGE)
    name, _, digest = said["image"].partition("@")
    wanted = re.search(
        r"^ +provenance: true\b", (project / SETTINGS).read_text("utf-8"), re.MULTILINE
    )
    output("name", name)
    output("digest", digest)
    output("attest", "true" if wanted and digest else "false")
    released = os.environ.get("STAGING_HOST")
    head = f"## {'Candidate' if released else 'Proven, not released'}: {_model(said['model'])}"
    rows = [f"| {key} | {value:g} |" for key, value in said["measured"].items()]
    table = ["| measured | |", "|---|---|", *rows, ""]
    summary("\n".join([head, "", f"`{said['image']}`", "", *table, "" if released else NOT_SET]))


def propose(project: Project) -> None:
    """One pull request to branch ``environments`` asks for production; the newest candidate's."""
    from gatehouse.registry.promote import put, told

    why = os.environ.get("WHY", "")
    written, new = put(project, "production", why, BRANCH)
    if not new:
        summary(f"Production has it already: {told(written)}.\n")
        return
    command = "gh workflow run cd.yml -f action=deploy -f environment=production"
    text = f"""\
In staging, and good there: {told(written)} ([run]({run_link()})).

Merging writes it into the record; then have it deployed:

```sh
{command}
```

A conflict means that production has changed meanwhile: close this, run CD again."""
    title = f"Release {_model(written.model)} to production"
    made, refused = pulls.put(BRANCH, record.BRANCH, {"title": title, "body": text})
    if refused:
        after = f"Once it is merged: `{command}`"
        summary(f"## Production waits for you\n\n{refused}. {after}\n")
        return
    summary(f"## Production waits for pull request {made['html_url']}\n")


def failed(_: Project) -> None:
    """The one issue of releases that failed: opened, or commented on."""
    what_next = [
        "What was released before still runs, or runs again. To look: `make status`, "
        "`gatehouse history`. To go back one release more: `make rollback ENV=production`, or from "
        "GitHub, with the reason:",
        "",
        "```sh",
        "gh workflow run cd.yml -f action=rollback -f environment=production -f why=…",
        "```",
    ]
    print(f"release: {issues.failed('release', 'A release failed', what_next)}")


def release(project: Project, step: Literal["look", "image", "propose", "failed"]) -> int:
    """Do one of them. Raises ``Stop``, 3 where GitHub or git cannot be asked."""
    does = {"look": look, "image": image, "propose": propose, "failed": failed}
    with explained():
        does[step](project)
    return GOOD


def _model(digest: str) -> str:
    return f"model {short(digest)}"
