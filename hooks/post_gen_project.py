"""Bring in the data and the library, make the first commit, and say what comes next.

Never fatal, since a failing hook would make cookiecutter remove the whole project: what cannot
be done is a warning of one line on stderr, with the command that mends it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

EXAMPLE_MD5 = "aec9c406a2ecf5717b2efb8605510b0f"
EXAMPLE_SIZE = 31_053_850  # bytes
CHUNK = 1 << 20  # bytes
BUILDER = os.path.join("scripts", "build_wheel.py")  # of the template
LOCKS = ("requirements/train.txt", "requirements/serve.txt", "requirements/checks.txt")
NO_HASH = "sha256:" + 64 * "0"  # what the template's locks have
CODEOWNERS = os.path.join(".github", "CODEOWNERS")
GIT_TIMEOUT = 120  # seconds: a signed commit may ask a person for a passphrase

# Set while git itself runs something; they would send our commit into that repository.
GIT_LOCAL = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_PREFIX "
    "GIT_NAMESPACE GIT_ALTERNATE_OBJECT_DIRECTORIES"
)


def say(text: str, stream: TextIO | None) -> None:
    """Print ``text``; a stream that is closed, or that lacks a letter, is no failure."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError:
        # What is left in the buffer would fail again at exit, and with it the whole project.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(message: str) -> None:
    """Print one warning on stderr."""
    say(f"gatehouse: warning: {' '.join(message.split())}", sys.stderr)


def find_data(answer: str) -> str:
    """Return the path of the data file, as pre_gen_project.py found it before."""
    path = os.path.expanduser(answer)
    folders = [os.environ.get("PWD", os.pardir), os.pardir]
    tried = [os.path.realpath(os.path.join(folder, path)) for folder in folders]
    return next((candidate for candidate in tried if os.path.exists(candidate)), tried[0])


def copy_data(source: str, target: str) -> tuple[str, int]:
    """Copy ``source`` to ``target`` and return the MD5 digest and size in bytes of what was copied.

    Whoever looks sees the whole file or none. Raises OSError.
    """
    import hashlib

    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    part = f"{target}.part"
    try:
        with open(source, "rb", buffering=0) as reader, open(part, "wb", buffering=0) as writer:
            buffer = memoryview(bytearray(CHUNK))
            while count := reader.readinto(buffer):
                digest.update(buffer[:count])
                rest = buffer[:count]
                while rest:
                    rest = rest[writer.write(rest) :]
                size += count
        os.replace(part, target)
    except OSError:
        if os.path.exists(part):
            os.remove(part)
        raise
    return digest.hexdigest(), size


def write_pointer(target: str, digest: str, size: int) -> None:
    """Write the DVC file that stands for ``target`` in git, as ``dvc add`` would."""
    with open(f"{target}.dvc", "w", encoding="utf-8", newline="\n") as file:
        file.write(
            f"outs:\n- md5: {digest}\n  size: {size}\n  hash: md5\n"
            f"  path: {os.path.basename(target)}\n"
        )


def bring_data(answer: str, target: str) -> None:
    """Put the data file and its pointer in place; for the example the pointer alone."""
    source = "" if answer == "example" else find_data(answer)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        digest, size = copy_data(source, target) if source else (EXAMPLE_MD5, EXAMPLE_SIZE)
        write_pointer(target, digest, size)
    except OSError as error:
        copy = f"cp {shlex.quote(source)} {target} && dvc add {target}" if source else "make setup"
        warn(f"{target} is not in place ({error}): run `{copy}` in the project.")


def find_template(context: dict[str, object]) -> str:
    """Return the folder of the template, or an empty text where it cannot be found.

    cookiecutter names it, relative to where the person stood, and so does a folder of its own for a
    zip; cruft does not. Whoever runs this hook stands in it meanwhile.
    """
    named = str(context.get("_repo_dir") or "")
    stood = os.environ.get("PWD", os.pardir)
    tried = [os.path.join(stood, named), os.path.join(os.pardir, named)] if named else []
    tried.append(f"/proc/{os.getppid()}/cwd")
    tried.append(str(context.get("_template") or ""))
    found = (folder for folder in tried if os.path.exists(os.path.join(folder, BUILDER)))
    return next(found, "") or parents_folder()


def parents_folder() -> str:
    """Return the working folder of whoever runs this hook where there is no /proc, as on macOS."""
    try:
        command = ["lsof", "-a", "-d", "cwd", "-F", "n", "-p", str(os.getppid())]
        said = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    names = [line[1:] for line in said.stdout.splitlines() if line.startswith("n")]
    return next((name for name in names if os.path.exists(os.path.join(name, BUILDER))), "")


def bring_library(template: str) -> None:
    """Build the wheel into ``vendor/``, and write its hash into the locks that name it."""
    import runpy

    if not template:
        warn(
            "the template was not found, so vendor/ lacks the library: generate it again from a "
            "folder, a zip or a git address."
        )
        return
    name, content = runpy.run_path(os.path.join(template, BUILDER))["build"]()
    wheel = os.path.join("vendor", name)
    try:
        os.makedirs("vendor", exist_ok=True)
        write_library(wheel, content)
    except OSError as error:
        if os.path.exists(wheel):
            os.remove(wheel)
        warn(f"{wheel} is not in place ({error}): mend that, and generate the project again.")


