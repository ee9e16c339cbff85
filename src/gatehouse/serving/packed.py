"""What a Bento has installed: the packages of the project's locks, the library from ``vendor/``."""

import re
from importlib.resources import files
from pathlib import Path

from gatehouse.core.config.results import blessed
from gatehouse.core.environments import LIBRARY, LOCKS, VENDOR, blocks, skops_part


def requirements() -> str:
    """Lines for what the blessed model of this folder needs; none in a Bento, which has no locks.

    Raises ``InputError`` where the model is not blessed.
    """
    if not LOCKS.is_dir():
        return ""
    found = blocks((LOCKS / "serve.txt").read_text(encoding="utf-8"))
    if blessed(Path()).format == "skops":
        found |= blocks(skops_part())
    if wheels := sorted(VENDOR.glob("*.whl")):
        # By its path: it need not be had of an index. BentoML installs in the folder of the Bento.
        hashes = re.findall(r"--hash=\S+", found.pop(LIBRARY, ""))
        found |= {one.name: " ".join([f"./{one}", *hashes]) + "\n" for one in wheels}
    bento = (files("gatehouse") / "files/locks/bento.txt").read_text(encoding="utf-8")
    return "".join(found.values()) + bento
