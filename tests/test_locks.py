"""What an image is made of: the locks, and the files that must name the same things."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from containers.wrap import IMAGE_ENVIRONMENT, IMAGE_HSD, IMAGE_TINI

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "containers" / "locks").glob("*.txt"))
CUDA = re.compile(r"nvidia-|cuda-|triton$")
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "extra": ""}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def locked(lock: Path) -> dict[str, Requirement]:
    """Name -> its line, such as `numpy==2.4.6`, of what Linux installs."""
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    found = [Requirement(line.rstrip(" \\")) for line in lines]
    return {
        canonicalize_name(one.name): one
        for one in found
        if one.marker is None or one.marker.evaluate(LINUX)
    }


def version(requirement: Requirement) -> Version:
    (only,) = requirement.specifier
    assert only.operator == "=="
    return Version(only.version)


def needed() -> list[Requirement]:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def default(name: str, pattern: str) -> str:
    """Return what a file says its default is."""
    found = re.findall(pattern, text(name), re.MULTILINE)
    assert len(found) == 1, f"{name}: {pattern}"
    return str(found[0])


def test_there_is_a_lock_for_the_cpu_and_for_cuda() -> None:
    assert [lock.stem for lock in LOCKS] == ["cpu", "cuda130"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_of_a_lock_has_a_hash(lock: Path) -> None:
    blocks = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").split("\n", 1)[1])
    assert len(blocks) > 70
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_satisfies_the_project_and_what_that_needs_in_turn(lock: Path) -> None:
    inside = locked(lock)
    left = needed()
    seen: set[str] = set()
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        assert name in inside, f"{lock.name} lacks {name}; make lock"
        assert one.specifier.contains(version(inside[name])), f"{one} is not met; make lock"
        if name in seen or lock.stem != "cpu":  # what is installed here has the CPU's needs
            continue
        seen.add(name)
        further = map(Requirement, metadata.requires(name) or ())
        left += [r for r in further if r.marker is None or r.marker.evaluate(LINUX)]
    assert "setuptools" in inside, "the image builds hsd with the lock's own"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_the_versions_of_the_constraints(lock: Path) -> None:
    lines = text("containers/constraints.txt").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    inside = locked(lock)
    for pin in pins:
        one = inside.get(canonicalize_name(pin.name))
        assert one is None or pin.specifier.contains(version(one)), f"{pin}: make lock"


def test_the_locks_differ_in_torch_and_cuda_alone() -> None:
    cpu, cuda = (locked(lock) for lock in LOCKS)
    assert {name for name in cpu if str(cpu[name]) != str(cuda.get(name))} == {"torch"}
    assert all(CUDA.match(name) for name in cuda.keys() - cpu.keys())
    assert version(cpu["torch"]).local == "cpu"
    assert version(cuda["torch"]).local is None
    assert version(cpu["torch"]).public == version(cuda["torch"]).public


def test_every_way_to_an_image_starts_from_the_same_base_and_lock() -> None:
    bases = {
        default("Dockerfile", r"^ARG BASE_IMAGE=(.+)$"),
        default("containers/hsd.def", r"^    BASE_IMAGE=(.+)$"),
    }
    variants = {
        default("Dockerfile", r"^ARG VARIANT=(.+)$"),
        default("containers/hsd.def", r"^    VARIANT=(.+)$"),
        default("containers/compose.yaml", r"VARIANT: \$\{HSD_VARIANT:-(\w+)\}"),
        default("containers/compose.yaml", r"image: \$\{HSD_IMAGE:-hsd:(\w+)\}"),
        default("Makefile", r"^VARIANT \?= (.+)$"),
    }
    assert len(bases) == 1
    assert variants == {"cuda130"}


def test_every_way_to_an_image_takes_the_same_steps() -> None:
    for name in ("Dockerfile", "containers/hsd.def"):
        steps = re.findall(r"(?:install\.sh|\$install) (\w+)", text(name))
        assert sorted(steps) == ["base", "dependencies", "package", "places", "wheel"], name


def test_an_image_has_the_environment_that_the_launcher_gives_an_unpacked_one() -> None:
    for name, value in IMAGE_ENVIRONMENT.items():
        wanted = f"{name}=/opt/hsd/bin:$PATH" if name == "PATH" else f"{name}={value}"
        assert wanted in text("Dockerfile")
        assert f"export {wanted}" in text("containers/hsd.def")


def test_an_image_has_no_home_of_its_own() -> None:
    """One that is read-only under Apptainer and enroot, and hides the user's."""
    for name in ("Dockerfile", "containers/hsd.def"):
        assert not re.search(r"^\s*(ENV|export)?\s*(HF_HOME|HOME)=", text(name), re.MULTILINE)


def test_the_launcher_and_the_image_agree_on_paths() -> None:
    install = text("containers/install.sh")
    assert f"VENV={IMAGE_HSD.removesuffix('/bin/hsd')}" in install
    assert IMAGE_TINI.split("/")[-1] in default("containers/install.sh", r'packages="(ca-.+)"$')
    assert '["/usr/local/bin/hsd"]' in default("Dockerfile", r"^ENTRYPOINT (.+)$")
    assert "/usr/local/bin/hsd" in install


def test_what_the_dockerfile_copies_is_in_the_build_and_nothing_else_is() -> None:
    rules = [line for line in text(".dockerignore").splitlines() if line and line[0] not in "#"]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    sources = {name.rstrip("/") for line in copied for name in line.split()}
    assert sources == let_in
    assert all((ROOT / name).exists() for name in sources)


def test_the_packages_of_the_project_are_in_the_image() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    find = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in find} == {"hsd", "containers", "slurm", "jobs"}


def test_compose_starts_the_image_as_the_launcher_does() -> None:
    service = yaml.safe_load(text("containers/compose.yaml"))["services"]["hsd"]
    assert service["entrypoint"][0] == IMAGE_TINI
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp:exec,mode=1777"]
    assert service["ipc"] == "host"


def test_wheels_that_lie_ready_stay_out_of_the_repository() -> None:
    assert "/containers/wheels/*" in text(".gitignore").splitlines()
    assert (ROOT / "containers" / "wheels" / ".gitkeep").is_file()
