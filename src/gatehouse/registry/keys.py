"""Verb ``key``: pairs of keys for signing. The private one never comes into the repository."""

import hashlib
import os
import re
from pathlib import Path

from gatehouse.core.config.deploy import load
from gatehouse.core.console import say
from gatehouse.core.errors import BROKEN, CLOSED, GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.vcs.git import git


def public_key(fingerprint: str, folder: Path, signature: Path) -> Path:
    """The file in ``folder`` of the key that ``signature`` says it was made with."""
    from cryptography.hazmat.primitives import serialization as pem

    for path in sorted(folder.glob("*.pub.pem")):
        try:
            key = pem.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError):
            raise Stop(
                "key-damaged", f"{path} is no public key: restore it from git", BROKEN
            ) from None
        plain = key.public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
        if hashlib.sha256(plain).hexdigest() == fingerprint:
            return path
    raise Stop(
        "key-unknown",
        f"{signature} is by a key that is not in {folder}/: ask who signed for NAME.pub.pem, or "
        "sign again",
        CLOSED,
    )


def new_key(project: Project, name: str, out: Path | None) -> int:
    """A new pair: the private key outside the repository, the public one to be committed."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise Stop("key-name", f"{name!r} is no name for a key: small letters, digits and hyphens")
    private = (out or _home(project) / f"{name}.pem").expanduser()
    folder = Path(load(project).signing.keys)
    public, top = folder / f"{name}.pub.pem", git(project, "rev-parse", "--show-toplevel") or "."
    root = project.root.absolute()
    ways = (Path(os.path.normpath(root / private)), private.resolve())  # a link leads out
    if any(way.is_relative_to(at) for way in ways for at in (Path(top.strip()), root)):
        raise Stop(
            "key-inside", f"{private} is inside the repository: a private key has no place there"
        )
    private = private.resolve()
    for path in (private, public):
        if path.exists():
            raise Stop(
                "key-exists", f"{path} is there: take another name, old signatures need the old key"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(private, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(secret)
    shown = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    write_text(public, shown.decode())
    say(f"key: {private} is the private key, not encrypted: put it where your secrets are")
    say(f"key: {public} is the public one: commit it, then `gatehouse sign --key {private}`")
    return GOOD


def _home(project: Project) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", project.name)
