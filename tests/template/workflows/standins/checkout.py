"""actions/checkout: really fetches from the bare repository, as deep as it was asked to."""

import os
import subprocess
from pathlib import Path

from workflows.standins.step import absolute, fail, inputs, output

ENVIRONMENTS = {
    ".venv": "requirements/train.txt",
    ".venv-checks": "requirements/checks.txt",
    ".venv-serve": "requirements/serve.txt",
}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _target(given: str, here: bool) -> tuple[str, str]:
    """What to fetch, and the local name the real action gives it."""
    if not given and here:
        ref, commit = os.environ["GITHUB_REF"], os.environ["GITHUB_SHA"]
    else:
        ref = commit = given or "HEAD"
    if ref.startswith("refs/pull/"):
        return commit, ref.replace("refs/", "refs/remotes/", 1)
    branch = ref.removeprefix("refs/heads/")
    is_commit = len(ref) == 40 and set(ref) <= set("0123456789abcdef")
    if ref == "HEAD" or is_commit or ref.startswith("refs/tags/"):
        return commit, ""
    return commit, f"refs/remotes/origin/{branch}"


def _lend(lender: Path, folder: Path) -> None:
    """Where the locks are the same, what another project has installed from them.

    Each run would install it again, for minutes; those that are run without a lender do.
    """
    for name, lock in ENVIRONMENTS.items():
        texts = [
            [path.read_bytes() for path in (of / lock, of / ".python-version") if path.exists()]
            for of in (lender, folder)
        ]
        if texts[0] == texts[1] and (lender / name).exists():
            (folder / name).symlink_to(lender / name)


def main() -> None:
    given = inputs()
    if given["persist-credentials"] != "false":
        fail("checkout keeps the token in the work tree: say persist-credentials: false")
    repository = given["repository"] or os.environ["GITHUB_REPOSITORY"]
    folder = Path(absolute(given["path"] or "."))
    folder.mkdir(parents=True, exist_ok=True)
    commit, local = _target(given["ref"], repository == os.environ["GITHUB_REPOSITORY"])
    _git(folder, "init", "--quiet")
    _git(folder, "remote", "add", "origin", f"https://github.com/{repository}")
    depth = given["fetch-depth"]
    wanted = [f"+{commit}:{local}"] if local else [commit]
    if depth == "0":
        tags = "+refs/tags/*:refs/tags/*"
        _git(folder, "fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", tags)
        _git(folder, "fetch", "--quiet", "origin", *wanted)
    else:
        tags = "--tags" if given["fetch-tags"] == "true" else "--no-tags"
        _git(folder, "fetch", "--quiet", tags, f"--depth={depth}", "origin", *wanted)
    if local.startswith("refs/remotes/origin/"):
        branch = local.removeprefix("refs/remotes/origin/")
        _git(folder, "checkout", "--quiet", "--force", "-B", branch, local)
    else:
        _git(folder, "checkout", "--quiet", "--force", "--detach", local or "FETCH_HEAD")
    if lender := os.environ.get("HARNESS_ENVIRONMENTS"):
        _lend(Path(lender), folder)
    output("ref", given["ref"] or os.environ["GITHUB_REF"])
    output("commit", _git(folder, "rev-parse", "HEAD"))


if __name__ == "__main__":
    main()
