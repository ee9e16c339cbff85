"""What topics, clients and Bentos of a project are called by."""

import re
import tomllib
from pathlib import Path


def service_name(root: Path) -> str:
    """The name of the project in ``root`` as a Python identifier.

    It is that of pyproject.toml; where there is none to be read, that of the folder.
    """
    try:
        said = str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        said = root.resolve().name
    name = re.sub(r"\W", "_", said, flags=re.ASCII).lower() or "project"
    return f"model_{name}" if name[0].isdigit() else name
