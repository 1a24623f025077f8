#!/usr/bin/env bash
# Builds hsd's image with docker, podman or buildah, whichever is there.
#   build.sh VARIANT [TAG]      VARIANT: a lock in containers/locks (cuda130, cpu); TAG: hsd:VARIANT
# BASE_IMAGE, PIP_EXTRA_ARGS   as in the Dockerfile
# BUILDER                      docker, podman or buildah
# BUILD_ARGS                   further options for it, such as "--network host"
# HSD_PIP_CONF, HSD_CA_BUNDLE  files that a build behind a proxy needs; they do not stay in the image
# Wheels in containers/wheels are taken before an index; with PIP_EXTRA_ARGS=--no-index, alone.
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:?usage: build.sh VARIANT [TAG]}
tag=${2:-hsd:$variant}
[ -f "containers/locks/$variant.txt" ] || {
  echo "no lock for '$variant'; there are: $(basename -s .txt containers/locks/*.txt | xargs)" >&2
  exit 3
}

builder=${BUILDER:-}
for name in docker podman buildah; do
  [ -n "$builder" ] || ! command -v "$name" >/dev/null || builder=$name
done
[ -n "$builder" ] || { echo "no docker, podman or buildah here: install one of them" >&2; exit 3; }
command=(build)
[ "$builder" != docker ] || export DOCKER_BUILDKIT=1
# Docker's own form: an image in OCI's has no place for what some of its readers ask for.
[ "$builder" = docker ] || command=(build --format docker)

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' hsd/version.py)
revision=$(git describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)
# The commit's time, not the clock's: the same source gives the same label.
created=$(git show -s --format=%cI HEAD 2>/dev/null || echo 1970-01-01T00:00:00Z)

extra=${PIP_EXTRA_ARGS-}
case "${PIP_EXTRA_ARGS-unset}:$variant:$(ls containers/wheels)" in
  unset:cpu:*torch-*) ;;
  unset:cpu:*) extra="--extra-index-url https://download.pytorch.org/whl/cpu" ;;
  unset:cuda126:*) extra="--extra-index-url https://download.pytorch.org/whl/cu126" ;;
esac

arguments=(
  --build-arg "VARIANT=$variant"
  --build-arg "PIP_EXTRA_ARGS=$extra"
  --build-arg "VERSION=$version"
  --build-arg "REVISION=$revision"
  --build-arg "CREATED=$created"
)
[ -z "${BASE_IMAGE:-}" ] || arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
[ -z "${HSD_PIP_CONF:-}" ] || arguments+=(--secret "id=pip_conf,src=$HSD_PIP_CONF")
[ -z "${HSD_CA_BUNDLE:-}" ] || arguments+=(--secret "id=ca_bundle,src=$HSD_CA_BUNDLE")
read -ra further <<<"${BUILD_ARGS:-}"
exec "$builder" "${command[@]}" "${arguments[@]}" "${further[@]}" -t "$tag" .
