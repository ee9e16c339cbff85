"""A bucket is read in CI by a token of GitHub's, which is asked for the right audience."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gatehouse.cli.run import guarded
from gatehouse.core.project import Project
from gatehouse.github.oidc import oidc

Step = Callable[..., tuple[str, str]]
TOKEN = "header.payload.signature"
VARIABLES = {
    "s3": {"AWS_ROLE_ARN": "arn:aws:iam::1:role/data", "AWS_REGION": "eu-central-1"},
    "gs": {
        "GCP_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/p/providers/g",
        "GCP_SERVICE_ACCOUNT": "data@acme.iam.gserviceaccount.com",
    },
    "azure": {
        "AZURE_CLIENT_ID": "c",
        "AZURE_TENANT_ID": "t",
        "AZURE_STORAGE_ACCOUNT": "store",
    },
}
AUDIENCES = {
    "s3": "sts.amazonaws.com",
    "gs": f"https://iam.googleapis.com/{VARIABLES['gs']['GCP_IDENTITY_PROVIDER']}",
    "azure": "api://AzureADTokenExchange",
}


class GitHub:
    """GitHub's token endpoint: what it was asked, and how often it fails first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.failures = 0
        self.answer = json.dumps({"value": TOKEN}).encode()


@pytest.fixture
def github() -> Iterator[tuple[GitHub, str]]:
    state = GitHub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            state.asked.append((query["audience"][0], self.headers["Authorization"]))
            self.send_response(503 if len(state.asked) <= state.failures else 200)
            self.end_headers()
            self.wfile.write(state.answer)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state, f"http://127.0.0.1:{server.server_port}/token?version=1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Step:
    """The command as a step of a job has it: what it printed, and what it said."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(tmp_path / "env"),
        "RETRY_SECONDS": "0",
    }.items():
        monkeypatch.setenv(name, text)

    def step(remote: str, code: int, **variables: str) -> tuple[str, str]:
        (tmp_path / ".dvc").mkdir(exist_ok=True)
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote}\n"
        (tmp_path / ".dvc/config").write_text(config, encoding="utf-8")
        asking = {name: text for name, text in variables.items() if name.startswith("ACTIONS_")}
        cloud = {name: text for name, text in variables.items() if name not in asking}
        monkeypatch.setenv("CLOUD", json.dumps(cloud))
        for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        for name, text in asking.items():
            monkeypatch.setenv(name, text)
        assert guarded("oidc", lambda: oidc(Project())) == code
        printed, said = capsys.readouterr()
        assert len(said.splitlines()) == 1
        return printed, said

    return step


def told(folder: Path) -> dict[str, str]:
    """What later steps find in their environment."""
    lines = (folder / "env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("kind", ["s3", "gs", "azure"])
def test_each_cloud_gets_its_token_and_its_variables(
    step: Step, tmp_path: Path, github: tuple[GitHub, str], kind: str
) -> None:
    state, url = github
    asking = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    printed, said = step(f"{kind}://bucket/path", 0, **asking, **VARIABLES[kind])
    assert state.asked == [(AUDIENCES[kind], "Bearer secret")]
    assert printed == f"::add-mask::{TOKEN}\n"
    assert TOKEN not in said
    variables = told(tmp_path)
    if kind == "gs":
        account = json.loads(Path(variables.pop("GOOGLE_APPLICATION_CREDENTIALS")).read_text())
        assert variables == {}
        assert account["audience"] == AUDIENCES["gs"].removeprefix("https:")
        assert (
            VARIABLES["gs"]["GCP_SERVICE_ACCOUNT"] in account["service_account_impersonation_url"]
        )
        file = Path(account["credential_source"]["file"])
    else:
        name = {"s3": "AWS_WEB_IDENTITY_TOKEN_FILE", "azure": "AZURE_FEDERATED_TOKEN_FILE"}[kind]
        file = Path(variables.pop(name))
        assert variables == VARIABLES[kind]
    assert file.read_text(encoding="utf-8") == TOKEN
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_token_takes_the_place_of_the_first(
    step: Step, tmp_path: Path, github: tuple[GitHub, str]
) -> None:
    state, url = github
    asking = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    step("s3://bucket", 0, **asking, **VARIABLES["s3"])
    state.answer = json.dumps({"value": "second"}).encode()
    step("s3://bucket", 0, **asking, **VARIABLES["s3"])
    assert Path(told(tmp_path)["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text() == "second"


@pytest.mark.parametrize("remote", ["../.dvc-storage", "ssh://host/data", "/mnt/data"])
def test_other_remotes_need_none(step: Step, tmp_path: Path, remote: str) -> None:
    assert "needs no token" in step(remote, 0)[1]
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("bad", ["", "eu\nEVIL=1", "a b"])
def test_variables_that_are_not_set_or_would_set_others(
    step: Step, tmp_path: Path, github: tuple[GitHub, str], bad: str
) -> None:
    given = VARIABLES["s3"] | {"AWS_REGION": bad, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    _, said = step("s3://b1", 2, **given, ACTIONS_ID_TOKEN_REQUEST_URL=github[1])
    assert "AWS_REGION are empty or unusable: set them as variables" in said
    assert not (tmp_path / "env").exists()


def test_a_fork_is_told_that_it_cannot_read_the_data(step: Step, tmp_path: Path) -> None:
    _, said = step("s3://b1", 3, **VARIABLES["s3"])
    assert "a fork cannot read the data" in said
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(("failures", "code"), [(2, 0), (3, 3)])
def test_an_endpoint_that_fails_is_asked_three_times(
    step: Step, tmp_path: Path, github: tuple[GitHub, str], failures: int, code: int
) -> None:
    state, url = github
    state.failures = failures
    asking = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    step("azure://box", code, **asking, **VARIABLES["azure"])
    assert len(state.asked) == 3
    assert (tmp_path / "env").exists() is (code == 0)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b"<html>"])
def test_an_answer_that_is_no_token(
    step: Step, tmp_path: Path, github: tuple[GitHub, str], answer: bytes
) -> None:
    state, url = github
    state.answer = answer
    asking = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    _, said = step("s3://b1", 3, **asking, **VARIABLES["s3"])
    assert "GitHub gave no token" in said
