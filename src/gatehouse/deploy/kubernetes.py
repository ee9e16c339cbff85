"""Target ``kubernetes``: deploy/kubernetes, brought to a cluster by kubectl.

The Deployment is called ``model`` everywhere, so each environment has a namespace of its own; what
another project or environment has put there is refused. Settings of an environment: ``context``,
``namespace``, and perhaps ``address`` and ``timeout`` (seconds).
"""

import json
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from gatehouse.core import shipped
from gatehouse.core.config.deploy import Environment
from gatehouse.core.errors import CLOSED, INFRASTRUCTURE, Stop
from gatehouse.core.layout import DEPLOY as PATH
from gatehouse.core.strict_yaml import load

from .target import Running

NAME, PORT = "model", 3000
OVERLAYS = "deploy/kubernetes/overlays"
LABEL = "app.kubernetes.io"
REVISION = "deployment.kubernetes.io/revision"
ALONE_SECONDS = 900  # after which the cluster itself ends a pod that nobody could remove
NEEDED = {
    "context": "`kubectl config get-contexts` lists them",
    "namespace": "`kubectl create namespace NAME` makes one",
}


class Served(NamedTuple):
    """A version of the Deployment: the revision that ``kubectl rollout undo`` knows."""

    ready: int
    revision: int
    image: str


