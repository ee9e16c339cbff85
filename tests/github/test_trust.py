"""What is pasted for a cloud: run with programs that only write down what they were asked."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from manifests import name_project

from gatehouse.core.project import Project

ABOUT = {
    "full_name": "ada/flight-delays",
    "id": 1000,
    "owner": {"id": 7},
    "created_at": "2026-11-30T10:00:00Z",
}
SUBJECT = "repo:ada@7/flight-delays@1000"
PROGRAM = """#!/bin/sh
printf '%s\\0' "{name}" "$@" >> "$CALLS"; printf '\\0' >> "$CALLS"
[ "{name} $1 $2" != "aws iam create-role" ] || [ -z "$THERE" ] || exit 254
echo 42
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Paste the script of a cloud; the calls of its programs, word by word."""
    from gatehouse.github import trust

    name_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trust, "call", lambda *_: (404, None))
    for name in ("aws", "gcloud", "az", "gh"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROGRAM.format(name=name), encoding="utf-8")
        path.chmod(0o755)

    def calls(url: str, **variables: str) -> list[list[str]]:
        (tmp_path / ".dvc").mkdir()
        text = f"[core]\n remote = s\n['remote \"s\"']\n url = {url}\n"
        (tmp_path / ".dvc/config").write_text(text, encoding="utf-8")
        said = tmp_path / "calls"
        environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CALLS": str(said)}
        command = ["sh", "-c", trust.script(Project(), ABOUT)]
        done = subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = said.read_text(encoding="utf-8").split("\0\0")
        return [line.split("\0") for line in lines if line]

    return calls


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def variables(made: list[list[str]]) -> dict[tuple[str, str], str]:
    """(environment, name) -> value of what `gh variable set` was told."""
    told = [words for words in made if words[:3] == ["gh", "variable", "set"]]
    return {
        (after(words, "--env") if "--env" in words else "", words[3]): after(words, "--body")
        for words in told
        if after(words, "--repo") == "ada/flight-delays"
    }


@pytest.mark.parametrize("there", ["", "yes"])
def test_aws_has_a_role_that_reads_and_one_that_writes(calls: Any, there: str) -> None:
    made = calls("s3://store/orders", THERE=there)
    trusted, allowed = {}, {}
    for words in made:
        if words[2] == "create-role":
            [said] = json.loads(after(words, "--assume-role-policy-document"))["Statement"]
            assert said["Action"] == "sts:AssumeRoleWithWebIdentity"
            provider = "arn:aws:iam::42:oidc-provider/token.actions.githubusercontent.com"
            assert said["Principal"] == {"Federated": provider}
            rules = {kind: dict(rule) for kind, rule in said["Condition"].items()}
            aud = {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
            assert rules.pop("StringEquals") == aud
            [subject] = rules.pop("StringLike").values()
            assert not rules
            trusted[after(words, "--role-name")] = subject
        if words[2] == "put-role-policy":
            said = json.loads(after(words, "--policy-document"))["Statement"]
            allowed[after(words, "--role-name")] = {
                (action, one["Resource"])
                for one in said
                for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
            }
    reads, writes = "flight-delays-reads", "flight-delays-writes"
    assert trusted == {reads: f"{SUBJECT}:*", writes: f"{SUBJECT}:environment:data"}
    bucket = "arn:aws:s3:::store"
    assert allowed[reads] == {("s3:ListBucket", bucket), ("s3:GetObject", f"{bucket}/*")}
    assert allowed[writes] - allowed[reads] == {("s3:PutObject", f"{bucket}/*")}
    assert variables(made) == {
        ("", "AWS_REGION"): "42",
        ("", "AWS_ROLE_ARN"): f"arn:aws:iam::42:role/{reads}",
        ("data", "AWS_ROLE_ARN"): f"arn:aws:iam::42:role/{writes}",
    }


def test_google_trusts_this_repository_alone(calls: Any) -> None:
    made = calls("gs://store/orders")
    [provider] = [words for words in made if "create-oidc" in words]
    assert "--attribute-condition=assertion.repository_id == '1000'" in provider
    binds = [words for words in made if "--role=roles/iam.workloadIdentityUser" in words]
    pool = "iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/github"
    assert [words[-1] for words in binds] == [
        f"--member=principalSet://{pool}/attribute.repository_id/1000",
        f"--member=principal://{pool}/subject/{SUBJECT}:environment:data",
    ]
    roles = [words[5] for words in made if words[:3] == ["gcloud", "storage", "buckets"]]
    assert roles == ["--role=roles/storage.objectViewer", "--role=roles/storage.objectUser"]
    names = {
        "data-1000-reads@42.iam.gserviceaccount.com",
        "data-1000-writes@42.iam.gserviceaccount.com",
    }
    said = variables(made)
    assert {v for (_, name), v in said.items() if name == "GCP_SERVICE_ACCOUNT"} == names
    assert said["", "GCP_IDENTITY_PROVIDER"] == f"{pool[19:]}/providers/repository-1000"


def test_azure_has_an_application_for_each(calls: Any) -> None:
    made = calls("azure://store/orders", STORE="account")
    bodies = [json.loads(after(words, "--body")) for words in made if words[:2] == ["az", "rest"]]
    assert {body["issuer"] for body in bodies} == {"https://token.actions.githubusercontent.com"}
    assert bodies[0]["claimsMatchingExpression"]["value"] == f"claims['sub'] matches '{SUBJECT}:*'"
    assert bodies[1]["subject"] == f"{SUBJECT}:environment:data"
    roles = [after(words, "--role") for words in made if words[1:3] == ["role", "assignment"]]
    assert roles == ["Storage Blob Data Reader", "Storage Blob Data Contributor"]
    assert ("data", "AZURE_CLIENT_ID") in variables(made)
