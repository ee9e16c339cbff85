"""Known vulnerabilities of the packages in the image close, unless one was accepted with a reason."""

from pathlib import Path

import pytest
from gate_files import put
from osv import osv, service
from stops import stops

from gatehouse.core.errors import Stop
from gatehouse.core.project import Project
from gatehouse.packaging import audit as module


def audit(here: Path, accepted: str = "") -> int:
    (here / "gates.yaml").write_text(f"vulnerabilities: {{accepted: {{{accepted}}}}}\n")
    purls = ("pkg:pypi/numpy@2.4.0", "pkg:pypi/uvicorn@0.40.0", "pkg:deb/debian/libc6@2.36")
    put("sbom.json", {"components": [{"purl": purl} for purl in purls]})
    return module.audit(Project(), here / "sbom.json")


def test_a_known_vulnerability_closes_unless_it_is_accepted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with osv({"pkg:pypi/numpy@": ["GHSA-1"]}) as url:
        monkeypatch.setenv("OSV_URL", url)
        assert audit(here) == 1
        said = capsys.readouterr().out
        assert said.startswith("CLOSED: 2 Python packages, 1 known vulnerabilities\n")
        assert "numpy@2.4.0  https://osv.dev/GHSA-1" in said
        assert audit(here, "GHSA-1: no arrays of strangers are read") == 0
        assert "accepted: GHSA-1 (no arrays of strangers are read)" in capsys.readouterr().out
        assert audit(here, "GHSA-2: another") == 1
    with osv({}) as url:
        monkeypatch.setenv("OSV_URL", url)
        assert audit(here) == 0


def test_no_answer_is_no_all_clear(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_URL", "http://127.0.0.1:9")
    with pytest.raises(Stop) as stop:
        audit(here)
    assert stop.value.exit_code == 3
    with service(lambda _: {"results": []}) as url:
        monkeypatch.setenv("OSV_URL", url)
        with stops("advisories-unreachable", "0 of 2") as stop:
            module.ask(["pkg:pypi/a@1", "pkg:pypi/b@1"])
    assert stop.value.exit_code == 3
