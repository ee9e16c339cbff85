"""The target ``kubernetes`` against a stand-in for kubectl and the cluster behind it.

No cluster can be had where these tests run: ``tests/fake_kubectl.py`` plays both. That proves that
the target gives the commands it should, in the right order, and reads the answers right; manifests
are held against Kubernetes' schemas on the way. It does NOT prove that a cluster behaves so: that
pods start under these limits and policies, that the rollout replaces them without a failed request,
that the autoscaler scales, or that the answers of a real API server have exactly this form.
"""

import copy
import json
import os
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_kubectl
import pytest
from brokers import program
from manifests import eject, name_project

pytestmark = pytest.mark.slow

V1, V2, V3 = (f"registry.example/flights@sha256:{digit * 64}" for digit in "123")


def silent(message: str) -> None:
    """Hear the progress, say nothing."""


class Kube:
    """The stand-in's state, between commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        nothing: Any = {"down": False, "verdicts": {}, "failing": False, "blips": 0}
        self.change(**nothing, objects={}, sets=[], pods={}, calls=[], fresh=True)

    def read(self) -> Any:
        return json.loads(self.path.read_text("utf-8"))

    def change(self, **values: Any) -> None:
        old = {} if "fresh" in values else self.read()
        self.path.write_text(json.dumps(old | values), "utf-8")

    def said(self, verb: str) -> list[str]:
        return [call for call in self.read()["calls"] if f" {verb}" in call]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in notes which documents a cluster would take."""
    return tmp_path_factory.mktemp("valid")


@pytest.fixture
def kube(tmp_path: Path, valid: Path, monkeypatch: pytest.MonkeyPatch) -> Kube:
    """An empty cluster, and a repository to deploy from."""
    monkeypatch.setenv("REAL_KUBECTL", program("kubectl"))
    monkeypatch.setenv("KUBE_VALID", str(valid))
    monkeypatch.setenv("KUBE_STATE", str(tmp_path / "state.json"))
    standin = tmp_path / "bin/kubectl"
    standin.parent.mkdir()
    standin.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake_kubectl.__file__}" "$@"\n')
    standin.chmod(standin.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{standin.parent}{os.pathsep}{os.environ['PATH']}")
    name_project(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    return Kube(tmp_path / "state.json")


def target(name: str = "production", **settings: Any) -> Any:
    from gatehouse.core.config.deploy import Environment
    from gatehouse.deploy.kubernetes import Kubernetes

    said = {"context": "here", "namespace": "flights"} | settings
    said = {key: value for key, value in said.items() if value is not None}
    return Kubernetes(
        Environment(name=name, target="kubernetes", host="", port=3000, replicas=2, project="flight-delays", proxy="", settings=said)
    )  # fmt: skip


def refusal(action: Callable[[], Any]) -> tuple[int, str]:
    from gatehouse.core.errors import Stop

    with pytest.raises(Stop) as stop:
        action()
    return stop.value.exit_code, str(stop.value)


def test_nothing_then_one_then_another(kube: Kube) -> None:
    steps: list[str] = []
    assert target().running() is None
    target().apply(V1, steps.append)
    assert target().running() == (V1, 2, 2, "2026-11-27T17:00:00Z")
    assert any("successfully rolled out" in step for step in steps)
    objects = kube.read()["objects"]
    assert objects["Deployment"]["metadata"]["annotations"] == {"kubernetes.io/change-cause": V1}
    target().apply(V2, silent)
    assert target().running()[:3] == (V2, 2, 2)


def test_again_is_no_new_revision(kube: Kube) -> None:
    target().apply(V1, silent)
    before = kube.read()["sets"]
    target().apply(V1, silent)
    assert kube.read()["sets"] == before


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("CrashLoopBackOff", "CrashLoopBackOff back-off 10s restarting; Error, exit code 1"),
        ("ImagePullBackOff", "ImagePullBackOff Back-off pulling image"),
        ("never ready", "it is never ready"),
    ],
)
def test_what_does_not_become_healthy_is_taken_back(kube: Kube, verdict: str, words: str) -> None:
    target().apply(V1, silent)
    target().apply(V2, silent)
    kube.change(verdicts={V3: verdict})
    code, said = refusal(lambda: target().apply(V3, silent))
    assert (code, said) == (1, f"{V3} does not become healthy: {words}; {V2} serves as before")
    assert target().running()[:3] == (V2, 2, 2)


