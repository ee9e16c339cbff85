"""Seconds and peak memory of every stage: ``python run.py PROJECT`` (Linux).

Runs ``gatehouse data``, ``schema`` and ``pipeline`` in a generated project whose environments are
there, looks at its processes twenty times a second, and prints a table.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

OURS = ("/gatehouse", "gatehouse.cli", "gatehouse.checks")  # what is named by its verb or stage


def processes() -> dict[int, tuple[int, str, int]]:
    """Parent, command line and peak resident KiB of every process of this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text(encoding="utf-8")
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        peak = int(lines.get("VmHWM", "0 kB").split()[0])
        found[int(folder.name)] = (int(lines["PPid"]), " ".join(words), peak)
    return found


def stage(command: str) -> str:
    """The name that a person knows a command by."""
    words = command.split()
    own = next((k for k, word in enumerate(words[:5]) if word.endswith(OURS)), None)
    if own is not None and "multiprocessing" not in command:
        what = "checks " if words[own].endswith("checks") else ""
        return what + " ".join(
            words[own + 1 : own + (3 if words[own].endswith("/gatehouse") else 2)]
        )
    return "dvc" if "dvc repro" in command else "other"


def watch(root: int, peaks: dict[str, int], spans: dict[str, list[float]]) -> None:
    """Keep the highest peak, first and last sight of each stage below process ``root``."""
    seen, now = processes(), time.perf_counter()
    inside, more = set(), {root}
    while more:
        inside |= more
        more = {number for number, told in seen.items() if told[0] in inside} - inside
    for number in inside & seen.keys():
        name = stage(seen[number][1])
        peaks[name] = max(peaks.get(name, 0), seen[number][2])
        spans.setdefault(name, [now, now])[1] = now


def measure(project: Path, verb: str) -> int:
    """Run one verb and print a line a stage; returns its exit code."""
    peaks: dict[str, int] = {}
    spans: dict[str, list[float]] = {}
    start = time.perf_counter()
    with subprocess.Popen(["./gatehouse", verb], cwd=project) as running:
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                watch(running.pid, peaks, spans)

        watcher = threading.Thread(target=look)
        watcher.start()
        code = running.wait()
        done.set()
        watcher.join()
    print(f"\n| {verb} | seconds | peak MiB |\n|---|--:|--:|")
    for name, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        print(f"| {name} | {last - first:.1f} | {peaks[name] / 1024:,.0f} |")
    print(f"| in all | {time.perf_counter() - start:.1f} | {max(peaks.values()) / 1024:,.0f} |")
    return code


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.exit(next(filter(None, (measure(folder, v) for v in ("data", "schema", "pipeline"))), 0))
