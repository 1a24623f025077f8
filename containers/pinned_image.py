"""Start the image of a digest and no other: looked at where the container starts. Pure.

A tag is whatever it was last put on, and each node has a store, or sees a file, of its own.
"""

from containers.container_config import ContainerConfig

_STORED = (
    'want=$1 id=$2; shift 2; command -v "$1" >/dev/null || exec "$@"; '
    '"$1" image inspect "$want" >/dev/null 2>&1 && exec "$@"; '
    '"$1" image inspect "$id" >/dev/null 2>&1 || { '
    'echo "Error: container: $1 on $(uname -n) has no image $want; pull or build it there, '
    'or correct the digest." >&2; exit 3; }; '
    # An image that was built here has no registry's digest: $id is the engine's own name for it.
    'first=1; for word do shift; [ "$first" ] && [ "$word" = "$want" ] && word=$id first=; '
    'set -- "$@" "$word"; done; exec "$@"'
)
_FILE = (
    'want=$1 file=$2; shift 2; found="$(sha256sum <"$file")"; '
    '[ "sha256:${found%% *}" = "$want" ] || { '
    'echo "Error: container: image $file on $(uname -n) is not $want; take the image that was '
    'meant, or correct the digest." >&2; exit 3; }; exec "$@"'
)


def pinned(config: ContainerConfig, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return an argv that names the image by `name_of`, so that it starts that digest or refuses.

    An address of a registry is left to what fetches it.
    """
    if config.digest is None or config.image is None:
        return argv
    if config.runtime in ("docker", "podman"):
        return ("sh", "-c", _STORED, "hsd", name_of(config), config.digest, *argv)
    if config.runtime in ("apptainer", "pyxis") and not is_remote(config):
        return ("sh", "-c", _FILE, "hsd", config.digest, config.image, *argv)
    return argv


def is_remote(config: ContainerConfig) -> bool:
    """Return whether the image is an address: `docker://...`, or enroot's `REGISTRY#IMAGE`."""
    image = config.image or ""
    file = "/" in image[:2] or image.endswith((".sqsh", ".sqfs"))
    return "://" in image or (config.runtime == "pyxis" and not file)


def name_of(config: ContainerConfig) -> str:
    """Return what docker and podman are asked to start: image@digest, where there is one."""
    image = config.image or ""
    if config.digest is None or "@" in image:
        return image
    folder, slash, last = image.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{config.digest}"
