#!/usr/bin/env bash
# Builds the real Dockerfile and runs the image, without a Docker engine, a GPU or a registry.
#   make test-containers     (root on Debian 12 or newer; 12 minutes, 6 without torch)
# HSD_PROVE_TORCH=0      leaves torch out, and with it every check that loads a model
# HSD_PROVE_APPTAINER=0  skips Apptainer, whose package is not in Debian's releases
# HSD_PROVE_CACHE        root file systems that are kept for a week; default /var/cache/hsd-prove
# HSD_PROVE_STORE        scratch of 8 GB, removed at the end; default /var/tmp/hsd-prove, or in
#                        /dev/shm where 12 GB of memory are free, which halves the build's time
# HSD_PROVE_LOG          file to keep the build's output in, with seconds
# HSD                    hsd on the host; default .venv/bin/hsd
set -Eeuo pipefail
shopt -s inherit_errexit
root=$(readlink -f "$(dirname "$0")/..")
torch=${HSD_PROVE_TORCH:-1}
cache=${HSD_PROVE_CACHE:-/var/cache/hsd-prove}
memory_gb=$(awk '/MemAvailable/ {print int($2 / 1e6)}' /proc/meminfo)
store=${HSD_PROVE_STORE:-$([ "$memory_gb" -ge 12 ] && echo /dev/shm || echo /var/tmp)/hsd-prove}
hsd=${HSD:-$root/.venv/bin/hsd}
seen=/var/tmp/hsd-prove-seen
image=localhost/hsd:prove
user=prover
export PATH=$root/.venv-tools/bin:$PATH
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
[ "$(id -u)" = 0 ] || { echo "prove.sh builds root file systems: run it as root" >&2; exit 3; }
rm -rf "$store"
mkdir -p "$cache" "$store/tmp"
export TMPDIR=$store/tmp

# ---- how a check is told ---------------------------------------------------------------------
passed=0 failed=0 skipped=0
check() {  # NAME COMMAND...
  local name=$1
  shift
  if "$@" >"$store/said" 2>&1; then
    passed=$((passed + 1))
    say "ok    $name"
  else
    failed=$((failed + 1))
    say "FAIL  $name"
    tail -20 "$store/said" | cut -c1-300 | sed 's/^/        /'
  fi
}
skip() { skipped=$((skipped + 1)); say "skip  $*"; }
# Not `command | grep -q`: grep's early end kills the command under pipefail, now and then.
has() {  # TEXT COMMAND...
  local wanted=$1 said
  shift
  said=$("$@" 2>&1) || { printf '%s\n' "$said"; return 1; }
  printf '%s\n' "$said"
  [[ $said == *"$wanted"* ]]
}
ends_with() {  # CODE TEXT COMMAND...
  local code=$1 wanted=$2 said got=0
  shift 2
  said=$("$@" 2>&1) || got=$?
  printf '%s\nexit code %s\n' "$said" "$got"
  [ "$got" = "$code" ] && [[ $said == *"$wanted"* ]]
}
stamped() { while IFS= read -r line; do printf '%4d %s\n' "$SECONDS" "$line"; done; }
tested() {  # NAME TEST: of tests/test_image.py; one that skips itself has shown nothing
  local name=$1
  if (cd "$root" && HSD_PROVE_IMAGE=$image HSD_PROVE_DIGEST=$digest TMPDIR=/tmp \
    "${hsd%/*}/pytest" -p no:cacheprovider -q -rsP "tests/test_image.py" -k "$2") >"$store/tested" 2>&1 &&
    grep -q skipped "$store/tested"
  then skip "$name: $(grep -m1 SKIPPED "$store/tested" | cut -d: -f3-)"
  else
    check "$name" awk '/passed/ {ok = !/failed|error/} {print} END {exit !ok}' "$store/tested"
    awk '/^-+ Captured stdout call/ {on = 1; next} /^===/ {on = 0} on {print "        " $0}' "$store/tested"
  fi
}
closing() { echo "$passed passed, $failed failed, $skipped skipped"; }
cleanup() {
  podman rm -af >/dev/null 2>&1 || :
  podman rmi -af >/dev/null 2>&1 || :
  umount -l "$seen" "$store/root/overlay" 2>/dev/null || :
  rm -rf "$store" "$seen"
}
trap cleanup EXIT
trap 'failed=$((failed + 1)); say "FAIL  line $LINENO: $BASH_COMMAND"; closing' ERR

