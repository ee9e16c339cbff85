"""Nobody runs a model or an image that is not what somebody signed whom the settings name."""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from baked import BakedProject
from conftest import bake_into
from gate_files import BLESSED
from stops import stops

from gatehouse.core.project import Project

IDENTITY = "https://github.com/acme/late/.github/workflows/cd.yml@refs/heads/main"
IMAGE = "registry.example/late@sha256:" + "1" * 64
CLOSED_PORT = "http://127.0.0.1:9"
FILES = {"model.json": b'{"task": "binary"}', "model.onnx": b"onnx", "model.skops": b"skops"}
GATE = pytest.mark.gate
SAME = ("signature", "every file is what was signed")
KNOWN = ("signature", "made by a key in deploy/keys")
THERE = ("signature", "there, where it is required")

Change = Callable[[BakedProject], object]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def settings(folder: Path, text: str) -> None:
    (folder / "deploy.yaml").write_text(f"signing:\n{text}")


def put_model(folder: Path, files: dict[str, bytes]) -> str:
    """A blessed model, as far as signing looks at it; its digest."""
    (folder / "model").mkdir(exist_ok=True)
    total = ""
    for name, content in files.items():
        (folder / "model" / name).write_bytes(content)
        total += f"{name} {sha256(content)}\n"
    digest = f"sha256:{sha256(total.encode())}"
    blessing = {"version": 1, **BLESSED, "model_digest": digest}
    (folder / "blessing.json").write_text(json.dumps(blessing))
    return digest


def put_image(folder: Path, model: str, **other: object) -> dict[str, object]:
    """The statement of an image."""
    statement = {
        "image": IMAGE,
        "id": "sha256:" + "2" * 64,
        "model": model,
        "blessing": f"sha256:{sha256((folder / 'blessing.json').read_bytes())}",
        "commit": "c" * 40,
        "blessed": True,
    } | other
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/image.json").write_text(json.dumps(statement))
    return statement


# --- without the library ----------------------------------------------------------------------


@GATE(*THERE, "open")
def test_what_is_not_signed_goes_on_where_no_signature_is_required(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.registry.sign import check_image, check_model

    settings(here, "  required: false\n")
    put_image(here, put_model(here, FILES))
    check_model(Project())
    check_image(Project(), {"image": IMAGE})
    assert capsys.readouterr().err == f"model/: not signed\n{IMAGE}: not signed\n"


@GATE(*THERE, "closed")
def test_what_is_not_signed_is_refused_where_a_signature_is_required(here: Path) -> None:
    from gatehouse.core.errors import CLOSED
    from gatehouse.registry.sign import check_image, check_model

    settings(here, "  required: true\n")
    put_image(here, put_model(here, FILES))
    checks: list[Callable[[], None]] = [
        lambda: check_model(Project()),
        lambda: check_image(Project(), {"image": IMAGE}),
    ]
    for check in checks:
        with stops("signature-missing", "deploy.yaml") as stop:
            check()
        assert stop.value.exit_code == CLOSED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  required: 'yes'\n", "signing.required: Input should be a valid boolean"),
        ("  identity: 3\n", "signing.identity: Input should be a valid string"),
        (
            "  requierd: true\n",
            r"signing.requierd: there is no such field \(did you mean required\?\)",
        ),
        ("  nothing:\n", "signing.nothing: there is no such field"),
    ],
)
def test_a_setting_that_says_nothing_is_no_setting(here: Path, text: str, said: str) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.registry.sign import check_model

    settings(here, text)
    with pytest.raises(Stop, match=said):
        check_model(Project())


def test_a_signature_is_damaged_before_a_library_is_asked(here: Path) -> None:
    from gatehouse.core.errors import CLOSED
    from gatehouse.registry.sign import check_model

    settings(here, "  required: false\n")
    put_model(here, FILES)
    for text in ("", "{}", "[]", "null", '{"verificationMaterial": {}, "dsseEnvelope": 3}'):
        (here / "reports/model.sig").write_text(text)
        with stops("signature-damaged", "reports/model.sig") as stop:
            check_model(Project())
        assert stop.value.exit_code == CLOSED


def test_without_the_library_nothing_passes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.registry.sign import check_model

    settings(here, "  required: false\n")
    put_model(here, FILES)
    payload = base64.b64encode(b'{"predicate": {"resources": []}}').decode()
    bundle = {"verificationMaterial": {}, "dsseEnvelope": {"payload": payload}}
    (here / "reports/model.sig").write_text(json.dumps(bundle))
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with stops("signing-missing") as stop:
        check_model(Project())
    assert stop.value.exit_code == 3


