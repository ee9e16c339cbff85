"""What a run did, read from the log of act."""

import json
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from workflows.github import Call


@dataclass
class Run:
    """A finished run. A job is named as GitHub does: ``code``, ``test (3.11, linux)``."""

    id: int
    code: int
    seconds: float
    artifacts: dict[str, Path]
    calls: list[Call]
    results: dict[str, str] = field(default_factory=dict)
    """Of the jobs that ran; a skipped one is not in it."""
    logs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Result of each named or identified step, by job."""
    outputs: dict[tuple[str, str], dict[str, str]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    summaries: dict[str, str] = field(default_factory=lambda: defaultdict(str))
    annotations: list[tuple[str, str, str]] = field(default_factory=list)
    """Job, level and message."""

    told: list[str] = field(default_factory=list)
    times: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    """When a job said something first and last."""

    @property
    def text(self) -> str:
        """The whole story, for people."""
        return "\n".join(["", *self.told])

    @property
    def conclusion(self) -> str:
        return "failure" if self.code or "failure" in self.results.values() else "success"

    def took(self, job: str) -> float:
        """Seconds of a job."""
        return (self.times[job][-1] - self.times[job][0]).total_seconds()

    def log(self, job: str) -> str:
        """What the steps of a job printed."""
        return "".join(self.logs[job])

    def output(self, job: str, step: str, name: str) -> str:
        return self.outputs[job, step][name]

    def artifact(self, name: str) -> dict[str, bytes]:
        """The files of an artifact."""
        with zipfile.ZipFile(self.artifacts[name]) as archive:
            return {one: archive.read(one) for one in archive.namelist()}

    def read(self, lines: list[str]) -> "Run":
        """Take in the log, one JSON object a line."""
        failed: set[str] = set()
        for line in lines:
            try:
                told = json.loads(line)
            except ValueError:
                self.told.append(line)
                continue
            if "jobID" in told:
                self._take(told, failed)
            else:
                self.told.append(told.get("msg", line))
        for job, result in self.results.items():
            # act gives every cell of a matrix the result of the worst so far.
            if result == "failure" and "(" in job and job not in failed:
                self.results[job] = "success"
        return self

    def _take(self, told: dict[str, Any], failed: set[str]) -> None:
        job, message = told["jobID"], told["msg"]
        if told.get("matrix"):
            job = f"{job} ({', '.join(str(value) for value in told['matrix'].values())})"
        if when := told.get("time"):
            self.times[job][1:] = [datetime.fromisoformat(when)]
        step = (told.get("stepID") or [""])[-1]
        # How a stand-in comes to be run is nobody's concern.
        ours = message.startswith("LocalRepositoryCache") or "workflows.standins" in message
        if not ours and (told.get("stage") == "Main" or "jobResult" in told):
            self.told.append(f"{job:12} {message.rstrip()}")
        match told.get("command"):
            case "set-output":
                self.outputs[job, step][told["name"]] = told["arg"]
            case "summary":
                self.summaries[job] += told["content"]
            case "error" | "warning" | "notice" as level:
                self.annotations.append((job, level, told.get("arg") or message.strip()))
            case None if told.get("raw_output"):
                self.logs[job].append(message)
            case None if told["level"] == "error":
                failed.add(job)
        if told.get("stage") == "Main" and "stepResult" in told and len(told["stepID"]) == 1:
            self.steps[job][told["step"] if step.isdigit() else step] = told["stepResult"]
        if "jobResult" in told:
            self.results[job] = told["jobResult"]