# ---- tools -----------------------------------------------------------------------------------
missing=()
for package in buildah podman runc uidmap mmdebstrap charliecloud-runtime squashfs-tools; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >"$store/apt.log" 2>&1 || { tail -20 "$store/apt.log"; exit 1; }
fi
# Of this run alone. runc, as crun refuses some hosts' cgroups; ulimits by value, as podman's own
# are above the hard limits of a host that is itself a container.
cat >"$store/containers.conf" <<C
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
C
cat >"$store/storage.conf" <<C
[storage]
driver = "overlay"
graphroot = "$store/root"
runroot = "$store/run"
C
export CONTAINERS_CONF=$store/containers.conf CONTAINERS_STORAGE_CONF=$store/storage.conf

# ---- lint ------------------------------------------------------------------------------------
cd "$root"
if command -v hadolint >/dev/null; then check "hadolint" hadolint Dockerfile
else skip "hadolint: not on PATH (make tools)"; fi
if command -v shellcheck >/dev/null; then check "shellcheck" shellcheck containers/*.sh
else skip "shellcheck: not on PATH (make tools)"; fi
if docker compose version >/dev/null 2>&1
then check "compose file" docker compose -f containers/compose.yaml config -q
else skip "compose file: no docker compose here"; fi

# ---- a base to stand in for python:slim or nvidia/cuda, without Python as the latter -------------
base=$cache/base-$(date +%G%V).tar
if [ ! -s "$base" ]; then
  # shellcheck disable=SC2016  # mmdebstrap's own $1
  mmdebstrap -q --format=tar --variant=minbase --mode=root --include=ca-certificates \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' bookworm "$base.part"
  mv "$base.part" "$base"
fi
podman import -q --change 'CMD ["bash"]' \
  --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  "$base" localhost/base:prove >/dev/null
say "base is ready"

# ---- build -----------------------------------------------------------------------------------
# A copy, so that nothing of the proof gets into the checkout; with .git, for the labels.
context=$store/context
mkdir -p "$context"
tar --exclude './.venv*' --exclude ./runs --exclude ./data --exclude ./dist -cf - . | tar -C "$context" -xf -
variant=cpu arguments=
if [ "$torch" = 1 ]; then
  ls "$context"/containers/wheels/torch-*+cpu-*.whl >/dev/null 2>&1 ||
    python3 -m pip download -q --no-deps -d "$context/containers/wheels" \
      "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' containers/locks/cpu.txt)"
else
  rm -f "$context"/containers/wheels/*.whl
  awk '/^[a-zA-Z]/ {torch = /^torch==/} !torch' containers/locks/cpu.txt >"$context/containers/locks/partial.txt"
  variant=partial arguments="--build-arg HSD_PARTIAL=1"
fi
printf '[global]\ncert = /run/secrets/ca_bundle\ntimeout = 180\n' >"$store/pip.conf"
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
revision=$(git describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)
build() {
  BUILDER=buildah BASE_IMAGE=localhost/base:prove HSD_CA_BUNDLE=$bundle HSD_PIP_CONF=$store/pip.conf \
    BUILD_ARGS="--pull-never --isolation chroot --network host --layers=false $arguments" \
    "$context/containers/build.sh" "$variant" "$image" 2>&1 | stamped
}
check "image builds" build
[ -z "${HSD_PROVE_LOG:-}" ] || cp "$store/said" "$HSD_PROVE_LOG"
rm -rf "$context"
[ "$failed" = 0 ] || { trap - ERR; closing; exit 1; }
say "image: $(podman image inspect "$image" --format '{{.Size}}' | awk '{printf "%.2f GB", $1 / 1e9}')"
podman history --no-trunc --format '{{.Size}}  {{.CreatedBy}}' "$image" |
  sed -e '/^0 B /d' -e 's/ |[0-9].* -c / /; s/ [^ ]*sh -c / /; s/--mount=[^ ]* *//g' -e 's/^/        /' | cut -c1-120

# ---- podman ----------------------------------------------------------------------------------
run=(podman run --rm --network none)
settings() { podman image inspect "$image" --format "$1"; }
check "help is what it says by default" has "Usage: hsd" "${run[@]}" "$image"
check "it does not run as root" has 10001 "${run[@]}" --entrypoint id "$image" -u
check "labels carry the revision" has "$revision" \
  settings '{{index .Config.Labels "org.opencontainers.image.revision"}}'