def test_after_two_that_failed_it_goes_back_to_what_served(kube: Kube) -> None:
    target().apply(V1, silent)
    kube.change(verdicts={V2: "never ready", V3: "CrashLoopBackOff"})
    # As after a deploy that was killed: V2 is the newest revision, V1 still serves.
    cluster = kube.read()
    broken = copy.deepcopy(cluster["sets"][0]) | {"revision": 2, "ready": 0}
    broken["template"]["spec"]["containers"][0]["image"] = V2
    kube.change(sets=[*cluster["sets"], broken], failing=True)
    assert target().running().image == V1
    code, said = refusal(lambda: target().apply(V3, silent))
    assert (code, said.endswith(f"{V1} serves as before")) == (1, True)
    assert kube.said("rollout undo")[-1].endswith("--to-revision=1")


def test_the_first_one_that_fails_is_removed(kube: Kube) -> None:
    kube.change(verdicts={V1: "CrashLoopBackOff"})
    code, said = refusal(lambda: target().apply(V1, silent))
    assert (code, said.endswith("there was none before it, and it was removed")) == (1, True)
    assert target().running() is None


def test_a_deploy_that_also_breaks_the_old_one_says_so(kube: Kube) -> None:
    target().apply(V1, silent)
    kube.change(verdicts={V1: "never ready", V2: "never ready"})
    code, said = refusal(lambda: target().apply(V2, silent))
    assert code == 1
    assert f"nor does {V1}: see `kubectl --context=here --namespace=flights get pods`" in said


def test_a_line_that_breaks_while_it_watches_is_no_failure(kube: Kube) -> None:
    target().apply(V1, silent)
    kube.change(blips=2)
    target().apply(V2, silent)
    assert target().running().image == V2
    assert kube.said("rollout undo") == []


