#!/usr/bin/env bash
# scripts/engine.sh COMMAND…: run a command with a Docker engine of its own, in swarm mode, and a
# registry; both end with the command. For the tests that deploy, on a Debian or Ubuntu, as root.
#
# Nothing is pulled: the base of the images is made by debootstrap, once. Sets DOCKER_HOST, REGISTRY
# (host:port) and BASE_IMAGE (with python3, haproxy and nginx). In CI, an engine that answers already, as on
# GitHub's runners, is used in its place.
set -euo pipefail

root=$(mktemp -d /tmp/engine.XXXXXX)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gatehouse
base=$cache/base-bookworm-2.tar
pids=()
theirs=

stop() {
  status=$?
  set +e
  trap - EXIT
  # What still runs would keep the engine from ending. Then in reverse: the registry, the engine.
  if [ -z "$theirs" ] && [ "${#pids[@]}" -gt 0 ]; then
    docker swarm leave --force > /dev/null 2>&1
    docker ps --all --quiet | xargs -r docker rm --force --volumes > /dev/null 2>&1
  fi
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[$i]}" 2> /dev/null || continue
    for _ in $(seq 100); do kill -0 "${pids[$i]}" 2> /dev/null || break; sleep 0.2; done
  done
  grep " $root/" /proc/mounts | cut -d ' ' -f 2 | sort -r | xargs -r umount --lazy
  rm -rf "$root"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

wait_for() { # WHAT COMMAND…
  for _ in $(seq 150); do "${@:2}" > /dev/null 2>&1 && return; sleep 0.2; done
  echo "engine: no $1 after 30 s:" >&2
  tail -n 5 "$root"/*.log >&2
  exit 3
}

missing=()
[ -z "${CI:-}" ] || ! docker info > /dev/null 2>&1 || theirs=yes
for program in $([ -n "$theirs" ] || echo dockerd iptables) docker-registry debootstrap; do
  [ -x "$(PATH="$PATH:/usr/sbin" command -v "$program")" ] || missing+=("${program/#dockerd/docker.io}")
done
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "engine: installing ${missing[*]} by apt-get" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

if [ ! -e "$base" ]; then
  echo "engine: making the base of the images by debootstrap, about 40 s" >&2
  mkdir -p "$cache"
  debootstrap --variant=minbase --include=python3,ca-certificates,haproxy,nginx-light bookworm "$root/base" \
    > "$root/debootstrap.log" 2>&1 || { tail -n 5 "$root/debootstrap.log" >&2; exit 3; }
  rm -rf "$root"/base/var/cache/apt/archives/*.deb "$root"/base/var/lib/apt/lists/*
  tar -C "$root/base" --sort=name -cf "$base.$$" .
  mv "$base.$$" "$base"
  rm -rf "$root/base"
fi

# Debian 12 has no Compose 2, and a kubectl too old for our manifests: those of Debian 13 from the same
# mirror, unpacked and not installed. GitHub's runners have both.
newer=()
docker compose version > /dev/null 2>&1 || newer+=(docker-compose)
kubectl kustomize --help > /dev/null 2>&1 || newer+=(kubectl)
if [ "${#newer[@]}" -gt 0 ]; then
  apt=$root/apt
  mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$root/tools"
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] $mirror trixie main" > "$apt/trixie.list"
  get=(apt-get -o Dir::Etc::sourcelist="$apt/trixie.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -qq)
  "${get[@]}" update
  (cd "$root/tools" && "${get[@]}" download "${newer[@]/%//trixie}" && for file in *.deb; do dpkg -x "$file" .; done)
  export PATH=$root/tools/usr/bin:$PATH
fi

mkdir -p "$root/bin" "$root/config/cli-plugins"
compose=$root/tools/usr/libexec/docker/cli-plugins/docker-compose
[ ! -e "$compose" ] || ln -s "$compose" "$root/config/cli-plugins/docker-compose"
export DOCKER_CONFIG=$root/config
if [ -z "$theirs" ]; then
  # The engine's own command line, which is as old as it is, before another on PATH.
  ln -s /usr/bin/docker "$root/bin/docker"
  export PATH=$root/bin:$PATH:/usr/sbin DOCKER_HOST=unix://$root/docker.sock
  dockerd --data-root "$root/data" --exec-root "$root/exec" --pidfile "$root/pid" \
    --host "$DOCKER_HOST" > "$root/dockerd.log" 2>&1 &
  pids+=($!)
  wait_for "Docker engine" docker info
else
  export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
fi
docker info --format '{{.Swarm.ControlAvailable}}' | grep -q true \
  || docker swarm init --advertise-addr 127.0.0.1 > /dev/null

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > "$root/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $root/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
END
docker-registry serve "$root/registry.yml" > "$root/registry.log" 2>&1 &
pids+=($!)
export REGISTRY=127.0.0.1:$port BASE_IMAGE=127.0.0.1:$port/base:1
wait_for registry python3 -c "import urllib.request as u; u.urlopen('http://$REGISTRY/v2/')"
docker import "$base" "$BASE_IMAGE" > /dev/null
docker push --quiet "$BASE_IMAGE" > /dev/null

"$@"
