"""Files that are read in one way, and appear whole or not at all."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError, Stop


def read_json(path: Path, remedy: str = "run `make pipeline`") -> dict[str, Any]:
    """A JSON object from ``path``; missing or damaged files end the command with ``remedy``."""
    try:
        return json_object(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Stop("file-missing", f"{path} is not there: {remedy}") from None
    except (ValueError, RecursionError) as fault:
        raise Stop("file-damaged", f"{path} is damaged ({fault_of(fault)}): {remedy}") from None


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in ``text``; raises ``ValueError``, also where a key stands twice."""
    content = json.loads(text, object_pairs_hook=_once)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def fault_of(error: Exception) -> str:
    """What is wrong with JSON, without a word of it but the name of a key."""
    return str(error) if type(error) is ValueError else "it is no JSON"


def near(name: str, known: Iterable[str]) -> str:
    """`` (did you mean NAME?)`` with the known name that is nearest; empty where none is near."""
    import difflib  # late: a service has no use for it

    found = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from ``path``, read safely."""
    from .strict_yaml import load  # late: what runs without an environment has no YAML

    try:
        content = load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "config-missing", f"{path} is not there: restore it with `git checkout {path}`"
        ) from None
    except UnicodeDecodeError:
        raise InputError("not-utf8", f"{path} is not UTF-8 text: save it as UTF-8") from None
    except Exception as error:  # what is wrong with YAML can raise anything
        mark, twice = getattr(error, "problem_mark", None), "a key twice" in str(error)
        line = f", line {mark.line + 1}," if mark else ""
        what = "has a key twice" if twice else "is not valid YAML"
        raise InputError("config-syntax", f"{path}{line} {what}: correct it") from None
    if not isinstance(content, dict):
        raise InputError(
            "config-empty", f"{path} is empty or no mapping: restore it with `git checkout {path}`"
        )
    return content


def read_section(path: Path, name: str) -> dict[str, Any]:
    """One mapping of a YAML file; an absent one is empty."""
    section = read_yaml(path).get(name) or {}
    if not isinstance(section, dict):
        raise Stop(
            "config-section", f"{path}: {name} is no mapping: restore it with `git checkout {path}`"
        )
    return section


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing, for everybody to read."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that another program can read: no NaN, no infinity."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the final name only if the block succeeds."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            "not-writable", f"{path} cannot be written ({reason}): make room or another path"
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
