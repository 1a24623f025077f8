"""The `[container]` section of a cluster profile: which runtime, which image, what is bound."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from hsd.config.strict import Strict, Text
from hsd.errors import PreflightError

Runtime = Literal["none", "apptainer", "pyxis", "docker", "podman", "charliecloud"]
_DIGEST_LENGTH = len("sha256:") + 64


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host and where it is seen inside."""

    source: str
    target: str
    read_only: bool = False


def parse_bind(text: str) -> Bind:
    """Return the bind of `HOST`, `HOST:INSIDE` or `HOST:INSIDE:ro`; a leading `~` is resolved.

    Raises PreflightError for anything else: commas and colons part binds in several runtimes.
    """
    source, target, mode, *more = (*text.split(":"), "", "")
    if source.split("/")[0] == "~":
        source = str(Path(source).expanduser())
    bind = Bind(source, target or source, mode == "ro")
    absolute = bind.source.startswith("/") and bind.target.startswith("/")
    if not absolute or mode not in ("", "ro", "rw") or any(more) or "," in text:
        raise PreflightError(
            f"container: bind '{text}': expected HOST:INSIDE or HOST:INSIDE:ro, absolute paths "
            "without ':' and ','; such as /scratch/models:/models:ro."
        )
    return bind


def _normal_bind(text: str) -> str:
    bind = parse_bind(text)
    return f"{bind.source}:{bind.target}" + (":ro" if bind.read_only else "")


class ContainerConfig(Strict):
    """The container that commands run in."""

    runtime: Runtime = "none"
    """The program that starts the container; `none` runs on the host itself."""
    image: Text | None = None
    """The image: a tag for docker and podman, a .sif file for apptainer, a .sqsh
    file or enroot URI for pyxis, a folder for charliecloud."""
    digest: Text | None = None
    """`sha256:...` that the image must have: of the image for docker and podman, of the file for
    the others. Checked before a run and where it starts, and written to every manifest."""
    binds: tuple[Annotated[Text, AfterValidator(_normal_bind)], ...] = ()
    """`HOST:INSIDE` or `HOST:INSIDE:ro`, beside the folders of the run itself."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse what no runtime could start. Our own error passes through pydantic as it is."""
        if self.runtime != "none" and self.image is None:
            raise PreflightError(
                f"container: runtime = '{self.runtime}' without an image; set image to "
                f"{IMAGE_KINDS[self.runtime]}, or runtime to 'none'."
            )
        if self.image is not None and self.image.startswith("-"):
            raise PreflightError(
                f"container: image '{self.image}' would be read as an option of {self.runtime}; "
                f"expected {IMAGE_KINDS.get(self.runtime, 'a name')}."
            )
        if self.digest is not None and not _is_digest(self.digest):
            raise PreflightError(
                f"container: digest '{self.digest}': expected sha256: and 64 hex digits, as "
                "`hsd container check` prints it."
            )
        return self


IMAGE_KINDS = {
    "apptainer": "a .sif file",
    "pyxis": "a .sqsh file or an enroot URI such as docker://registry.example#hsd:cuda",
    "docker": "a tag such as hsd:cuda",
    "podman": "a tag such as hsd:cuda",
    "charliecloud": "the folder of an unpacked image",
}
"""Runtime -> what `image` is for it."""


def _is_digest(text: str) -> bool:
    kind, _, digits = text.partition(":")
    return (
        kind == "sha256" and len(text) == _DIGEST_LENGTH and set(digits) <= set("0123456789abcdef")
    )
