"""Data in a bucket: `make push` and `make data` of a generated project against a real S3 protocol."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from conftest import bake_into
from projects import TEMPLATE
from test_played_day import orders

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """An empty bucket ``data`` on a server of this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "RETRY_SECONDS": "0.01",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        made = boto3.resource("s3").Bucket("data")
        made.create()
        yield made
    server.stop()


@pytest.fixture(scope="module")
def project(bucket: Any, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project that keeps its data there, with an environment of its own."""
    folder = tmp_path_factory.mktemp("bucket")
    orders(200, seed=1).to_csv(folder / "orders.csv", index=False)
    answers = {"data": str(folder / "orders.csv"), "target": "returned", "project_name": "Orders"}
    project = bake_into(folder, **answers, data_remote="s3://data/orders")
    command = ["git", "init", "--quiet", "--bare", "-b", "main", str(folder / "origin.git")]
    subprocess.run(command, check=True)
    project.git("remote", "add", "origin", f"file://{folder}/origin.git")
    project.run("sh", "gatehouse", "--version")
    return project


@pytest.fixture
def clone(project: BakedProject, tmp_path: Path) -> BakedProject:
    url = project.git("remote", "get-url", "origin")
    command = ["git", "clone", "--quiet", "--depth", "1", url, str(tmp_path / "clone")]
    subprocess.run(command, check=True)
    (tmp_path / "clone/.venv").symlink_to(project.path / ".venv")
    return BakedProject(tmp_path / "clone")


def test_1_versions_agree_with_those_of_the_lock(project: BakedProject) -> None:
    project.run(".venv/bin/uv", "pip", "check", "--python", ".venv")
    listed = project.run(".venv/bin/uv", "pip", "freeze", "--python", ".venv").stdout
    shipped = TEMPLATE / "src/gatehouse/files/locks/s3.txt"
    locked = project.read("requirements/train.txt") + shipped.read_text(encoding="utf-8")
    pinned = [line for line in listed.splitlines() if "==" in line]
    assert [line for line in pinned if line not in locked] == []
    assert any(line.startswith("dvc-s3==") for line in pinned)


def test_2_without_a_bucket_nothing_is_pushed(
    project: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = project.gatehouse("push", code=3).stderr
    assert "the data could not be pushed" in said
    assert "3 tries failed" in said
    assert project.git("ls-remote", "origin") == ""


def test_3_commits_whose_data_were_not_pushed(project: BakedProject, tmp_path: Path) -> None:
    project.git("push", "--quiet", "origin", "main")
    url = project.git("remote", "get-url", "origin")
    subprocess.run(["git", "clone", "--quiet", url, str(tmp_path / "clone")], check=True)
    clone = BakedProject(tmp_path / "clone")
    (clone.path / ".venv").symlink_to(project.path / ".venv")
    said = clone.gatehouse("data", code=2).stderr
    assert "data/source.csv is in no cache or remote, data not pushed: run `gatehouse push`" in said


def test_4_push_and_fetch(project: BakedProject, clone: BakedProject, bucket: Any) -> None:
    project.make("push")
    [key] = [one.key for one in bucket.objects.all()]
    md5 = project.yaml("data/source.csv.dvc")["outs"][0]["md5"]
    assert key == f"orders/files/md5/{md5[:2]}/{md5[2:]}"
    assert "dvc-storage" not in project.git("ls-remote", "origin")
    clone.gatehouse("data")
    assert clone.read("data/source.csv") == project.read("data/source.csv")


def test_5_an_object_that_was_changed_in_the_bucket(clone: BakedProject, bucket: Any) -> None:
    [one] = list(bucket.objects.all())
    whole = one.get()["Body"].read()
    one.put(Body=whole[::-1])
    said = clone.gatehouse("data", code=2).stderr
    assert "data/source.csv is damaged, its digest is" in said
    assert not clone.has_file("data/source.csv")
    one.put(Body=whole)
    clone.gatehouse("data")
    assert clone.has_file("data/source.csv")


def test_6_the_variables_of_oidc_stand_in_for_a_key(
    project: BakedProject, clone: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "Unable to locate credentials" in clone.gatehouse("data", code=3).stderr
    (tmp_path / "token").write_text("header.payload.signature", encoding="utf-8")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/data")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    clone.gatehouse("data")
    assert clone.read("data/source.csv") == project.read("data/source.csv")
