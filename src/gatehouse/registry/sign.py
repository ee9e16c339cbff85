"""Verbs ``sign`` and ``verify``: somebody vouches for the model and for its image.

Signed are the directory ``model/`` and the image's statement, ``reports/image.json``, which names
image, model, blessing and commit by digest. The signatures lie in ``reports/``, so that the model
and its digest stay as they were blessed. Which signatures count stands in ``deploy.yaml``.
"""

import base64
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatehouse.core.config import results
from gatehouse.core.config.deploy import Signing, load
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL, file_digest
from gatehouse.core.errors import CLOSED, GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json, write_text
from gatehouse.core.layout import BLESSING
from gatehouse.core.layout import DEPLOY as SETTINGS
from gatehouse.core.project import Project
from gatehouse.vcs.git import git

from .keys import public_key
from .provenance import check_provenance

STATEMENT = Path("reports/image.json")
OF_MODEL, OF_IMAGE = Path("reports/model.sig"), Path("reports/image.sig")
SECONDS = 120  # for Sigstore
BRANCHES = ("origin/environments", "environments")
SAID = ("image", "id", "model", "blessing", "commit")  # what statement and record both say


def used(project: Project) -> bool:
    """Whether somebody signs here, so that what runs has to be verified."""
    rules = load(project).signing
    return bool(rules.required or rules.identity or [*Path(rules.keys).glob("*.pem")])


def signs(project: Project) -> bool:
    """Whether this run can sign: with the key that it was given, or as the workflow."""
    return bool(os.environ.get("KEY") or load(project).signing.identity)


def check_model(project: Project) -> None:
    """Stop (gate closed) unless ``model`` is what somebody signed whom the settings name.

    Without a signature it goes on and says so, if the settings do not require one.
    """
    _check(project / MODEL, project / OF_MODEL, load(project).signing)


def check_image(project: Project, release: Mapping[str, Any]) -> None:
    """Stop unless the image of a record, or of ``reports/image.json``, is signed as it says there.

    Its statement is the one in ``reports/``; for another image, such as one to go back to, the one
    that ``promote`` put on the branch ``environments``.
    """
    rules, image = load(project).signing, str(release.get("image"))
    with _statement(project, image) as path:
        if _check(path, path.with_suffix(".sig"), rules, of=image):
            statement = read_json(path)
            for name in SAID:
                if name in release and statement.get(name) != release[name]:
                    said = f"{release[name]}, and what was signed says {statement.get(name)}"
                    raise Stop(
                        "signature-wrong", f"{name} of {image} is {said}: do not run it", CLOSED
                    )
    if rules.provenance:
        check_provenance(image, rules.identity, rules.issuer)
        say(f"{image}: built by {rules.identity}, says GitHub")


def kept(project: Project, image: str) -> dict[str, Path]:
    """Path on branch ``environments`` -> file here: what ``check_image`` will ask for later."""
    files = {f"{_name(image)}.json": project / STATEMENT, f"{_name(image)}.sig": project / OF_IMAGE}
    return files if all(path.exists() for path in files.values()) else {}


@contextmanager
def _statement(project: Project, image: str) -> Iterator[Path]:
    """The statement of an image, with its signature beside it where there is one."""
    ours = (project / STATEMENT).exists() and read_json(
        project / STATEMENT, "run `make image`"
    ).get("image") == image
    if ours and (project / OF_IMAGE).exists():
        yield project / STATEMENT
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in (place := Path(folder, STATEMENT.name)), place.with_suffix(".sig"):
            shown = (
                git(project, "show", f"{branch}:{_name(image)}{path.suffix}") for branch in BRANCHES
            )
            if text := next(filter(None, shown), None):
                path.write_text(text, encoding="utf-8")
        yield place


def _name(image: str) -> str:
    return "signed-" + re.sub(r"[^A-Za-z0-9.]+", "-", image)


def _check(what: Path, signature: Path, rules: Signing, of: str = "") -> bool:
    """Whether it is signed; Stop where a signature is wrong, or lacks and is required."""
    name = of or f"{what}/"
    if not signature.exists():
        if rules.required:
            raise Stop(
                "signature-missing",
                f"{name} is not signed, and {SETTINGS} requires it: run `gatehouse sign`",
                CLOSED,
            )
        say(f"{name}: not signed")
        return False
    say(f"{name}: signed by {_signer_of(what, signature, rules)}")
    return True