check "labels carry the version" has "$("$hsd" --version | awk '{print $NF}')" \
  settings '{{index .Config.Labels "org.opencontainers.image.version"}}'
check "a login shell finds hsd" has /hsd "${run[@]}" --entrypoint bash "$image" -lc 'command -v hsd'
check "places for binds" "${run[@]}" --entrypoint ls "$image" /data /workspace /scratch /models /cache
check "installed packages are listed" has "numpy==" \
  "${run[@]}" --entrypoint cat "$image" /opt/hsd/requirements.installed.txt
clean_settings() { ! settings '{{json .Config}}' | grep -E 'ca_bundle|PIP_|"HF_HOME|"HOME=|SSL_CERT'; }
check "no setting of the build and no HOME in the image" clean_settings

data=$store/data
install -d -o 4242 -g 4242 "$data"
# One thread: a tiny model is 20 times slower on two.
stranger=("${run[@]}" -e OMP_NUM_THREADS=1 --user 4242:4242 --read-only --tmpfs "/tmp:exec,mode=1777" --cap-drop ALL
  --security-opt no-new-privileges -v "$data:/data" -w /data)
check "an unknown user finds a home" has quick_test "${stranger[@]}" "$image" config list
tiny=("${stranger[@]}" -v "$root/tests:/tests:ro" -e PYTHONPATH=/tests/support --entrypoint /opt/hsd/bin/python
  "$image" -c 'import pathlib, tiny; tiny.llama(pathlib.Path("/data/tiny"))')
quick=(--set training.max_steps=3 --set training.warmup_steps=0)
if [ "$torch" = 1 ]; then
  check "doctor" has /dev/shm "${stranger[@]}" "$image" doctor
  check "a tiny model is made inside" "${tiny[@]}"
  check "demo: an unknown user, read-only root, no capability" "${stranger[@]}" "$image" demo \
    --set model.name=/data/tiny "${quick[@]}"
  outputs=$data/runs/demo
else
  skip "doctor, demo: without torch"
  check "an unknown user writes into a bound folder" "${stranger[@]}" --entrypoint sh "$image" \
    -c 'hsd config show default --format json >/data/config.json'
  outputs=$data
fi
owned() { [ -n "$(find "$1" -type f)" ] && [ -z "$(find "$1" ! -user "$2" -print -quit)" ]; }
check "the outputs belong to the caller" owned "$outputs" 4242

# ---- podman, as hsd starts it ------------------------------------------------------------------
mkdir -p "$store/work"
cd "$store/work"
export HF_HOME=$store/work/hub
inside=(--runtime podman --image "$image")
closed=("${inside[@]}" --no-gpus --no-network --env OMP_NUM_THREADS=1)
digest=$("$hsd" container check "${inside[@]}" | sed 's/.*sha256:/sha256:/')
check "container run" has quick_test "$hsd" container run "${closed[@]}" -- config list
check "container check finds the digest" has "$digest" \
  "$hsd" container check "${inside[@]}" --digest "$digest"
check "another digest is refused" ends_with 3 "expected digest" \
  "$hsd" container check "${inside[@]}" --digest "sha256:$(printf '0%.0s' {1..64})"
check "an absent image is refused" ends_with 3 "is not in podman's store" \
  "$hsd" container run --runtime podman --image localhost/hsd:absent -- config list
check "an absent bind is refused" ends_with 3 "does not exist here" \
  "$hsd" container check "${inside[@]}" --bind "$store/absent:/data"
if [ "$torch" = 1 ]; then
  cp -r "$data/tiny" tiny
  train=(train --config demo --set model.name=tiny --set output_dir=trained)
  check "container run trains" "$hsd" container run "${closed[@]}" -- "${train[@]}" "${quick[@]}"
  check "the manifest has the image's digest" grep -F "\"image_digest\": \"$digest\"" trained/manifest.json
  tested "a stop reaches the container's process, and it saves" test_a_stop
  tested "SLURM: a job in a container is stopped, requeued and goes on" test_a_job
else
  skip "training, digest in the manifest, stopping, SLURM: without torch"
fi

