"""The provenance that GitHub keeps of an image: which workflow built it."""

import json
import re
import subprocess

from gatehouse.core.errors import BROKEN, CLOSED, INFRASTRUCTURE, Stop

SECONDS = 120
NO = "no attestations found|failed to verify against|verifying with issuer|predicate type"


def check_provenance(image: str, identity: str, issuer: str) -> None:
    """Stop unless GitHub has an attestation of exactly this image by exactly this workflow."""
    workflow = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)/\.github/workflows/.+@.+", identity)
    if not workflow:
        raise Stop(
            "provenance-no-identity",
            "signing.provenance wants signing.identity, the URL of a workflow and its ref",
        )
    if "@sha256:" not in image:
        raise Stop(
            "image-no-registry",
            f"{image} is in no registry: provenance is of an image by digest",
            BROKEN,
        )
    command = ["gh", "attestation", "verify", f"oci://{image}", "--repo", workflow[1]]
    command += ["--cert-identity", identity, "--cert-oidc-issuer", issuer, "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError:
        raise Stop(
            "gh-missing", "gh, GitHub's command line, is not here: install it", INFRASTRUCTURE
        ) from None
    except subprocess.TimeoutExpired:
        raise Stop(
            "gh-slow", f"gh gave no answer in {SECONDS} s: run the same again", INFRASTRUCTURE
        ) from None
    said = " ".join(done.stderr.split())[-300:]
    # Not the exit code alone: a gh of 2025 ended with 0 where it had found none.
    if done.returncode == 0 and _some(done.stdout):
        return
    if done.returncode == 0 or re.search(NO, said, re.IGNORECASE):
        raise Stop(
            "provenance-wrong",
            f"{image} was not built by {identity}, says GitHub ({said}): do not run it",
            CLOSED,
        )
    if "unknown command" in said or "unknown flag" in said:
        raise Stop("gh-old", "gh is too old for `gh attestation verify`: update it", INFRASTRUCTURE)
    raise Stop(
        "provenance-unreachable",
        f"the provenance of {image} cannot be had ({said}): run it again",
        INFRASTRUCTURE,
    )


def _some(answer: str) -> bool:
    try:
        found = json.loads(answer)
    except ValueError:
        return False
    return isinstance(found, list) and bool(found)
