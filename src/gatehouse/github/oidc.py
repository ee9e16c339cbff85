"""``gatehouse github oidc``: lets DVC read a bucket in CI, with no stored secret.

GitHub says in a token who runs, and the cloud trusts it for one role, which variables of the
repository name. The token lives for minutes: run this again before a later push.
``oidc(project)`` is all of it, and needs no environment.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import address

from .keys import private

TRIES = 3
NEEDS = {
    "s3": ["AWS_ROLE_ARN", "AWS_REGION"],
    "gs": ["GCP_IDENTITY_PROVIDER", "GCP_SERVICE_ACCOUNT"],
    "azure": ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_STORAGE_ACCOUNT"],
}
TOKEN_FILES = {"s3": "AWS_WEB_IDENTITY_TOKEN_FILE", "azure": "AZURE_FEDERATED_TOKEN_FILE"}
ACCOUNTS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


def oidc(project: Project) -> int:
    """Write the token, and tell the steps that follow where it lies."""
    kind = address(project, shared=True).partition("://")[0]
    if kind not in NEEDS:
        say("oidc: the data remote needs no token of a cloud")
        return GOOD
    said = json.loads(os.environ.get("CLOUD") or "{}")  # all variables of the repository
    given = {name: str(said.get(name, "")) for name in NEEDS[kind]}
    if lacking := [name for name, value in given.items() if not re.fullmatch("[!-~]+", value)]:
        sentence = "are empty or unusable: set them as variables of the repository"
        raise Stop(
            "oidc-unset", f"{', '.join(lacking)} {sentence}, as `gatehouse github oidc trust` says"
        )
    if not os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        raise Stop(
            "oidc-no-token",
            "no token can be had: a fork cannot read the data, so a maintainer must push its "
            "branch to this repository; and a job needs `id-token: write`, which `gatehouse github "
            "oidc allow` writes into the workflows",
            INFRASTRUCTURE,
        )
    provider = given.get("GCP_IDENTITY_PROVIDER")
    google = f"https://iam.googleapis.com/{provider}"
    audiences = {"s3": "sts.amazonaws.com", "azure": "api://AzureADTokenExchange", "gs": google}
    if not (token := _token(audiences[kind])):
        raise Stop(
            "oidc-no-token",
            f"GitHub gave no token, {TRIES} tries failed: run the job again",
            INFRASTRUCTURE,
        )
    file = _write("oidc-token", token)
    if kind == "gs":
        account = {
            "type": "external_account",
            "audience": f"//iam.googleapis.com/{provider}",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": (
                f"{ACCOUNTS}/{given['GCP_SERVICE_ACCOUNT']}:generateAccessToken"
            ),
            "credential_source": {"file": file},
        }
        given = {"GOOGLE_APPLICATION_CREDENTIALS": _write("oidc.json", json.dumps(account))}
    else:
        given[TOKEN_FILES[kind]] = file
    with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as variables:
        variables.writelines(f"{name}={value}\n" for name, value in given.items())
    say(f"oidc: DVC may use {kind}:// by {', '.join(given)}")
    return GOOD


def _token(audience: str) -> str | None:
    url = f"{os.environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={quote(audience, safe='')}"
    secret = os.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}"})
    for tried in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                token = str(json.load(answer)["value"])
        except (OSError, ValueError, LookupError, TypeError):
            time.sleep(float(os.environ.get("RETRY_SECONDS", "1")) * 3**tried)
            continue
        sys.stdout.write(f"::add-mask::{token}\n")
        return token
    return None


def _write(name: str, text: str) -> str:
    path = Path(os.environ["RUNNER_TEMP"], name)
    path.unlink(missing_ok=True)  # made anew: nobody else has it open
    return private(path, text)