def _signer_of(what: Path, signature: Path, rules: Signing) -> str:
    """Who signed ``what`` as it is now; Stop where nobody did whom the settings name."""
    try:
        bundle = json.loads(signature.read_text(encoding="utf-8"))
        hint = bundle["verificationMaterial"].get("publicKey", {}).get("hint")
        payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        then = {one["name"]: one["digest"] for one in payload["predicate"]["resources"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise Stop(
            "signature-damaged", f"{signature} is damaged: sign again, or remove it", CLOSED
        ) from None
    now = _now(what)
    verifying = _library().verifying.Config().set_hashing_config(_hashing())
    if hint is None:
        who = rules.identity
        if not who:
            raise Stop(
                "signature-no-identity",
                f"{signature} is of a workflow, and signing.identity in {SETTINGS} names none",
                CLOSED,
            )
        _reach(lambda: verifying.use_sigstore_verifier(identity=who, oidc_issuer=rules.issuer))
    else:
        who = str(public_key(hint, Path(rules.keys), signature))
        verifying.use_elliptic_key_verifier(public_key=who)
    try:
        verifying.verify(what, signature)
    except Exception as error:  # a forged file can make a library raise anything
        if not str(error).startswith("Signature mismatch"):
            raise Stop(
                "signature-wrong",
                f"{signature} is not a signature of {who} ({type(error).__name__}): "
                "sign again, or find out who wrote it",
                CLOSED,
            ) from None
        other = sorted(n for n in then.keys() | now.keys() if then.get(n) != now.get(n))
        said = "; ".join(_change(what / name, then.get(name), now.get(name)) for name in other)
        raise Stop("signature-wrong", f"{what} is not what {who} signed: {said}", CLOSED) from None
    return who


def _change(path: Path, then: str | None, now: str | None) -> str:
    if then is None or now is None:
        return f"{path} {'was not there' if then is None else 'is gone'}"
    return f"{path} was sha256:{then}, is sha256:{now}"


def _hashing() -> Any:
    """Every file of a directory counts, those of git as well; a symbolic link is refused."""
    return _library().hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _now(what: Path) -> dict[str, str]:
    """File -> SHA-256, as they are now."""
    for path in (what, *what.rglob("*")):
        if path.is_symlink():
            fix = f"`dvc unprotect {what}` puts the file itself there"
            raise Stop(
                "sign-symlink", f"{path} is a symbolic link, which nobody signs: {fix}", CLOSED
            )
    try:
        found = _hashing().hash(what)
    except ValueError:
        raise Stop(
            "file-missing", f"{what} is not there or cannot be read: make it again", CLOSED
        ) from None
    return {one.identifier: one.digest.digest_hex for one in found.resource_descriptors()}


def _library() -> Any:
    try:
        import model_signing
    except ImportError:
        raise Stop(
            "signing-missing",
            "model-signing is not in .venv: run `gatehouse verify`",
            INFRASTRUCTURE,
        ) from None
    return model_signing


def _reach(call: Callable[[], Any]) -> None:
    """Do what asks Sigstore; it sets itself no limit, and what goes wrong there is no verdict."""
    problems = ["no answer"]

    def ask() -> None:
        try:
            call()
            problems.clear()
        except Exception as error:
            problems[:] = [" ".join(f"{error}".split())[:200] or type(error).__name__]

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    if problems:
        raise Stop(
            "sigstore-unreachable",
            f"Sigstore cannot be reached ({problems[0]}): run the same again",
            INFRASTRUCTURE,
        )


# --- signing ----------------------------------------------------------------------------------


def sign(project: Project, key: Path | None) -> int:
    """Sign the blessed model, and the image's statement where it is there; idempotent."""
    rules, digest = load(project).signing, results.blessing(project.root).model_digest
    _sign(project / MODEL, project / OF_MODEL, key, rules)
    if not (project / STATEMENT).exists():
        return GOOD
    statement = read_json(project / STATEMENT, "run `make image`")
    if (statement.get("model"), statement.get("blessing")) != (
        digest,
        file_digest(project / BLESSING),
    ):
        say(f"{STATEMENT} is of another model, and not signed: run `make image`, then this again")
    elif statement.get("blessed") is not True:
        raise Stop(
            "image-not-blessed", f"the image of {STATEMENT} is not blessed, and not signed", CLOSED
        )
    else:
        _sign(project / STATEMENT, project / OF_IMAGE, key, rules)
    return GOOD


def _sign(what: Path, signature: Path, key: Path | None, rules: Signing) -> None:
    signing = _library().signing.Config().set_hashing_config(_hashing())
    _now(what)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, signature.name)
        if key is None:
            _keyless(rules)
            ambient = {"use_ambient_credentials": True}
            _reach(lambda: signing.use_sigstore_signer(**ambient).sign(what, draft))
        else:
            try:
                signing.use_elliptic_key_signer(private_key=key)
            except (OSError, ValueError, TypeError, AttributeError) as error:
                why = error.strerror if isinstance(error, OSError) else "no private EC key in PEM"
                raise Stop(
                    "key-damaged",
                    f"{key} cannot be read as a key ({why}): see `gatehouse key --help`",
                ) from None
            signing.sign(what, draft)
        who = _signer_of(what, draft, rules)  # what nobody could verify is no signature
        write_text(signature, draft.read_text(encoding="utf-8"))
    say(f"{what}: signed by {who}, see {signature}")


def _keyless(rules: Signing) -> None:
    """Stop where this is no workflow that may, or where nobody could tell whose signature it is."""
    if "GITHUB_ACTIONS" not in os.environ or "ACTIONS_ID_TOKEN_REQUEST_URL" not in os.environ:
        raise Stop(
            "sign-no-key",
            "no key: say which, `gatehouse sign --key FILE` (`gatehouse key release` makes one); "
            "without one it takes a job of GitHub Actions with the permission `id-token: write`",
        )
    if not rules.identity:
        raise Stop(
            "signature-no-identity",
            f"signing.identity in {SETTINGS} is empty: write down which workflow may sign, or sign "
            "by key",
        )


def verify(project: Project) -> int:
    """Check the model here, and the image of ``reports/image.json`` if there is one."""
    check_model(project)
    if (project / STATEMENT).exists():
        check_image(project, read_json(project / STATEMENT, "run `make image`"))
    return GOOD
