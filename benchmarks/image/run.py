"""Size and start of the image that `make image` built, beside one that was written by hand.

    python benchmarks/image/run.py PROJECT [--starts 10]

PROJECT is a generated project whose `make image` has run, on the engine of DOCKER_HOST. By hand means
the FastAPI service of benchmarks/serving/peers, the fastest of those, on the same base, with the same
versions, packages compiled as pip does it, and nothing else. Start is from `docker run` until the first
prediction is answered, in turn, best and median.
"""

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / "serving" / "peers"
DOCKERFILE = """\
FROM {base}
COPY site/ /app/site/
COPY *.py /app/
COPY project/ /app/project/
WORKDIR /app
ENV PYTHONPATH=/app/site PROJECT=/app/project PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["python3", "-m", "uvicorn", "fastapi_onnx:app", "--host", "0.0.0.0", "--port", "3000", \
"--loop", "uvloop", "--http", "httptools", "--no-access-log"]
"""


def docker(*words: str) -> str:
    """Standard output of a docker command."""
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def by_hand(project: Path, base: str, name: str) -> str:
    """Build the other image; its id."""
    with tempfile.TemporaryDirectory() as folder:
        context, python = Path(folder), project / ".venv-serve/bin/python"
        install = ["uv", "pip", "install", "--quiet", "--python", str(python), "--no-deps"]
        install += ["--target", str(context / "site"), "--require-hashes", "--link-mode", "copy"]
        subprocess.run([*install, "-r", str(HERE / "slim.txt")], check=True)
        shutil.rmtree(context / "site/bin", ignore_errors=True)
        subprocess.run([python, "-m", "compileall", "-q", str(context / "site")], check=True)
        for module in ("fastapi_onnx", "onnx_model", "project"):
            shutil.copy(PEERS / f"{module}.py", context)
        for path in ("model/model.json", "model/model.onnx", "predictions/golden.json"):
            (context / "project" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / path, context / "project" / path)
        for path in context.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (context / "Dockerfile").write_text(DOCKERFILE.format(base=base))
        docker("build", "--quiet", "--tag", name, folder)
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def start(image: str, row: object) -> float:
    """Seconds from ``docker run`` to the first prediction."""
    begin = time.monotonic()
    container = docker("run", "--detach", "--publish", "127.0.0.1::3000", image)
    try:
        port = int(docker("port", container, "3000/tcp").splitlines()[0].rpartition(":")[2])
        while time.monotonic() - begin < 60:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                head = {"Content-Type": "application/json"}
                connection.request("POST", "/predict", json.dumps(row), head)
                if connection.getresponse().status == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()
        raise SystemExit(f"{image} does not answer")
    finally:
        docker("rm", "--force", container)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--starts", type=int, default=10)
    options = parser.parse_args()
    made = json.loads((options.project / "reports/image.json").read_text())
    row = json.loads((options.project / "predictions/golden.json").read_text())["rows"][0]
    base = made["base"].rpartition("@")[0]
    images = {
        "make image": made["id"],
        "FastAPI by hand": by_hand(options.project, base, "by-hand"),
    }
    images["the base alone"] = docker("image", "inspect", "--format", "{{.Id}}", base)
    size = {
        n: int(docker("image", "inspect", "--format", "{{.Size}}", i)) for n, i in images.items()
    }
    served = list(images)[:2]
    seconds: dict[str, list[float]] = {name: [] for name in served}
    for turn in range(options.starts):
        for name in served if turn % 2 else reversed(served):
            seconds[name].append(start(images[name], row))
    print("| image | MB | of it on the base | start, best s | median s |\n|---|--:|--:|--:|--:|")
    for name in images:
        taken = seconds.get(name)
        times = f"{min(taken):.2f} | {statistics.median(taken):.2f}" if taken else " | "
        print(
            f"| {name} | {size[name] / 1e6:.0f} | {(size[name] - size['the base alone']) / 1e6:.0f} | {times} |"
        )
    print(f"ratio of sizes: {size[served[0]] / size[served[1]]:.3f}")


if __name__ == "__main__":
    sys.exit(main())
