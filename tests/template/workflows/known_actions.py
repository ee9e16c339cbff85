"""The actions we use, with the inputs and outputs of the real ones.

Stand-ins take whatever they are given; that a key is a real input is checked against this table.
``since`` is the first version that runs on node 24, the only one GitHub's runners still have.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """What a version of an action may be given, and gives."""

    since: tuple[int, int, int]
    inputs: frozenset[str]
    outputs: frozenset[str]


def _action(since: tuple[int, int, int], inputs: str, outputs: str = "") -> Action:
    return Action(since, frozenset(inputs.split()), frozenset(outputs.split()))


KNOWN = {
    "actions/checkout": _action(
        (5, 0, 0),
        "repository ref token ssh-key ssh-known-hosts ssh-strict ssh-user persist-credentials path"
        " clean filter sparse-checkout sparse-checkout-cone-mode fetch-depth fetch-tags"
        " show-progress lfs submodules set-safe-directory github-server-url",
        "ref commit",
    ),
    "actions/attest": _action(
        (4, 1, 0),
        "subject-path subject-digest subject-name subject-version subject-checksums sbom-path"
        " predicate-type predicate predicate-path push-to-registry create-storage-record"
        " show-summary github-token",
        "bundle-path attestation-id attestation-url",
    ),
    "actions/cache/restore": _action(
        (5, 0, 0),
        "path key restore-keys enableCrossOsArchive fail-on-cache-miss lookup-only",
        "cache-hit cache-primary-key cache-matched-key",
    ),
    "actions/cache/save": _action((5, 0, 0), "path key upload-chunk-size enableCrossOsArchive"),
    "actions/setup-python": _action(
        (6, 0, 0),
        "python-version python-version-file cache architecture check-latest token"
        " cache-dependency-path update-environment allow-prereleases freethreaded pip-version"
        " pip-install",
        "python-version cache-hit python-path",
    ),
    "actions/upload-artifact": _action(
        (6, 0, 0),
        "name path if-no-files-found retention-days compression-level overwrite"
        " include-hidden-files archive",
        "artifact-id artifact-url artifact-digest",
    ),
    "actions/download-artifact": _action(
        (7, 0, 0),
        "name artifact-ids path pattern merge-multiple github-token repository run-id"
        " skip-decompress digest-mismatch",
        "download-path",
    ),
}
