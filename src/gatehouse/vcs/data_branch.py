"""``gatehouse push``, and the data remote: by default the branch ``dvc-storage`` of this project.

DVC reads and writes the folder ``.dvc-storage``; git carries its files to and from the branch by
an index of their own. Files are named after their content, so nobody's push undoes another's.
"""

import shutil
from functools import partial
from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.project import Project

from . import dvc
from .git import commit, failed, fetch_branch, git, has_origin, must, patiently, run, somebody
from .git import push as git_push

FOLDER, BRANCH = Path(".dvc-storage"), "dvc-storage"
HERE, THERE = f"refs/heads/{BRANCH}", f"refs/remotes/origin/{BRANCH}"
MB, GB = 10**6, 10**9
FILE_MAX, BRANCH_MAX = 90 * MB, GB  # GitHub refuses files over 100 MB
ATTRIBUTES = "* -text -delta -diff\n"  # what this machine's git does to text, not to data


def push(project: Project) -> int:
    """Push the data, the run cache and the branch that is checked out; idempotent."""
    if git(project, "rev-parse", "--verify", "HEAD") is None:
        raise Stop(
            "no-commit", "git has no commit here: `git init -b main && git add . && git commit`"
        )
    push_data(project)
    if not has_origin(project):
        raise Stop(
            "no-remote",
            "git has no remote: `git remote add origin URL`, then `gatehouse push` again",
        )
    patiently("push", partial(_push_branch, project))
    return GOOD


def push_data(project: Project, *pointers: str) -> None:
    """Push the data and the run cache to the DVC remote; of ``*.dvc`` files named, theirs alone."""
    refresh(project, "push")
    patiently("push", partial(_push_data, project, pointers))
    if embedded(project):
        patiently("push", partial(_publish, project))


def set_aside(project: Project, folder: Path, *pointers: str) -> None:
    """Copy what the remote has not into ``folder``, for whoever may push it."""
    refresh(project, "push")
    with dvc.repository(project, "the data could not be held against the remote") as repo:
        dvc.keep_source(project, repo)
        used = repo.used_objs(targets=list(pointers) or None)
        states = repo.cloud.status({one for ones in used.values() for one in ones})
        new = {one.value: Path(repo.cache.local.oid_to_path(one.value)) for one in states.new}
    _refuse_lost(sorted(str(one.obj_name) for one in states.missing))
    for md5, path in new.items():
        _copy(path, dvc.cached(folder / dvc.FILES, md5))
    runs = dvc.cache(project).parents[1] / "runs"
    for path in [] if pointers else (path for path in runs.rglob("*") if path.is_file()):
        _copy(path, folder / "runs" / path.relative_to(runs))


