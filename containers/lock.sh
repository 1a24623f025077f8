#!/usr/bin/env bash
# Writes containers/locks/VARIANT.txt: every package of an image with the hashes of its files.
#   lock.sh [VARIANT...]     cpu, cuda130 (what PyPI has), cuda126; by default those that are there
# The versions are those of constraints.txt. torch's CPU and CUDA 12.6 wheels are not on PyPI: they
# come from containers/wheels where one lies, else from PyTorch's own index. Needs uv on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || mapfile -t all < <(basename -s .txt containers/locks/*.txt)
torch=$(sed -n 's/^torch==//p' containers/constraints.txt)

for variant in "${@:-${all[@]}}"; do
  suffix="" extra=()
  case "$variant" in
    cuda130) ;;
    cpu) suffix=+cpu extra=(--extra-index-url https://download.pytorch.org/whl/cpu) ;;
    cuda126) suffix=+cu126 extra=(--extra-index-url https://download.pytorch.org/whl/cu126) ;;
    *) echo "unknown variant '$variant'; expected cpu, cuda130 or cuda126" >&2; exit 3 ;;
  esac
  ready=(containers/wheels/torch-"$torch$suffix"-*.whl)
  [ ! -e "${ready[0]}" ] || extra=(--find-links containers/wheels)
  {
    echo "# $variant: written by \`make lock\` from pyproject.toml and containers/constraints.txt."
    sed "s/^torch==.*/&$suffix/" containers/constraints.txt |
      uv pip compile --quiet pyproject.toml --constraint - --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate "${extra[@]}"
  } >"containers/locks/.$variant"
  mv "containers/locks/.$variant" "containers/locks/$variant.txt"
  echo "containers/locks/$variant.txt: $(grep -c '==' "containers/locks/$variant.txt") packages"
done