class Kubernetes:
    """One environment: one namespace of one cluster."""

    def __init__(self, environment: Environment) -> None:
        said = environment.settings
        for key, fix in NEEDED.items():
            if not said.get(key):
                raise Stop(
                    "deploy-incomplete", f"{PATH}: {environment.name} has no {key}: add it, {fix}"
                )
        self.environment, self.overlay = environment, f"{OVERLAYS}/{environment.name}"
        self.place = f"namespace {said['namespace']} of {said['context']}"
        self.command = ["kubectl", f"--context={said['context']}"]
        self.command += [f"--namespace={said['namespace']}"]
        self.seconds = float(said.get("timeout", 600))

    def running(self) -> Running | None:
        """The version with the most ready pods."""
        deployment, served = self._state()
        if deployment is None:
            return None
        best = max(served, default=Served(0, 0, _image(deployment["spec"]["template"])))
        since = _condition(deployment, "Progressing").get("lastUpdateTime")
        since = since or deployment["metadata"]["creationTimestamp"]
        return Running(best.image, best.ready, deployment["spec"].get("replicas", 1), since)

    def apply(self, image: str, step: Callable[[str], None]) -> None:
        """Apply the overlay with ``image``; where it does not become healthy, back to what served.

        Raises ``Stop``: CLOSED after going back, INFRASTRUCTURE where kubectl or the cluster fails.
        """
        manifests = self._render(image)
        before, served = self._state()
        step(f"{self.overlay} goes to {self.place}")
        self._kubectl("apply", "--filename=-", given=manifests)
        if self._healthy(step):
            return
        sentence = f"{image} does not become healthy: {self._why(image)}"
        if before is None:
            self._kubectl("delete", "deployment", NAME, "--wait=false")
            raise Stop(
                "release-refused",
                f"{sentence}; there was none before it, and it was removed",
                CLOSED,
            )
        last = max(served, default=Served(0, 0, "what was there"))
        step(f"going back to {last.image}")
        # By number: the revision before this one may be an attempt that failed as well.
        self._kubectl("rollout", "undo", f"deployment/{NAME}", f"--to-revision={last.revision}")
        if not self._healthy(step):
            look = " ".join([*self.command, "get", "pods"])
            raise Stop(
                "release-refused", f"{sentence}; nor does {last.image}: see `{look}`", CLOSED
            )
        raise Stop("release-refused", f"{sentence}; {last.image} serves as before", CLOSED)

    @contextmanager
    def alone(self, image: str) -> Iterator[str]:
        """The address of a pod like those of the Deployment, which the Service does not know."""
        made = {one["kind"]: one for one in map(load, self._render(image).split("\n---\n"))}
        template = made["Deployment"]["spec"]["template"]
        name = f"{NAME}-alone-{secrets.token_hex(3)}"
        labels = template["metadata"]["labels"] | {f"{LABEL}/component": "alone"}
        limits = {"restartPolicy": "Never", "activeDeadlineSeconds": ALONE_SECONDS}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": template["spec"] | limits,
        }
        # Before the first deploy there is no account yet, and no pod without one.
        self._kubectl("apply", "--filename=-", given=json.dumps(made["ServiceAccount"]))
        try:
            self._kubectl("create", "--filename=-", given=json.dumps(pod))
            self._wait_for(name, image)
            with self._forward(f"pod/{name}") as address:
                yield address
        finally:
            run([*self.command, "delete", "pod", name, "--ignore-not-found", "--wait=false"])

    def front(self) -> AbstractContextManager[str]:
        """``address`` of the settings, else a tunnel to the Service."""
        if said := self.environment.settings.get("address"):
            return nullcontext(str(said))
        return self._forward(f"service/{NAME}", 80)

    def present(self, image: str) -> None:
        """Nobody can say: each node of the cluster fetches for itself."""
        del image

    def _kubectl(self, *words: str, given: str = "") -> str:
        """Standard output of a kubectl command there."""
        done = run([*self.command, "--request-timeout=20s", *words], given)
        if done.returncode:
            said = (done.stderr.strip() or "no reason").splitlines()[-1]
            raise Stop(
                "kubectl-failed",
                f"`kubectl {words[0]}` fails in {self.place} ({said}): mend that, run it again",
                INFRASTRUCTURE,
            )
        return done.stdout

    def _items(self, kinds: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._kubectl("get", kinds, "-o=json"))["items"]
        return found

    def _state(self) -> tuple[dict[str, Any] | None, list[Served]]:
        """The Deployment, None where there is none, and its versions."""
        items = self._items("deployments,replicasets")
        ours = [i for i in items if i["kind"] == "Deployment" and i["metadata"]["name"] == NAME]
        if not ours:
            return None, []
        labels = ours[0]["metadata"].get("labels", {})
        whose = (labels.get(f"{LABEL}/name"), labels.get(f"{LABEL}/instance"))
        if whose != (self.environment.project, self.environment.name):
            raise Stop(
                "namespace-taken",
                f"{self.place} has a Deployment {NAME} of {whose[0]}, {whose[1]}: give "
                f"{self.environment.name} a namespace of its own in {PATH}",
            )
        uid = ours[0]["metadata"]["uid"]
        owned = [
            item
            for item in items
            if any(o["uid"] == uid for o in item["metadata"].get("ownerReferences", []))
        ]
        return ours[0], [
            Served(
                item.get("status", {}).get("readyReplicas", 0),
                int(item["metadata"]["annotations"][REVISION]),
                _image(item["spec"]["template"]),
            )
            for item in owned
        ]

    def _render(self, image: str) -> str:
        """The manifests with ``image``, made here: kubectl asks no cluster for it."""
        repository, _, digest = image.partition("@")
        if not digest:
            fix = f"set a registry in {PATH}, `make image`"
            raise Stop(
                "image-unreachable",
                f"{image} is in no registry that a cluster could fetch it from: {fix}",
            )
        note = {"name": NAME, "annotations": {"kubernetes.io/change-cause": image}}
        patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": note}
        with shipped.laid_out(self.environment.home, "deploy") as folder:
            here = folder.parent
            content = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [self.overlay],
                "images": [{"name": NAME, "newName": repository, "digest": digest}],
                "patches": [{"patch": json.dumps(patch)}],
            }
            (here / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
            done = run(["kubectl", "kustomize", str(here)])
        if done.returncode:
            said = done.stderr.strip().replace(f"{here}/", "")
            raise Stop("overlay-unreadable", f"{self.overlay} cannot be read ({said}): correct it")
        return done.stdout

    def _healthy(self, step: Callable[[str], None]) -> bool:
        """Wait until the Deployment is complete; False after its deadline or ours."""
        end = time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0:
            words = ["rollout", "status", f"deployment/{NAME}", f"--timeout={left:.0f}s"]
            with subprocess.Popen(
                [*self.command, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process:
                for line in process.stdout or ():
                    step(line.strip())
            if process.returncode == 0:
                return True
            # The deadline, or only the line to the cluster: it says which.
            found, _ = self._state()
            if found is None:
                return False
            seen = found["status"].get("observedGeneration") == found["metadata"].get("generation")
            if seen and _condition(found, "Progressing").get("status") == "False":
                return False
            time.sleep(1)
        return False

    def _why(self, image: str) -> str:
        """What the cluster says about the pods of ``image``."""
        items = self._items("deployments,pods")
        pods = [i for i in items if i["kind"] == "Pod" and _image(i) == image]
        refused = [_condition(i, "ReplicaFailure").get("message") for i in items]
        return next(filter(None, [*map(_complaint, pods), *refused]), "it is never ready")

    def _wait_for(self, name: str, image: str) -> None:
        """Until the pod is ready. Raises ``Stop`` (CLOSED) when it ends or takes too long."""
        end, pod = time.monotonic() + self.seconds, {}
        while time.monotonic() < end:
            pod = json.loads(self._kubectl("get", "pod", name, "-o=json"))
            if _condition(pod, "Ready").get("status") == "True":
                return
            if pod["status"].get("phase") == "Failed" or "ImagePullBackOff" in _complaint(pod):
                break
            time.sleep(0.5)
        raise Stop(
            "release-not-started",
            f"{image} does not start: {_complaint(pod) or 'it is never ready'}",
            CLOSED,
        )

    @contextmanager
    def _forward(self, what: str, port: int = PORT) -> Iterator[str]:
        """A local address that leads to a pod or a Service."""
        command = [*self.command, "port-forward", what, f":{port}", "--address=127.0.0.1"]
        # Into a file: it says a line for every connection, and a pipe would be full one day.
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(command, stdout=said, stderr=said) as process,
        ):
            try:
                end, found, text = time.monotonic() + 20, None, ""
                while not found and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                    text = os.pread(said.fileno(), 4096, 0).decode()
                    found = re.search(r"127\.0\.0\.1:(\d+) ->", text)
                if not found:
                    reason = " ".join(text.split()) or "no answer in 20 s"
                    raise Stop(
                        "tunnel-failed",
                        f"no tunnel to {what} in {self.place}: {reason}",
                        INFRASTRUCTURE,
                    )
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.terminate()


def run(command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """A kubectl command; Stop where there is no kubectl."""
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        fix = "install it from https://kubernetes.io/docs/tasks/tools (1.27 or later)"
        raise Stop("kubectl-missing", f"kubectl is not here: {fix}", INFRASTRUCTURE) from None


def _image(pod: dict[str, Any]) -> str:
    """The image of our container; a mesh may have put others beside it."""
    return next((c["image"] for c in pod["spec"]["containers"] if c["name"] == NAME), "")


def _condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    said = item.get("status", {}).get("conditions", [])
    return next((one for one in said if one["type"] == kind), {})


def _complaint(pod: dict[str, Any]) -> str:
    """Why a pod does not run, in the cluster's words; "" where it says nothing."""
    found = []
    for container in pod.get("status", {}).get("containerStatuses", []):
        for state in (container.get("state", {}), container.get("lastState", {})):
            if (waiting := state.get("waiting")) and waiting["reason"] != "ContainerCreating":
                found.append(f"{waiting['reason']} {waiting.get('message', '')}".strip())
            if ended := state.get("terminated"):
                found.append(f"{ended.get('reason', 'ended')}, exit code {ended['exitCode']}")
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        found.append(f"{scheduled.get('reason')} {scheduled.get('message', '')}".strip())
    return "; ".join(found)