@pytest.mark.parametrize(("takes", "said"), [(5, "no answer"), (-1, "sleep length")])
def test_sigstore_has_its_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch, takes: int, said: str
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.registry import sign

    monkeypatch.setattr(sign, "SECONDS", 0.2)
    sign._reach(lambda: time.sleep(0.01))
    before = time.monotonic()
    with pytest.raises(Stop, match=rf"Sigstore cannot be reached \({said}.*run the same") as stop:
        sign._reach(lambda: time.sleep(takes))
    assert stop.value.exit_code == 3
    assert time.monotonic() - before < 2


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("echo '[{}]'", None, ""),
        ("echo '[]'", 1, "was not built by"),
        ("echo '✗ No attestations found with predicate type' >&2", 1, "was not built by"),
        ("echo 'X: no attestations found for subject' >&2; exit 1", 1, "was not built by"),
        ("echo 'Error: verifying with issuer \"x\"' >&2; exit 1", 1, "was not built by"),
        ("echo 'dial tcp: i/o timeout' >&2; exit 1", 3, "cannot be had"),
        ("echo 'unknown command \"attestation\"' >&2; exit 1", 3, "too old"),
        ("exit 4", 3, "cannot be had"),
    ],
)
def test_provenance_is_what_github_says(
    here: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int | None, said: str
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.registry.sign import check_image

    gh = here / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\necho "$@" > {here}/asked\n{answer}\n')
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", str(gh.parent), prepend=os.pathsep)
    settings(here, f"  provenance: true\n  identity: {IDENTITY}\n")
    if code is None:
        check_image(Project(), {"image": IMAGE})
    else:
        with pytest.raises(Stop, match=said) as stop:
            check_image(Project(), {"image": IMAGE})
        assert stop.value.exit_code == code
    assert (here / "asked").read_text().split() == [
        *("attestation", "verify", f"oci://{IMAGE}", "--repo", "acme/late"),
        *("--cert-identity", IDENTITY),
        *("--cert-oidc-issuer", "https://token.actions.githubusercontent.com"),
        *("--format", "json"),
    ]


def test_provenance_wants_an_identity_a_digest_and_gh(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.registry.sign import check_image

    settings(here, "  provenance: true\n")
    with stops("provenance-no-identity"):
        check_image(Project(), {"image": IMAGE})
    settings(here, f"  provenance: true\n  identity: {IDENTITY}\n")
    with stops("image-no-registry"):
        check_image(Project(), {"image": "late:1"})
    (here / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(here))
    with stops("gh-missing") as stop:
        check_image(Project(), {"image": IMAGE})
    assert stop.value.exit_code == 3


# --- with it, in a project's environment ------------------------------------------------------


@pytest.fixture(scope="module")
def desk(environments: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project with its environment, and two keys outside of it."""
    folder = tmp_path_factory.mktemp("signing")
    project = bake_into(folder).borrow_environments(environments)
    for name in ("release", "other"):
        project.gatehouse("key", name, "--out", str(folder / f"{name}.pem"))
    return project


@pytest.fixture
def signed(desk: BakedProject) -> BakedProject:
    """A model and an image, both signed with the key ``release``."""
    for name in ("model", "reports"):
        desk.run("rm", "-rf", name)
    desk.run("git", "checkout", "--quiet", "deploy.yaml", code=None)
    settings(desk.path, "  required: true\n")
    put_image(desk.path, put_model(desk.path, FILES))
    sign(desk)
    return desk


def sign(project: BakedProject, name: str = "release", code: int = 0) -> str:
    done = project.gatehouse("sign", "--key", str(project.path.parent / f"{name}.pem"), code=code)
    return done.stderr


def refused(project: BakedProject, *said: str) -> None:
    """``verify`` closes the gate, names the file and says why."""
    stderr = project.gatehouse("verify", code=1).stderr
    for words in said:
        assert words in stderr
    assert "Traceback" not in stderr


@pytest.mark.slow
@GATE(*SAME, "open")
@GATE(*KNOWN, "open")
def test_what_was_signed_verifies_and_the_model_stays_as_it_is(signed: BakedProject) -> None:
    by = "signed by deploy/keys/release.pub.pem"
    assert signed.gatehouse("verify").stderr == f"model/: {by}\n{IMAGE}: {by}\n"
    assert {path.name for path in (signed.path / "model").iterdir()} == set(FILES)
    sign(signed)
    signed.gatehouse("verify")


CHANGES: dict[str, tuple[Change, str]] = {
    "one byte of the weights": (
        lambda p: p.write("model/model.skops", "skopz"),
        f"model/model.skops was sha256:{sha256(b'skops')}, is sha256:{sha256(b'skopz')}",
    ),
    "one byte of the card": (
        lambda p: p.write("model/model.json", '{"task": "binarY"}'),
        "model/model.json was sha256:",
    ),
    "a file more": (
        lambda p: p.write("model/extra.py", ""),
        "signed: model/extra.py was not there [signature-wrong]\n",
    ),
    "a file more, which git ignores": (
        lambda p: p.write("model/.gitignore", ""),
        "signed: model/.gitignore was not there [signature-wrong]\n",
    ),
    "a file less": (
        lambda p: (p.path / "model/model.onnx").unlink(),
        "signed: model/model.onnx is gone [signature-wrong]\n",
    ),
    "no model": (lambda p: p.run("rm", "-r", "model"), "model is not there"),
    "a link": (
        lambda p: p.run("ln", "-sf", "/etc/hostname", "model/model.onnx"),
        "model/model.onnx is a symbolic link",
    ),
    "one byte of the statement": (
        lambda p: p.replace("reports/image.json", '"blessed": true', '"blessed":  true'),
        "reports/image.json was sha256:",
    ),
    "the signatures exchanged": (
        lambda p: p.run("cp", "reports/image.sig", "reports/model.sig"),
        "model is not what deploy/keys/release.pub.pem signed",
    ),
}


@pytest.mark.slow
@GATE(*SAME, "closed")
@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_what_was_signed_is_refused_by_name(signed: BakedProject, case: str) -> None:
    change, said = CHANGES[case]
    change(signed)
    refused(signed, said)
    # Not required does not mean not looked at.
    settings(signed.path, "  required: false\n")
    refused(signed, said)


def spoil(project: BakedProject, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    bundle = json.loads(project.read("reports/model.sig"))
    change(bundle)
    project.write("reports/model.sig", json.dumps(bundle))


def without(project: BakedProject, name: str) -> Path:
    """The public key put aside."""
    path = project.path / f"deploy/keys/{name}.pub.pem"
    return path.rename(path.with_suffix(".aside"))


@pytest.mark.slow
@GATE(*KNOWN, "closed")
def test_a_key_that_is_not_among_ours_counts_for_nothing(signed: BakedProject) -> None:
    sign(signed, "other")
    aside = without(signed, "other")
    try:
        refused(signed, "reports/model.sig is by a key that is not in deploy/keys/")
        # Nor is anything signed which nobody here could verify.
        before = signed.read("reports/model.sig")
        assert "not in deploy/keys/" in sign(signed, "other", code=1)
        assert signed.read("reports/model.sig") == before
        # The hint of one key on the signature of another.
        bundle = json.loads(before)
        sign(signed)
        hint = json.loads(signed.read("reports/model.sig"))["verificationMaterial"]
        signed.write("reports/model.sig", json.dumps(bundle | {"verificationMaterial": hint}))
        refused(signed, "reports/model.sig is not a signature of deploy/keys/release.pub.pem")
    finally:
        aside.rename(signed.path / "deploy/keys/other.pub.pem")


@pytest.mark.slow
@GATE(*KNOWN, "closed")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b["dsseEnvelope"].update(signatures=[]), "is not a signature of"),
        (lambda b: b["dsseEnvelope"].update(payload="e30="), "is damaged"),
        (
            lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="MEUCIQ=="),
            "is not a signature of",
        ),
        (lambda b: b["verificationMaterial"].pop("publicKey"), "names none"),
        (lambda b: b.update(mediaType="text/plain"), "is not a signature of"),
    ],
)
def test_a_damaged_signature_is_none(
    signed: BakedProject, change: Callable[[dict[str, dict[str, object]]], object], said: str
) -> None:
    spoil(signed, change)
    refused(signed, "reports/model.sig", said)


@pytest.mark.slow
def test_only_what_is_blessed_is_signed(signed: BakedProject) -> None:
    folder = signed.path
    signed.run("rm", "-r", "reports")
    put_image(folder, put_model(folder, FILES), blessed=False)
    assert "the image of reports/image.json is not blessed" in sign(signed, code=1)
    assert signed.has_file("reports/model.sig")
    assert not signed.has_file("reports/image.sig")
    put_image(folder, "sha256:of another")
    assert "is of another model, and not signed" in sign(signed)
    assert not signed.has_file("reports/image.sig")
    signed.run("rm", "-r", "reports")
    signed.write("model/model.skops", "changed after its blessing")
    assert "[model-not-blessed]" in sign(signed, code=1)
    assert not (folder / "reports").exists()


@pytest.mark.slow
def test_a_record_must_say_what_was_signed(signed: BakedProject) -> None:
    record = json.loads(signed.read("reports/image.json")) | {"who": "ada", "action": "promote"}
    ask = "import json, sys; from gatehouse.core.project import Project; from gatehouse.registry.sign import check_image as c; c(Project(), json.loads(sys.argv[1]))"
    python = (
        ".venv/bin/python",
        "-c",
        f"from gatehouse.core.errors import Stop\ntry:\n  {ask}\n"
        "except Stop as error: sys.stderr.write(str(error)); raise SystemExit(error.exit_code)",
    )
    signed.run(*python, json.dumps(record))
    for name in ("id", "model", "blessing", "commit"):
        done = signed.run(*python, json.dumps(record | {name: "another"}), code=1)
        assert f"{name} of {IMAGE} is another, and what was signed says" in done.stderr
    done = signed.run(*python, json.dumps(record | {"image": "another:1"}), code=1)
    assert "another:1 is not signed" in done.stderr


@pytest.mark.slow
def test_an_image_to_go_back_to_is_verified_by_what_the_branch_keeps(signed: BakedProject) -> None:
    write = (
        "from gatehouse.core.project import Project\n"
        "from gatehouse.registry.sign import kept; from pathlib import Path\n"
        f"for name, path in kept(Project(), {IMAGE!r}).items():\n"
        "    Path(name).write_bytes(path.read_bytes()); print(name)"
    )
    names = signed.run(".venv/bin/python", "-c", write).stdout.split()
    assert len(names) == 2
    signed.run("git", "init", "--quiet", code=None)
    signed.git("read-tree", "--empty")
    signed.git("add", "-f", *names)
    tree = signed.git("write-tree")
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    signed.git("branch", "-f", "environments", signed.git(*who, "commit-tree", "-m", "x", tree))
    statement = json.loads(signed.read("reports/image.json"))
    put_image(signed.path, "sha256:newer", image="newer:1")
    ask = f"from gatehouse.core.project import Project; from gatehouse.registry.sign import check_image as c; c(Project(), {statement!r})"
    done = signed.run(".venv/bin/python", "-c", ask)
    assert f"{IMAGE}: signed by deploy/keys/release.pub.pem" in done.stderr
    signed.run("rm", *names)
    signed.git("branch", "-D", "environments")


@pytest.mark.slow
def test_keys_stay_outside_and_are_never_replaced(
    signed: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = signed.path.parent / "release.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    for words in (("release",), ("third", "--out", str(private))):
        assert "is there: take another name" in signed.gatehouse("key", *words, code=2).stderr
    assert private.read_bytes() == before
    for place in ("third.pem", ".venv/third.pem", str(signed.path / "reports/third.pem")):
        said = signed.gatehouse("key", "third", "--out", place, code=2).stderr
        assert "is inside the repository" in said
    assert "is no name for a key" in signed.gatehouse("key", "../x", code=2).stderr
    assert not (signed.path / "deploy/keys/third.pub.pem").exists()
    signed.gatehouse("key", "third", "--out", "../third.pem")
    (signed.path / "deploy/keys/third.pub.pem").unlink()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = signed.gatehouse("key", "third").stderr
    assert f"{tmp_path}/flight-delays/third.pem is the private key, not encrypted" in said
    (signed.path / "deploy/keys/third.pub.pem").unlink()


def rsa(path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.unlink(missing_ok=True), "No such file"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.write_text("no key"), "no private EC key in PEM"),
        (rsa, "no private EC key in PEM"),
    ],
)
def test_a_key_that_cannot_be_read_is_named(
    signed: BakedProject, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    key = tmp_path / "key.pem"
    make(key)
    done = signed.gatehouse("sign", "--key", str(key), code=2)
    assert f"{key} cannot be read as a key" in done.stderr
    assert said in done.stderr


@pytest.mark.slow
def test_a_public_key_that_is_damaged_is_named(signed: BakedProject) -> None:
    before = signed.read("deploy/keys/other.pub.pem")
    signed.write("deploy/keys/other.pub.pem", "no key")
    done = signed.gatehouse("verify", code=2)
    assert "deploy/keys/other.pub.pem is no public key" in done.stderr
    signed.write("deploy/keys/other.pub.pem", before)


@pytest.mark.slow
def test_keyless_is_for_a_workflow_that_is_named_and_never_pretends(
    signed: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)
    signed.run("rm", "-r", "reports")
    assert "no key: say which" in signed.gatehouse("sign", code=2).stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "no key: say which" in signed.gatehouse("sign", code=2).stderr
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{CLOSED_PORT}/token?a=b")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
    assert "signing.identity in deploy.yaml is empty" in signed.gatehouse("sign", code=2).stderr
    settings(signed.path, f"  identity: {IDENTITY}\n")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, CLOSED_PORT)
    assert "Sigstore cannot be reached" in signed.gatehouse("sign", code=3).stderr
    assert not (signed.path / "reports").exists()


@pytest.mark.slow
def test_a_keyless_signature_is_nothing_without_sigstore(
    signed: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(signed, lambda b: b.update(verificationMaterial={"certificate": {"rawBytes": "AA=="}}))
    refused(signed, "is of a workflow, and signing.identity in deploy.yaml names none")
    settings(signed.path, f"  identity: {IDENTITY}\n")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, CLOSED_PORT)
    assert "Sigstore cannot be reached" in signed.gatehouse("verify", code=3).stderr