def take_in(project: Project, folder: Path) -> None:
    """Publish what was set aside on the branch; what is there already stays as it is."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        _copy(path, project / FOLDER / path.relative_to(folder))
    if files:
        patiently("push", partial(_publish, project))


def send(project: Project, folder: Path) -> None:
    """Push what was set aside to the DVC remote, by way of the cache."""
    objects = dvc.cache(project).parents[1]
    for path in (path for path in folder.rglob("*") if path.is_file()):
        _copy(path, objects / path.relative_to(folder))
    names = [path.parent.name + path.name for path in (folder / dvc.FILES).glob("*/*")]
    patiently("push", partial(dvc.send, project, names))
    say(f"push: {len(names)} objects and the run cache are in the DVC remote")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)


def refresh(project: Project, verb: str) -> None:
    """Bring the folder up to date with the branch, where that is the remote and exists."""
    if embedded(project):
        patiently(verb, partial(_fetch, project))


def embedded(project: Project) -> bool:
    """Whether the default DVC remote is the branch."""
    return dvc.address(project) == f"../{FOLDER}"


def _push_data(project: Project, pointers: tuple[str, ...]) -> None:
    with dvc.repository(project, "the data could not be pushed") as repo:
        dvc.keep_source(project, repo)
        if pointers:
            repo.push(targets=list(pointers))
            say(f"push: {', '.join(pointers)} is in the DVC remote")
            return
        repo.push(run_cache=True)
        states = repo.status(cloud=True)
    _refuse_lost(sorted(path for path, state in states.items() if state in ("missing", "new")))
    say("push: data and run cache are in the DVC remote")


def _refuse_lost(lost: list[str]) -> None:
    if lost:
        raise Stop(
            "data-lost",
            f"{', '.join(lost)} cannot be pushed, being neither in the cache nor in the remote as "
            "recorded: run `make pipeline`, commit, then `gatehouse push` again",
        )


def _fetch(project: Project) -> str | None:
    """Fetch the branch, write its files into the folder, return its commit; None without one."""
    fetch_branch(project, BRANCH)
    tips = [tip for ref in (HERE, THERE) if (tip := commit(project, ref))]
    for tip in tips:
        _do(project, "checkout", "--quiet", tip, "--", ".")
    for path in (project / FOLDER / "files").rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o222:
            path.chmod(0o444)  # DVC hashes what can be written, each time, and deletes what differs
    return tips[-1] if tips else None


def _publish(project: Project) -> None:
    """Commit what the folder has and the branch has not, on top of everybody else's."""
    tip = _fetch(project)
    known = set(_do(project, "ls-tree", "-r", "--name-only", tip).splitlines()) if tip else set()
    _refuse_large(project, known)
    (project / FOLDER).mkdir(exist_ok=True)
    (project / FOLDER / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    _do(project, "add", "--all", "--force", ".")
    tree = _do(project, "write-tree").strip()
    if not tip or tree != commit(project, f"{tip}:"):
        onto = ("-p", tip) if tip else ()
        who = somebody(project, "gatehouse push")
        tip = _do(project, *who, "commit-tree", tree, *onto, "-m", "Add data").strip()
    if not has_origin(project):
        _do(project, "update-ref", HERE, tip)
    elif tip != commit(project, THERE):
        git_push(project, f"{tip}:{HERE}", BRANCH)
        _do(project, "update-ref", THERE, tip)
        say(f"push: branch {BRANCH} is on origin")


def _refuse_large(project: Project, known: set[str]) -> None:
    """Stop before GitHub would; what the branch has not yet leaves the folder again."""
    files = [path for path in (project / FOLDER).rglob("*") if path.is_file()]
    sizes = {path.relative_to(project / FOLDER).as_posix(): path.stat().st_size for path in files}
    new = {name: size for name, size in sizes.items() if name not in known}
    largest, total = max(new.values(), default=0), sum(sizes.values())
    if largest > FILE_MAX:
        what = f"a file of {largest / MB:,.0f} MB is more than the {FILE_MAX / MB:.0f} MB"
    elif new and total > BRANCH_MAX:
        what = f"data of {total / GB:.1f} GB are more than the {BRANCH_MAX / GB:.0f} GB"
    else:
        return
    for name in new:
        (project / FOLDER / name).unlink()
    raise Stop(
        "branch-too-large",
        f"{what} that branch {BRANCH} takes, and nothing was pushed: take a bucket instead, "
        "`dvc remote add --default --force storage s3://BUCKET/PATH`, see Gatehouse's "
        "docs/data-remote.md",
    )


def _push_branch(project: Project) -> None:
    branch = (git(project, "symbolic-ref", "--quiet", "--short", "HEAD") or "").strip()
    if not branch:
        say("push: no branch is checked out: only the data were pushed")
        return
    if changed := git(project, "status", "--porcelain", "--", "dvc.lock", "*.dvc"):
        names = ", ".join(line[3:] for line in changed.splitlines())
        say(f"push: {names} not committed: commit and push again, or nobody finds these data")
    upstream = (git(project, "rev-parse", "--abbrev-ref", "@{upstream}") or "").strip()
    # A branch made of origin/main follows main, and git refuses to push one to the other.
    own = upstream.endswith(f"/{branch}")
    done = run(project, "push", "--quiet", *([] if own else ["--set-upstream", "origin", "HEAD"]))
    if "[rejected]" in done.stderr:
        raise Stop(
            "branch-moved",
            f"{branch} has new commits on origin: `git pull --rebase`, then `gatehouse push`",
        )
    if done.returncode:
        raise failed("pushed", done, branch)
    say(f"push: {branch} is on origin")


def _do(project: Project, *words: str) -> str:
    """Standard output of a git command over the folder."""
    (project / FOLDER).mkdir(exist_ok=True)
    folder = (git(project, "rev-parse", "--absolute-git-dir") or "").strip()
    # A link in the branch becomes a file, and leads nowhere; a new mode is no new content.
    options = ("-c", "core.symlinks=false", "-c", "core.trustctime=false")
    place = ("-C", str(FOLDER), "--work-tree=.", *options)
    index = f"{folder}/{BRANCH}.index"
    return must(project, "written", BRANCH, *place, *words, GIT_INDEX_FILE=index)
