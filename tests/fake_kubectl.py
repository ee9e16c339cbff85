"""A stand-in for ``kubectl`` and the cluster behind it, run as the program of that name.

``kustomize`` is passed on to the real kubectl (REAL_KUBECTL). Everything else works on the JSON file
KUBE_STATE: manifests are held against the schemas of Kubernetes before they are taken (KUBE_VALID is
a folder for what passed), a Deployment has revisions, and ``verdicts`` says which images come to
nothing, and how.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

LABEL = "app.kubernetes.io/component"
REVISION = "deployment.kubernetes.io/revision"
LOST = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host?"


class Refused(Exception):
    """What the API server says before kubectl ends with 1."""


def image_of(pod: Any) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def status_of(pod: Any, verdicts: Any) -> Any:
    """The status of a pod as a cluster reports it."""
    said = verdicts.get(image_of(pod))
    ready = {"type": "Ready", "status": "False" if said else "True"}
    state: Any = {"running": {"startedAt": "2026-11-27T17:00:00Z"}}
    if said and "ImagePullBackOff" in said:
        state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    elif said and "CrashLoopBackOff" in said and pod["spec"].get("restartPolicy") != "Never":
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}
    elif said and "CrashLoopBackOff" in said:
        state = {"terminated": {"reason": "Error", "exitCode": 1}}
    container = {"name": "model", "ready": not said, "state": state}
    if "waiting" in state and "Crash" in state["waiting"]["reason"]:
        container["lastState"] = {"terminated": {"reason": "Error", "exitCode": 1}}
    phase = "Failed" if "terminated" in state else "Running"
    return {"phase": phase, "conditions": [ready], "containerStatuses": [container]}


class Cluster:
    """The state, and what happens to it."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.verdicts = state["verdicts"]

    def put(self, template: Any) -> None:
        """A new revision, or an old one under a new number, as the controller does it."""
        sets = self.state["sets"]
        wanted = self.state["objects"]["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
        newest = max(sets, key=lambda one: one["revision"], default=None)
        if newest is None or newest["template"] != template:
            known = next((one for one in sets if one["template"] == template), None)
            chosen = known or {"template": template, "ready": 0}
            chosen["revision"] = (newest["revision"] if newest else 0) + 1
            if known is None:
                sets.append(chosen)
        else:
            chosen = newest
        self.state["failing"] = image_of(template) in self.verdicts
        if not self.state["failing"]:
            for one in sets:
                one["ready"] = wanted if one is chosen else 0

    def apply(self, text: str) -> None:
        documents = {one["kind"]: one for one in validated(text)}
        old, new = (where.get("Deployment") for where in (self.state["objects"], documents))
        if old and new and old["spec"]["selector"] != new["spec"]["selector"]:
            raise Refused("spec.selector: Invalid value: field is immutable")
        self.state["objects"] |= documents
        if new:
            self.put(new["spec"]["template"])

    def items(self, kinds: str) -> list[Any]:
        found = []
        deployment = self.state["objects"].get("Deployment")
        if deployment and "deployments" in kinds:
            wanted = self.state["objects"]["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
            going = {"type": "Progressing", "lastUpdateTime": "2026-11-27T17:00:00Z"}
            going["status"] = "False" if self.state["failing"] else "True"
            meta = deployment["metadata"] | {
                "uid": "1",
                "creationTimestamp": "2026-11-27T16:00:00Z",
            }
            spec = deployment["spec"] | {"replicas": wanted}
            found += [
                deployment | {"metadata": meta, "spec": spec, "status": {"conditions": [going]}}
            ]
        for one in self.state["sets"]:
            note = {REVISION: str(one["revision"])}
            meta = {"name": "model-x", "annotations": note, "ownerReferences": [{"uid": "1"}]}
            spec = {"template": one["template"]}
            if "replicasets" in kinds:
                status = {"readyReplicas": one["ready"]} if one["ready"] else {}
                found += [{"kind": "ReplicaSet", "metadata": meta, "spec": spec, "status": status}]
            newest = one["revision"] == max(other["revision"] for other in self.state["sets"])
            if "pods" in kinds and (one["ready"] or newest):
                pod = {"kind": "Pod", "metadata": {}, "spec": one["template"]["spec"]}
                found += [pod | {"status": status_of(pod, self.verdicts)}]
        return found

    def rollout(self, verb: str, options: list[str]) -> None:
        if not self.state["objects"].get("Deployment"):
            raise Refused('deployments.apps "model" not found')
        if verb == "status":
            if self.state["blips"]:
                self.state["blips"] -= 1
                raise Refused("unable to decode an event from the watch stream: connection lost")
            print('Waiting for deployment "model" rollout to finish: 1 old replicas are pending')
            if self.state["failing"]:
                raise Refused('deployment "model" exceeded its progress deadline')
            print('deployment "model" successfully rolled out')
            return
        number = int(options[-1].removeprefix("--to-revision="))
        [chosen] = [one for one in self.state["sets"] if one["revision"] == number] or [None]
        if chosen is None:
            raise Refused(f"unable to find specified revision {number} in history")
        self.put(chosen["template"])

    def call(self, words: list[str], given: str) -> None:
        """What one command does and prints."""
        if self.state["down"]:
            raise Refused(LOST)
        match words:
            case ["get", "pod", name, *_]:
                pod = self.state["pods"][name]
                print(json.dumps(pod | {"status": status_of(pod, self.verdicts)}))
            case ["get", kinds, *_]:
                print(json.dumps({"items": self.items(kinds)}))
            case ["apply", *_]:
                self.apply(given)
            case ["create", *_]:
                [pod] = validated(given)
                if "ServiceAccount" not in self.state["objects"]:
                    raise Refused("pods are forbidden: error looking up service account")
                self.state["pods"][pod["metadata"]["name"]] = pod
            case ["delete", "pod", name, *_]:
                self.state["pods"].pop(name, None)
            case ["delete", "deployment", *_]:
                del self.state["objects"]["Deployment"]
                self.state["sets"] = []
            case ["rollout", verb, _, *options]:
                self.rollout(verb, options)
            case _:
                raise Refused(f"the stand-in does not know {words}")

    def target(self, what: str) -> str:
        """The image that a tunnel leads to."""
        kind, name = what.split("/")
        if kind == "pod":
            return image_of(self.state["pods"][name])
        return next(image_of(one["template"]) for one in self.state["sets"] if one["ready"])


def validated(text: str) -> list[Any]:
    """The documents, each of which a cluster would take."""
    import yaml

    documents = list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    for document in documents:
        # The schemas take longer to read than all else: what was held against them once is known.
        content = json.dumps(document, sort_keys=True).encode()
        known = Path(os.environ["KUBE_VALID"]) / hashlib.sha256(content).hexdigest()
        if not known.exists():
            hold(document)
            known.touch()
    return documents


def hold(document: Any) -> None:
    """Against the schemas of Kubernetes."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, "1.37", strict=True)
    except Exception as error:
        raise Refused(f"error validating data: {str(error).splitlines()[0]}") from None


def forward(image: str) -> None:
    """A tunnel: kubectl chooses the port and says so, and a line for every connection."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            print("Handling connection", flush=True)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(image.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(f"Forwarding from 127.0.0.1:{server.server_port} -> 3000", flush=True)
    server.serve_forever()


def main() -> int:
    words = sys.argv[1:]
    if words[0] == "kustomize":
        os.execv(os.environ["REAL_KUBECTL"], ["kubectl", *words])
    path = Path(os.environ["KUBE_STATE"])
    state = json.loads(path.read_text("utf-8"))
    state["calls"].append(" ".join(words))
    where = [word for word in words if word.startswith(("--context=", "--namespace="))]
    assert where == ["--context=here", "--namespace=flights"], words
    words = [word for word in words if word not in where and not word.startswith("--request")]
    cluster = Cluster(state)
    try:
        if words[0] == "port-forward" and not state["down"]:
            path.write_text(json.dumps(state), "utf-8")
            forward(cluster.target(words[1]))
        cluster.call(words, "" if sys.stdin.isatty() else sys.stdin.read())
    except Refused as refused:
        print(f"error: {refused}", file=sys.stderr)
        return 1
    finally:
        path.write_text(json.dumps(state), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
