#!/bin/sh
# What goes into an image: one text for the Dockerfile and for hsd.def, so that they cannot drift.
#   install.sh base | dependencies LOCK | wheel SOURCE DIST | package DIST | places
# PIP_EXTRA_ARGS: further options for pip, such as an index; /wheels: wheels that lie ready.
set -eu
VENV=/opt/hsd
export DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
       PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore

# gcc and libc's headers: triton compiles a launcher at run time. git: a run writes down its commit.
# A base without Python (nvidia/cuda) gets the distribution's, with the headers that triton needs.
base() {
    packages="ca-certificates gcc git libc6-dev tini"
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages="$packages python3 python3-venv"
    case "$(command -v python3 || :)" in
        /usr/local/*) ;;
        *) packages="$packages python3-dev" ;;
    esac
    apt-get update
    # shellcheck disable=SC2086  # a list of words
    apt-get install -y --no-install-recommends $packages
    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log
    python3 -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "hsd needs Python 3.11 or newer; the base has %d.%d: choose another BASE_IMAGE" % v[:2])'
}

# The lock is complete, so nothing is resolved; a file whose hash is not in it is refused.
dependencies() {
    python3 -m venv "$VENV"
    # shellcheck disable=SC2086  # a list of words
    "$VENV/bin/pip" install --no-deps --require-hashes --find-links /wheels ${PIP_EXTRA_ARGS:-} \
        -r "$1"
    compiled "$VENV/lib"
}

# setuptools is the lock's own: a build environment would fetch one that nobody has pinned.
wheel() {
    "$VENV/bin/pip" wheel --no-deps --no-build-isolation --no-index -w "$2" "$1"
}

# HSD_PARTIAL=1 lets an environment pass that lacks packages: the proof without torch.
package() {
    "$VENV/bin/pip" install --no-deps --no-index "$1"/hsd-*.whl
    "$VENV/bin/pip" check || [ "${HSD_PARTIAL:-0}" = 1 ]
    "$VENV/bin/pip" freeze --all >"$VENV/requirements.installed.txt"
    # Not all of them again: that would put every package into the small layer.
    for room in hsd jobs slurm containers; do
        compiled "$VENV"/lib/python3*/site-packages/$room
    done
}

# unchecked-hash: no time stamps, so two builds of one source give the same files, and a start
# never looks at the sources. Some packages carry files for newer Pythons, which fail here.
compiled() {
    "$VENV/bin/python" -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$1" || :
}

# Bind targets exist in the image: Charliecloud and enroot cannot create them in a read-only root.
# The link and the profile keep hsd on PATH in a login shell, which enroot starts.
places() {
    groupadd --gid 10001 hsd
    useradd --uid 10001 --gid 10001 --create-home --shell /bin/bash hsd
    mkdir -p /data /workspace /scratch /models /cache
    chmod 1777 /workspace /scratch /cache
    ln -s "$VENV/bin/hsd" /usr/local/bin/hsd
    echo "export PATH=$VENV/bin:\$PATH" >/etc/profile.d/hsd.sh
}

"$@"