def write_library(wheel: str, content: bytes) -> None:
    """Write the wheel and its hash. Raises OSError."""
    import hashlib

    with open(wheel, "wb") as file:
        file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    for lock in LOCKS:
        with open(lock, encoding="utf-8", newline="") as file:
            text = file.read()
        with open(lock, "w", encoding="utf-8", newline="") as file:
            file.write(text.replace(NO_HASH, f"sha256:{digest}"))


def fit_workflows() -> None:
    """Let the workflows ask a cloud for a token where the data lie in one, and nowhere else."""
    if not (found := os.listdir("vendor") if os.path.isdir("vendor") else []):
        return  # which was said
    command = [sys.executable, "-m", "gatehouse", "github", "oidc", "allow"]
    environment = os.environ | {"PYTHONPATH": os.path.join("vendor", found[0])}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        said = done.stderr if done.returncode else ""
    except OSError as error:
        said = str(error)
    if said:
        warn(f"the workflows do not fit the data remote ({said}): `./gatehouse github oidc allow`.")


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the project and return what it said; a missing git is a failure like any."""
    local = GIT_LOCAL.split()
    environment = {name: text for name, text in os.environ.items() if name not in local}
    try:
        return subprocess.run(
            ["git", *arguments],
            env=environment | {"LC_ALL": "C.UTF-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        said = "git was not found"
    except (OSError, subprocess.SubprocessError) as error:
        said = str(error)
    return subprocess.CompletedProcess(["git"], 127, "", said)


def identity(author: str) -> list[str]:
    """Return the git options that name a committer where the person has configured none."""
    known = git("config", "--get-regexp", r"^user\.(name|email)$").stdout
    options = []
    if "user.name " not in known:
        options += ["-c", f"user.name={author}"]
    if "user.email " not in known:
        options += ["-c", "user.email=noreply@example.invalid"]
    return options


def name_owner() -> None:
    """Put the person who generates into CODEOWNERS, where git or gh knows who that is."""
    import re

    login = git("config", "--get", "github.user").stdout.strip()
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser(os.path.join("~", ".config"))
    hosts = os.path.join(os.environ.get("GH_CONFIG_DIR") or os.path.join(folder, "gh"), "hosts.yml")
    try:
        if not login:
            with open(hosts, encoding="utf-8") as file:
                host = re.search(r"(?m)^github\.com:[ \t]*\n((?:[ \t]+.*\n?)+)", file.read())
            found = re.search(r"(?m)^[ \t]+user:[ \t]*(\S+)", host[1]) if host else None
            login = found[1] if found else ""
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{,38}", login):
            with open(CODEOWNERS, encoding="utf-8", newline="") as file:
                text = re.sub(
                    r"(?m)^# TO DO:.*\n#\n.*\n", "", file.read().replace("#\n# TO", "# TO")
                )
            with open(CODEOWNERS, "w", encoding="utf-8", newline="") as file:
                file.write(re.sub(r"(?m)^#(\S+ +)@OWNER$", rf"\1@{login}", text))
    except (OSError, ValueError):  # then the file says what to do
        return


def open_repository() -> str | None:
    """Make the project a git repository and stage all but the data.

    Returns what went wrong, an empty text if nothing did, and None if the project lies in a
    repository already, one that does not ignore its folder.
    """
    around = git("rev-parse", "--show-toplevel")
    if around.returncode == 0 and git("check-ignore", "--quiet", os.getcwd()).returncode != 0:
        root = around.stdout.strip()
        say(f"The project lies in the git repository {root}: commit it there.", sys.stdout)
        return None
    if around.returncode and "not a git repository" not in around.stderr:
        return around.stderr
    return first_failure(["init", "--quiet", "-b", "main"], ["add", "--all", "--", ":!data"])


def first_failure(*steps: list[str]) -> str:
    """Run git step by step and return what the first that fails says, or an empty text."""
    for step in steps:
        done = git(*step)
        if done.returncode:
            return done.stderr.strip() or f"exit code {done.returncode}"
    return ""


def next_steps() -> str:
    """Return the commands to go on with, from where the person stands."""
    project = os.getcwd()
    way = os.path.relpath(project, os.path.realpath(os.environ.get("PWD", os.pardir)))
    if way.startswith(os.pardir):
        way = project
    keep = 'git add . && git commit -m "First model"'  # schema and lock, which CI asks for
    steps = (f"cd {shlex.quote(way)}", "make setup", "make pipeline gate", keep, "make serve")
    return "\n  ".join(("Generated. Next:", *steps))


def main(answers: dict[str, str], template: str) -> None:
    """Do all of it; never raise for what the machine lacks."""
    bring_library(template)
    fit_workflows()
    if answers.get("github_owner") == "auto":
        name_owner()
    message = f"Generate {answers['project_name']} from Gatehouse"
    # Hashing the data keeps one core busy, git another.
    data = threading.Thread(target=bring_data, args=(answers["data"], answers["__source"]))
    data.start()
    failure = open_repository()
    data.join()
    if failure == "":
        commit = [*identity(answers["author_name"]), "commit", "--quiet", "-m", message]
        failure = first_failure(["add", "--all"], commit)
    if failure:
        mend = f"git init -b main && git add . && git commit -m {shlex.quote(message)}"
        warn(f"there is no first commit ({failure}): mend that, then run `{mend}`.")
    say(next_steps(), sys.stdout)


if __name__ == "__main__":
    # tojson escapes the single quote, so that no answer can end this literal. Not double quotes.
    given = json.loads(r'{{ cookiecutter | tojson }}')  # fmt: skip
    main(
        {name: value for name, value in given.items() if isinstance(value, str)},
        find_template(given),
    )
