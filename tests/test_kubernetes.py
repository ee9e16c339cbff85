"""The manifests of deploy/kubernetes: built by the real ``kubectl kustomize``, valid, and safe.

Valid is what the schemas of Kubernetes say, offline. That pods really start under these limits and
policies needs a cluster, and none can be had where these tests run.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from baked import BakedProject
from brokers import program

OLDEST, NEWEST = "1.27", "1.37"  # the oldest that knows every field
COMPONENT = "app.kubernetes.io/component"


class Invalid(Exception):
    """No cluster would take it."""


def built(overlay: Path) -> list[Any]:
    """What ``kubectl apply -k`` would send."""
    command = [program("kubectl"), "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Invalid(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def valid(documents: list[Any]) -> list[Any]:
    """The same, each held against Kubernetes' schemas."""
    from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

    for document in documents:
        for version in (OLDEST, NEWEST):
            try:
                validate(document, version, strict=True)
            except (SchemaNotFoundError, ValidationError) as error:
                raise Invalid(f"{document['kind']}: {error.message}") from None
    return documents


@pytest.fixture
def deploy(example: BakedProject, tmp_path: Path) -> BakedProject:
    """The manifests of the example, to be changed."""
    shutil.copytree(example.path / "deploy", tmp_path / "deploy")
    return BakedProject(tmp_path)


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
def test_the_manifests_are_valid_and_safe(example: BakedProject, name: str) -> None:
    documents = valid(built(example.path / "deploy/kubernetes/overlays" / name))
    assert {one["kind"] for one in documents} == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount"
    }  # fmt: skip
    assert flaws(documents) == []
    ours = {"app.kubernetes.io/name": "flight-delays", "app.kubernetes.io/instance": name}
    assert all(one["metadata"]["labels"] == ours for one in documents)


def test_production_has_more_than_one(example: BakedProject) -> None:
    bounds = {}
    for name in ("staging", "production"):
        documents = built(example.path / "deploy/kubernetes/overlays" / name)
        [scaler] = [one["spec"] for one in documents if one["kind"] == "HorizontalPodAutoscaler"]
        bounds[name] = (scaler["minReplicas"], scaler["maxReplicas"])
    assert bounds == {"staging": (1, 2), "production": (2, 6)}


def test_the_longest_name_is_a_valid_label(bake: Callable[..., BakedProject]) -> None:
    project = bake(project_slug="a" * 63, package_name="long")
    assert flaws(valid(built(project.path / "deploy/kubernetes/overlays/production"))) == []


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
        valid(built(deploy.path / "deploy/kubernetes/overlays/staging"))


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
    assert flaw in flaws(built(deploy.path / "deploy/kubernetes/overlays/production"))


def test_kustomize_leaves_an_empty_selector_alone(deploy: BakedProject) -> None:
    # Why network.yaml says `matchLabels: {}`: a policy for every pod of the namespace otherwise.
    before = "podSelector:\n    # Filled by the overlay; without this line kustomize would leave all pods of the namespace.\n    matchLabels: {}\n"
    deploy.replace("deploy/kubernetes/base/network.yaml", before, "podSelector: {}\n")
    documents = built(deploy.path / "deploy/kubernetes/overlays/staging")
    [policy] = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    assert policy["podSelector"] == {}


def test_the_service_knows_what_the_manifests_tell_it(science: BakedProject) -> None:
    from flight_delays.service.app import OPEN
    from flight_delays.service.settings import Settings

    documents = built(science.path / "deploy/kubernetes/overlays/production")
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