# ---- Charliecloud: a folder, an unprivileged user -------------------------------------------------
getent passwd "$user" >/dev/null || useradd --create-home "$user"
chmod 755 "$store"
folder=$store/folder
check "the image unpacks into a folder" "$root/containers/convert.sh" folder "$image" "$folder"
install -d -o "$user" "$store/hpc"
as_user() { runuser -u "$user" -- env -i USER="$user" HOME="/home/$user" PATH=/usr/bin:/bin "$@"; }
hub=/home/$user/hub
as_user mkdir -p "$hub"
placed=(--runtime charliecloud --image "$folder" --no-gpus)
charliecloud() {  # HSD_ARGUMENTS...: what hsd prints, run by the user in a folder of theirs
  local command
  command=$(cd "$store/hpc" && HF_HOME=$hub "$hsd" container command "${placed[@]}" \
    --env OMP_NUM_THREADS=1 -- "$@")
  as_user sh -c "cd $store/hpc && $command"
}
check "charliecloud: a place that the image lacks is refused" ends_with 3 "mkdir -p $folder$PWD" \
  "$hsd" container run "${placed[@]}" -- --help
mkdir -p "$folder$store/hpc" "$folder$hub"
check "charliecloud: help" has "Usage: hsd" charliecloud --help
check "charliecloud: hsd is on the image's own PATH" has /opt/hsd/bin/hsd \
  as_user ch-run --set-env "$folder" -- sh -c 'command -v hsd'
if [ "$torch" = 1 ]; then
  cp -r "$data/tiny" "$store/hpc/tiny"
  chown -R "$user" "$store/hpc"
  check "charliecloud: demo, read-only root, unprivileged" charliecloud demo \
    --set "model.name=$store/hpc/tiny" "${quick[@]}"
  check "charliecloud: the outputs belong to the user" owned "$store/hpc/runs" "$user"
else
  check "charliecloud: read-only root, unprivileged" has default charliecloud config list
  skip "charliecloud: demo: without torch"
fi

# ---- what is inside ------------------------------------------------------------------------------
if command -v kingfisher >/dev/null; then
  # libgnutls carries the keys of its own self-test.
  scan() {
    kingfisher scan "$1" --no-validate --no-update-check --quiet --redact --git-history none \
      --exclude '*libgnutls.so*' >"$store/found" 2>&1 && return
    local code=$?
    grep -E '=>|Path\.' "$store/found"
    return $code
  }
  mkdir "$store/planted"
  openssl genrsa 2048 >"$store/planted/key" 2>/dev/null
  check "the secret scan finds a planted key" ends_with 200 PRIVATE-KEY scan "$store/planted"
  check "no secret in the image" scan "$folder"
else
  skip "secret scan: no kingfisher on PATH (make tools)"
fi
no_build_files() {
  local left=() file
  for file in etc/pip.conf run/secrets/ca_bundle wheels locks install.sh dist src; do
    [ ! -e "$folder/$file" ] || left+=("$file")
  done
  # A host behind a proxy has a certificate of its own among the system's.
  podman run --rm --entrypoint cat localhost/base:prove "$certificates" | cmp -s - "$bundle" ||
    ! cmp -s "$folder$certificates" "$bundle" || left+=("$certificates")
  echo "${left[@]}"
  [ ${#left[@]} = 0 ]
}
certificates=/etc/ssl/certs/ca-certificates.crt
check "no file of the build in the image" no_build_files
if command -v syft >/dev/null; then
  # By another name: syft sees nothing below /dev and /run. A mount would not do for the whole scratch, as
  # nodes of a SLURM that runs already would not see it.
  mkdir -p "$seen"
  mount --bind "$store/tmp" "$seen"
  check "the SBOM names what is inside" \
    env TMPDIR="$seen" "$root/containers/convert.sh" sbom "$image" "$store/sbom.json"
  check "the SBOM has Python's packages" grep -c '"name":"numpy"' "$store/sbom.json"
  check "the SBOM has Debian's packages" grep -c '"name":"tini"' "$store/sbom.json"
else
  skip "SBOM: no syft on PATH (make tools)"
fi
if [ "$torch" = 1 ]; then skip "squashfs: only without torch, where it is small"
else check "the image becomes a squashfs" "$root/containers/convert.sh" sqsh "$image" "$store/hsd.sqsh"; fi

rm -rf "$folder"

# ---- Apptainer -----------------------------------------------------------------------------------
if [ "${HSD_PROVE_APPTAINER:-1}" = 1 ]; then
  # shellcheck source=containers/prove_apptainer.sh
  . "$root/containers/prove_apptainer.sh"
else
  skip "apptainer: HSD_PROVE_APPTAINER=0"
fi

trap - ERR
say "done"
closing
[ "$failed" = 0 ]