def test_a_rollout_that_never_ends_is_given_up_after_our_own_time(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    target().apply(V1, silent)
    # The cluster has not given it up yet when our `timeout` ends the first watch.
    kube.change(blips=1)
    clock = iter([0.0, 1.0, 700.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock, 700.0))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert target()._healthy(silent) is False


def test_a_cluster_that_cannot_be_reached(kube: Kube) -> None:
    target().apply(V1, silent)
    kube.change(down=True)
    for action in (
        target().running,
        lambda: target().apply(V2, silent),
        lambda: target().front().__enter__(),
    ):
        code, said = refusal(action)
        assert code == 3
        assert "10.0.0.1:6443 was refused" in said
    code, _ = refusal(lambda: target().alone(V2).__enter__())
    assert code == 3


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: gone, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: nobody, user: {token: none}}]
contexts: [{name: here, context: {cluster: gone, user: nobody}}]
"""


def test_the_real_kubectl_knows_every_word_and_finds_no_cluster(
    kube: Kube, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kube.change(verdicts={V2: "never ready"})
    refusal(lambda: target().apply(V2, silent))
    target().apply(V1, silent)
    refusal(lambda: target().apply(V2, silent))
    with target().alone(V1), target().front():
        pass
    calls = {call.split()[2]: call for call in kube.read()["calls"]}  # one of each first word
    calls |= {" ".join(call.split()[2:5]): call for call in kube.read()["calls"]}
    (tmp_path / "config").write_text(KUBECONFIG, encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    config = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    for call in calls.values():
        command = [os.environ["REAL_KUBECTL"], *call.split()]
        done = subprocess.run(command, input=config, capture_output=True, text=True, check=False)
        assert done.returncode == 1, call
        assert "connection refused" in done.stderr or "was refused" in done.stderr, call
    words = {word for call in calls.values() for word in call.split()}
    assert {"apply", "create", "delete", "get", "port-forward", "status", "undo"} <= words
    # And so with the target on top of it.
    (tmp_path / "bin/kubectl").unlink()
    (tmp_path / "bin/kubectl").symlink_to(os.environ["REAL_KUBECTL"])
    for action in (
        target().running,
        lambda: target().apply(V2, silent),
        lambda: target().front().__enter__(),
    ):
        code, said = refusal(action)
        assert (code, "refused" in said) == (3, True), said
    code, said = refusal(target(context="elsewhere").running)
    assert (code, 'context "elsewhere" does not exist' in said) == (3, True), said


def test_no_kubectl(kube: Kube, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for action in (target().running, lambda: target().apply(V1, silent)):
        code, said = refusal(action)
        assert (code, said.startswith("kubectl is not here: install it")) == (3, True)


@pytest.mark.parametrize("key", ["context", "namespace"])
def test_no_cluster_is_guessed(kube: Kube, key: str) -> None:
    nothing: dict[str, Any] = {key: None}
    code, said = refusal(lambda: target(**nothing))
    assert (code, f"production has no {key}" in said) == (2, True)


def test_two_environments_do_not_share_a_namespace(kube: Kube) -> None:
    target("staging").apply(V1, silent)
    before = kube.read()["objects"]
    code, said = refusal(lambda: target("production").apply(V2, silent))
    assert (code, "has a Deployment model of flight-delays, staging" in said) == (2, True)
    assert kube.read()["objects"] == before


def test_an_image_without_a_digest_goes_nowhere(kube: Kube) -> None:
    code, said = refusal(lambda: target().apply("flights:1", silent))
    assert (code, said.startswith("flights:1 is in no registry")) == (2, True)
    assert kube.read()["calls"] == []


def test_a_broken_overlay_is_not_the_clusters_fault(kube: Kube) -> None:
    path = eject("deploy/kubernetes/base/kustomization.yaml")
    path.write_text(path.read_text("utf-8").replace("service.yaml", "nowhere.yaml"), "utf-8")
    code, said = refusal(lambda: target().apply(V1, silent))
    assert (code, "overlays/production cannot be read" in said) == (2, True)
    assert kube.read()["calls"] == []


def test_what_the_cluster_refuses_changes_nothing(kube: Kube) -> None:
    target().apply(V1, silent)
    path = eject("deploy/kubernetes/base/deployment.yaml")
    path.write_text(path.read_text("utf-8").replace("httpGet", "httpGot"), "utf-8")
    code, said = refusal(lambda: target().apply(V2, silent))
    assert (code, "error validating data" in said) == (3, True)
    assert target().running().image == V1


def test_one_alone_gets_no_traffic_and_goes(kube: Kube) -> None:
    target().apply(V1, silent)
    with target().alone(V2) as address:
        for _ in range(3):
            assert urllib.request.urlopen(address).read().decode() == V2
        state = kube.read()
        [pod] = state["pods"].values()
        labels = pod["metadata"]["labels"].items()
        objects = state["objects"]
        assert not objects["Service"]["spec"]["selector"].items() <= labels
        assert not objects["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
        assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
        theirs = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        assert pod["spec"]["containers"] == [theirs | {"image": V2}]
        assert pod["spec"]["activeDeadlineSeconds"] == 900
    assert kube.read()["pods"] == {}
    assert target().running().image == V1


def test_one_alone_goes_also_when_what_it_was_for_fails(kube: Kube) -> None:
    with pytest.raises(ZeroDivisionError), target().alone(V2):
        raise ZeroDivisionError
    assert kube.read()["pods"] == {}


@pytest.mark.parametrize("verdict", ["CrashLoopBackOff", "ImagePullBackOff"])
def test_one_alone_that_does_not_start(kube: Kube, verdict: str) -> None:
    kube.change(verdicts={V2: verdict})
    code, said = refusal(lambda: target().alone(V2).__enter__())
    assert code == 1
    assert said.startswith(f"{V2} does not start: ")
    assert kube.read()["pods"] == {}


def test_one_alone_that_never_gets_ready(kube: Kube) -> None:
    kube.change(verdicts={V2: "never ready"})
    code, said = refusal(lambda: target(timeout=0.5).alone(V2).__enter__())
    assert (code, said) == (1, f"{V2} does not start: it is never ready")
    assert kube.read()["pods"] == {}


def test_the_address(kube: Kube) -> None:
    with target(address="https://flights.example").front() as address:
        assert address == "https://flights.example"
    for version in (V1, V2):
        target().apply(version, silent)
        with target().front() as address:
            assert urllib.request.urlopen(address).read().decode() == version
