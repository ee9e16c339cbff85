"""The manifests of deploy/kubernetes that are shipped: built by the real ``kubectl kustomize``, valid, and safe.

Valid is what the schemas of Kubernetes say, offline. That pods really start under these limits and
policies needs a cluster, and none can be had where these tests run.
"""

from pathlib import Path
from typing import Any

import pytest
from baked import BakedProject
from manifests import Invalid, built, name_project, valid

from gatehouse.core.project import Project

COMPONENT = "app.kubernetes.io/component"
OVERLAYS = "deploy/kubernetes/overlays"


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BakedProject:
    """The manifests of a project, to be changed."""
    return laid_out(tmp_path, monkeypatch, "flight-delays")


def laid_out(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> BakedProject:
    from gatehouse.core.shipped import lay_out

    name_project(folder, name)
    monkeypatch.chdir(folder)
    lay_out(Project(), "deploy", folder)
    return BakedProject(folder)


def flaws(documents: list[Any]) -> list[str]:
    """What is not as safe or as consistent as it has to be; kinds by their last one."""
    by = {one["kind"]: one for one in documents}
    spec, found = by["Deployment"]["spec"], []
    pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"].items()
    [container] = pod["containers"]
    inside, outside = container.get("securityContext", {}), pod.get("securityContext", {})
    variables = {one["name"]: one["value"] for one in container["env"]}
    seconds = sum(float(variables[f"SERVICE_{name}_SECONDS"]) for name in ("DRAIN", "FINISH"))
    policy = by["NetworkPolicy"]["spec"]
    ports = [
        port["port"] for rule in policy.get("egress", [{}]) for port in rule.get("ports", [{}])
    ]
    true = {
        "runs as root": outside.get("runAsNonRoot") is True and outside["runAsUser"] == 10001,
        "no seccomp": outside.get("seccompProfile") == {"type": "RuntimeDefault"},
        "root can be written": inside.get("readOnlyRootFilesystem") is True,
        "privileges grow": inside.get("allowPrivilegeEscalation") is False,
        "capabilities": inside.get("capabilities") == {"drop": ["ALL"]},
        "token": pod.get("automountServiceAccountToken") is False
        and by["ServiceAccount"].get("automountServiceAccountToken") is False,
        "variables of Services": pod.get("enableServiceLinks") is False,
        "killed while it finishes": pod["terminationGracePeriodSeconds"] > seconds,
        "no /tmp": {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"],
        "no place for the log": {"name": "log", "mountPath": variables.get("SERVICE_LOG_FOLDER")}
        in container["volumeMounts"],
        "no memory limit": "memory" in container["resources"].get("limits", {}),
        "fewer while it updates": spec["strategy"]["rollingUpdate"]
        == {"maxUnavailable": 0, "maxSurge": 1},
        "starts longer than the deadline": container["startupProbe"]["failureThreshold"]
        < spec["progressDeadlineSeconds"],
        "replicas undo the autoscaler": "replicas" not in spec,
        "another Deployment scales": by["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == by["Deployment"]["metadata"]["name"],
        "Service": by["Service"]["spec"]["selector"].items() <= labels,
        "disruptions": by["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items()
        == spec["selector"]["matchLabels"].items(),
        "policy for all pods of the namespace": len(policy["podSelector"]["matchLabels"]) == 2
        and policy["podSelector"]["matchLabels"].items() <= labels,
        "policy knows the one that is tried alone": COMPONENT
        not in policy["podSelector"]["matchLabels"],
        "open inwards": [r["ports"] for r in policy["ingress"]]
        == [[{"port": 3000, "protocol": "TCP"}]],
        "open outwards": policy["policyTypes"] == ["Ingress", "Egress"] and set(ports) == {53},
    }
    found += [name for name, good in true.items() if not good]
    return found


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_manifests_are_valid_and_safe(deploy: BakedProject, name: str) -> None:
    documents = valid(built(deploy.path / OVERLAYS / name))
    assert {one["kind"] for one in documents} == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount"
    }  # fmt: skip
    assert flaws(documents) == []
    ours = {"app.kubernetes.io/name": "flight-delays", "app.kubernetes.io/instance": name}
    assert all(one["metadata"]["labels"] == ours for one in documents)


def test_production_has_more_than_one(deploy: BakedProject) -> None:
    bounds = {}
    for name in ("staging", "production"):
        documents = built(deploy.path / OVERLAYS / name)
        [scaler] = [one["spec"] for one in documents if one["kind"] == "HorizontalPodAutoscaler"]
        bounds[name] = (scaler["minReplicas"], scaler["maxReplicas"])
    assert bounds == {"staging": (1, 2), "production": (2, 6)}


def test_the_longest_name_is_a_valid_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = laid_out(tmp_path, monkeypatch, "a" * 63)
    assert flaws(valid(built(project.path / OVERLAYS / "production"))) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("deployment.yaml", "- name: http", "- nome: http", "nome"),
        ("deployment.yaml", "containerPort: 3000", "containerPort: many", "'many' is not of type"),
        ("deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem", "readonlyRootFilesystem"),
        ("deployment.yaml", "\n        - name: tmp\n          emptyDir", "\n        - emptyDir", "'name' is a required"),
        ("autoscaler.yaml", "autoscaling/v2", "autoscaling/v2beta2", "no matches for Id"),
        ("disruption.yaml", "policy/v1", "policy/v1beta1", "PodDisruptionBudget"),
        ("service.yaml", "targetPort: http", "targetPorts: http", "targetPorts"),
        ("network.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: Ingress", "'Ingress' is not of type"),
        ("kustomization.yaml", "service.yaml", "servise.yaml", "servise.yaml"),
    ],
)  # fmt: skip
def test_a_broken_manifest_is_seen(
    deploy: BakedProject, file: str, old: str, new: str, words: str
) -> None:
    deploy.replace(f"deploy/kubernetes/base/{file}", old, new)
    with pytest.raises(Invalid, match=words):
        valid(built(deploy.path / OVERLAYS / "staging"))


@pytest.mark.parametrize(
    ("file", "old", "new", "flaw"),
    [
        ("deployment", "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"),
        ("deployment", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root can be written"),
        ("deployment", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "privileges grow"),
        ("deployment", "drop: [ALL]", "drop: [NET_RAW]", "capabilities"),
        ("deployment", "type: RuntimeDefault", "type: Unconfined", "no seccomp"),
        ("deployment", "enableServiceLinks: false", "enableServiceLinks: true", "variables of Services"),
        ("deployment", "PeriodSeconds: 30", "PeriodSeconds: 20", "killed while it finishes"),
        ("deployment", "maxUnavailable: 0", "maxUnavailable: 1", "fewer while it updates"),
        ("deployment", "revisionHistoryLimit: 10", "replicas: 1", "replicas undo the autoscaler"),
        ("network", "matchLabels: {}", "matchLabels: {a: b}", "policy for all pods of the namespace"),
        ("network", "port: 53\n          protocol: UDP", "port: 443\n          protocol: TCP", "open outwards"),
        ("account", "Token: false", "Token: true", "token"),
    ],
)  # fmt: skip
def test_an_unsafe_manifest_is_seen(
    deploy: BakedProject, file: str, old: str, new: str, flaw: str
) -> None:
    deploy.replace(f"deploy/kubernetes/base/{file}.yaml", old, new)
    assert flaw in flaws(built(deploy.path / OVERLAYS / "production"))


def test_kustomize_leaves_an_empty_selector_alone(deploy: BakedProject) -> None:
    # Why network.yaml says `matchLabels: {}`: a policy for every pod of the namespace otherwise.
    before = "podSelector:\n    # Filled by the overlay; without this line kustomize would leave all pods of the namespace.\n    matchLabels: {}\n"
    deploy.replace("deploy/kubernetes/base/network.yaml", before, "podSelector: {}\n")
    documents = built(deploy.path / OVERLAYS / "staging")
    [policy] = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    assert policy["podSelector"] == {}


def test_the_service_knows_what_the_manifests_tell_it(deploy: BakedProject) -> None:
    from gatehouse.serving.app import OPEN
    from gatehouse.serving.settings import Settings

    documents = built(deploy.path / OVERLAYS / "production")
    [spec] = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    [container] = spec["containers"]
    for one in container["env"]:
        assert one["name"].removeprefix("SERVICE_").lower() in Settings.model_fields
    probes = [
        container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "readiness", "liveness")
    ]
    assert probes == ["/readyz", "/readyz", "/livez"]
    assert set(probes) <= OPEN


def test_in_kubernetes_the_same_splitter_stands_beside_production(
    deploy: BakedProject,
) -> None:
    documents = valid(built(deploy.path / "deploy/trial"))
    by = {(one["kind"], one["metadata"]["name"].partition("-")[0]): one for one in documents}
    deployments = {name for kind, name in by if kind == "Deployment"}
    assert deployments == {"champion", "candidate", "trial"}
    # Nothing of production's own: ending a trial must not take it away.
    own = {
        (one["kind"], one["metadata"]["name"])
        for one in built(deploy.path / OVERLAYS / "production")
    }
    assert not own & {(one["kind"], one["metadata"]["name"]) for one in documents}
    part = "app.kubernetes.io/component"
    for side in ("champion", "candidate"):
        deployment, service = by["Deployment", side], by["Service", side]
        pod = deployment["spec"]["template"]
        selectors = deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]
        assert pod["metadata"]["labels"][part] == side
        assert all(
            s.items() <= pod["metadata"]["labels"].items() and s[part] == side for s in selectors
        )
        env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
        assert env["SIDE"] == side
        assert env["SERVICE_LOG"] == "gatehouse.serving.lines:write"
    config = by["ConfigMap", "trial"]["data"]
    assert config["nginx.conf"] == deploy.read("deploy/trial/nginx.conf")
