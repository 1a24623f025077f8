"""`hsd container` and the argv of every runtime: pure, golden, and refused in one line."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from containers.container_config import ContainerConfig, parse_bind
from containers.image_checks import check_container, found_digest
from containers.signals import MARK, signal_command
from containers.wrap import IMAGE_PYTHON, Inside, wrap
from hsd.errors import PreflightError
from hsd.io.hashes import sha256_file
from jobs.container import container

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGES = {
    "apptainer": "/images/hsd.sif",
    "pyxis": "/images/hsd.sqsh",
    "docker": "hsd:cuda",
    "podman": "localhost/hsd:cpu",
    "charliecloud": "/images/hsd",
}
TRAIN = (IMAGE_PYTHON, "-m", "torch.distributed.run", "-m", "jobs.train", "--set", "a=[1, 2]")
JOB = Inside(
    argv=TRAIN,
    cwd="/shared/run",
    binds=("/shared/run/cells", "/shared/run", "@env:HSD_SCRATCH@"),
    env={"HF_HOME": "/shared/hf", "TMPDIR": "@env:TMPDIR@"},
    gpus=True,
    user="1000:100",
    name="hsd-@job@-train",
)
BY_HAND = Inside(argv=(IMAGE_PYTHON, "-m", "jobs.merge"), cwd="/work", binds=("/work",), user="7:8")


def config(runtime: str, *binds: str, digest: str | None = None) -> ContainerConfig:
    image = IMAGES.get(runtime)
    return ContainerConfig(runtime=runtime, image=image, binds=binds, digest=digest)


def lines(argv: tuple[str, ...]) -> str:
    """Return an argv for reading: an option and its value on a line, quoted for a shell."""
    text = ""
    for word, following in zip(argv, (*argv[1:], "-"), strict=True):
        takes_value = word.startswith("-") and "=" not in word and not following.startswith("-")
        text += shlex.quote(word) + (" " if takes_value else "\n")
    return text


@pytest.mark.parametrize("runtime", IMAGES)
def test_golden_command_of_a_job_with_gpus(
    runtime: str, golden: Callable[[str, str], None]
) -> None:
    read_only = "" if runtime == "charliecloud" else ":ro"
    argv = wrap(config(runtime, f"/shared/models:/models{read_only}", digest=DIGEST), JOB)
    golden(f"container/{runtime}.txt", lines(argv))


@pytest.mark.parametrize("runtime", IMAGES)
def test_golden_command_by_hand_without_gpus(
    runtime: str, golden: Callable[[str, str], None]
) -> None:
    golden(f"container/{runtime}_cpu.txt", lines(wrap(config(runtime), BY_HAND)))


def test_without_a_runtime_a_command_stays_as_it_is() -> None:
    assert wrap(ContainerConfig(), JOB) == TRAIN


@pytest.mark.parametrize("runtime", IMAGES)
def test_the_command_is_the_end_of_every_argv_word_for_word(runtime: str) -> None:
    assert wrap(config(runtime), JOB)[-len(TRAIN) :] == TRAIN


@pytest.mark.parametrize("runtime", IMAGES)
def test_a_stage_without_gpus_is_given_none(runtime: str) -> None:
    given = " ".join(wrap(config(runtime), BY_HAND))
    assert not any(word in given for word in ("--gpus", "--nv", "nvidia.com/gpu"))


def test_a_folder_is_bound_before_what_is_inside_it_and_the_profile_wins() -> None:
    inside = Inside(argv=("a",), cwd="/", binds=("/b/c", "/b", "/models"))
    argv = wrap(config("apptainer", "/fast/models:/models:ro"), inside)
    binds = [word for option, word in zip(argv, argv[1:], strict=False) if option == "--bind"]
    assert binds == ["/b:/b", "/b/c:/b/c", "/fast/models:/models:ro"]


def test_the_network_is_closed_unless_asked_for() -> None:
    open_ = Inside(argv=("a",), cwd="/", network=True)
    assert "--network none" in " ".join(wrap(config("docker"), BY_HAND))
    assert "--network host" in " ".join(wrap(config("docker"), open_))


def test_podman_keeps_a_users_id_and_needs_not_to_for_root() -> None:
    root = Inside(argv=("a",), cwd="/", user="0:0")
    assert "keep-id" in wrap(config("podman"), BY_HAND)
    assert "keep-id" not in wrap(config("podman"), root)


def test_the_digest_reaches_the_manifest() -> None:
    assert f"HSD_IMAGE_DIGEST={DIGEST}" in wrap(config("docker", digest=DIGEST), BY_HAND)


def test_apptainer_is_told_of_what_only_the_node_knows() -> None:
    argv = list(wrap(config("apptainer"), BY_HAND))
    argv[argv.index("apptainer") :] = ["env"]
    env = {"PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": "2,3", "HF_TOKEN": "x"}
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert "APPTAINERENV_CUDA_VISIBLE_DEVICES=2,3\n" in said
    assert "APPTAINERENV_SLURM_JOB_ID" not in said
    assert "APPTAINERENV_HF_TOKEN" not in said


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/share/x", "HOME", "HOME/.."])
def test_the_system_or_all_of_home_is_not_bound_to_be_written(path: str) -> None:
    path = os.path.normpath(path.replace("HOME", os.environ["HOME"]))
    with pytest.raises(PreflightError, match="is not given to a command to write: it is"):
        wrap(config("docker"), Inside(argv=("a",), cwd="/", binds=(path,)))
    if path != "/":
        said = " ".join(wrap(config("docker"), Inside(argv=("a",), cwd="/", read_only=(path,))))
        assert f"source={path},target={path},readonly" in said
    below = f"{os.environ['HOME']}/runs"
    assert f"source={below}," in " ".join(
        wrap(config("docker"), Inside(argv=("a",), cwd="/", binds=(below,)))
    )


def test_homes_below_usr_are_somebodys_own() -> None:
    said = " ".join(wrap(config("docker"), Inside(argv=("a",), cwd="/", binds=("/usr/users/me",))))
    assert "source=/usr/users/me," in said


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("hsd:cuda", f"hsd@{DIGEST}"),
        ("r.example:5000/a/hsd", f"r.example:5000/a/hsd@{DIGEST}"),
        ("r.example:5000/a/hsd:1", f"r.example:5000/a/hsd@{DIGEST}"),
        (f"hsd@{DIGEST}", f"hsd@{DIGEST}"),
    ],
)
@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_an_image_is_run_by_its_digest(runtime: str, image: str, name: str) -> None:
    argv = wrap(ContainerConfig(runtime=runtime, image=image, digest=DIGEST), JOB)
    assert argv[argv.index("--entrypoint") + 2] == name
    assert image == name or image not in argv


def started(argv: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a wrapped command on a node that has the programs in a folder."""
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("has", [f"hsd@{DIGEST}", DIGEST, "hsd:cuda"])
def test_a_node_starts_the_image_of_the_digest_or_none(has: str, tmp_path: Path) -> None:
    """The registry's digest, the engine's own of an image built there, another under the tag."""
    program(
        tmp_path,
        "docker",
        f"""case "$1 $2" in "image inspect") [ "$3" = "{has}" ];;
        *) for word; do echo "$word"; done;; esac""",
    )
    inside = Inside(argv=("say", f"hsd@{DIGEST}", ""), cwd="/", env={"A": "it's"})
    done = started(wrap(config("docker", digest=DIGEST), inside), tmp_path)
    if has == "hsd:cuda":
        assert (done.returncode, done.stdout) == (3, "")
        assert f"has no image hsd@{DIGEST}" in done.stderr
        return
    words = done.stdout.split("\n")
    assert words[words.index("--entrypoint") + 2] == has
    assert words[-4:] == ["say", f"hsd@{DIGEST}", "", ""]  # the command's own words stay
    assert "A=it's" in words


def test_a_node_without_the_engine_says_so(tmp_path: Path) -> None:
    done = started(wrap(config("podman", digest=DIGEST), BY_HAND), tmp_path)
    assert done.returncode == 127
    assert "podman: not found" in done.stderr


def test_a_node_compares_an_image_that_is_a_file(tmp_path: Path) -> None:
    image = tmp_path / "a b.sif"
    image.write_bytes(b"SIF")
    program(tmp_path, "apptainer", 'echo "ran $1"')
    right = ContainerConfig(
        runtime="apptainer", image=str(image), digest=f"sha256:{sha256_file(image)}"
    )
    assert started(wrap(right, BY_HAND), tmp_path).stdout == "ran exec\n"
    image.write_bytes(b"another")  # since it was submitted
    done = started(wrap(right, BY_HAND), tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"Error: container: image {image} on " in done.stderr


@pytest.mark.parametrize("path", ["relative", "/a:b", "/a,b"])
def test_a_path_that_a_runtime_would_misread_is_refused(path: str) -> None:
    inside = Inside(argv=("a",), cwd="/", binds=(path,))
    with pytest.raises(PreflightError, match="cannot be bound: expected an absolute path"):
        wrap(config("docker"), inside)


def test_charliecloud_refuses_a_bind_that_it_could_not_keep_read_only() -> None:
    with pytest.raises(PreflightError, match="cannot bind read-only: '/a:/b:ro'"):
        wrap(config("charliecloud", "/a:/b:ro"), BY_HAND)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"runtime": "docker"}, "runtime = 'docker' without an image; set image to a tag"),
        ({"runtime": "apptainer"}, "set image to a .sif file, or runtime to 'none'"),
        ({"runtime": "docker", "image": "-v/:/host"}, "would be read as an option of docker"),
        ({"digest": "sha256:12"}, "expected sha256: and 64 hex digits"),
        ({"binds": ("data",)}, "bind 'data': expected HOST:INSIDE"),
        ({"binds": ("/a:/b:readonly",)}, "expected HOST:INSIDE or HOST:INSIDE:ro"),
        ({"binds": ("/a:/b:ro:z",)}, "expected HOST:INSIDE or HOST:INSIDE:ro"),
        ({"binds": ("/a,/b:/c",)}, "without ':' and ','"),
    ],
)
def test_a_wrong_section_is_refused_when_it_is_read(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(PreflightError) as refused:
        ContainerConfig(**settings)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_section_reads_back_as_it_was_written() -> None:
    section = config("docker", "~/models:/models:ro", "/data", digest=DIGEST)
    home = os.environ["HOME"]
    assert section.binds == (f"{home}/models:/models:ro", "/data:/data")
    assert ContainerConfig.model_validate_json(section.model_dump_json()) == section


def test_a_bind_of_one_path_is_seen_at_the_same_path() -> None:
    assert parse_bind("/a").target == "/a"
    assert parse_bind("/a:/b:ro").read_only


# What stands on the machine: small programs that answer as the real ones do.


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder on PATH, with a docker that has one image."""
    folder = tmp_path / "bin"
    program(
        folder,
        "docker",
        f"""case "$*" in
          *"image inspect"*" hsd:cuda") echo "r.example/hsd@{DIGEST} sha256:{"1" * 64}" ;;
          *"image ls"*) echo hsd:cuda; echo '<none>:<none>' ;;
          *) echo "Error: No such image" >&2; exit 1 ;;
        esac""",
    )
    program(folder, "ch-run", "exit 0")
    program(folder, "apptainer", "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def refusal(section: ContainerConfig, *folders: str) -> str:
    with pytest.raises(PreflightError) as refused:
        check_container(section, folders)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 3
    return str(refused.value)


def test_a_missing_runtime_is_told_with_those_that_are_here(machine: Path) -> None:
    said = refusal(config("podman"))
    assert "no podman on PATH here" in said
    assert "found: apptainer, docker, charliecloud" in said


def test_an_srun_without_pyxis_is_told(machine: Path) -> None:
    program(machine, "srun", "echo '--chdir=dir'")
    assert "this srun knows no --container-image" in refusal(config("pyxis"))


def test_a_missing_image_is_told_with_the_nearest(machine: Path, tmp_path: Path) -> None:
    wrong = ContainerConfig(runtime="docker", image="hsd:cud")
    assert "not in docker's store here" in refusal(wrong)
    assert "Did you mean 'hsd:cuda'?" in refusal(wrong)
    (tmp_path / "hsd.sif").touch()
    wrong = ContainerConfig(runtime="apptainer", image=str(tmp_path / "hds.sif"))
    assert "no such file or folder. Did you mean 'hsd.sif'?" in refusal(wrong)


def test_an_engine_that_is_not_running_is_told_in_its_own_words(machine: Path) -> None:
    program(machine, "docker", "echo 'Cannot connect to the Docker daemon.' >&2; exit 1")
    assert refusal(config("docker")) == "container: docker: Cannot connect to the Docker daemon."


def test_an_address_is_left_to_the_node_that_can_reach_it(machine: Path) -> None:
    check_container(ContainerConfig(runtime="apptainer", image="docker://r.example/hsd:cuda"))


def test_the_digest_may_be_the_registrys_or_the_engines_own(machine: Path) -> None:
    check_container(config("docker", digest=DIGEST))
    check_container(config("docker", digest="sha256:" + "1" * 64))
    assert found_digest(config("docker")) == DIGEST
    said = refusal(config("docker", digest="sha256:" + "2" * 64))
    assert f"expected digest sha256:{'2' * 64}, but it is {DIGEST}" in said


def test_the_digest_of_a_file_is_that_of_its_bytes(machine: Path, tmp_path: Path) -> None:
    image = tmp_path / "hsd.sif"
    image.write_bytes(b"SIF")
    digest = f"sha256:{sha256_file(image)}"
    check_container(ContainerConfig(runtime="apptainer", image=str(image), digest=digest))
    wrong = ContainerConfig(runtime="apptainer", image=str(image), digest=DIGEST)
    assert f"but it is {digest}" in refusal(wrong)


def test_a_folder_has_no_digest_and_none_is_believed(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "image" / "bin").mkdir(parents=True)
    folder = ContainerConfig(runtime="charliecloud", image=str(tmp_path / "image"), digest=DIGEST)
    assert "it has none that could be compared here" in refusal(folder)


def test_a_bind_that_does_not_exist_is_told(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    said = refusal(config("docker", f"{tmp_path}/model:/models"))
    assert f"{tmp_path}/model does not exist here" in said
    assert "Did you mean 'models'?" in said
    assert "does not exist here" in refusal(config("docker"), f"{tmp_path}/absent")


def test_charliecloud_needs_the_place_in_the_image(machine: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "bin").mkdir(parents=True)
    section = ContainerConfig(
        runtime="charliecloud", image=str(image), binds=(f"{tmp_path}:/data",)
    )
    assert f"mkdir -p {image}/data" in refusal(section)
    (image / "data").mkdir()
    check_container(section)


# Signals


def test_a_signal_reaches_the_processes_that_handle_it_and_no_other() -> None:
    name = f"hsd-test-{os.getpid()}"
    handling = (
        "import signal, sys; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75)); "
        "print(flush=True); signal.pause()"
    )
    other = "print(flush=True); import signal; signal.pause()"

    def started(code: str, mark: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, MARK: mark},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    rank, launcher, stranger = (
        started(handling, name), started(other, name), started(handling, "another"),
    )  # fmt: skip
    try:
        command = signal_command(config("pyxis"), name)
        assert command is not None
        subprocess.run(command, check=True, timeout=60)
        assert rank.wait(timeout=60) == 75
        assert launcher.poll() is None
        assert stranger.poll() is None
    finally:
        for process in (rank, launcher, stranger):
            process.kill()
            process.communicate()


def test_a_jobs_command_ignores_the_stop_signal_until_it_handles_it() -> None:
    argv = wrap(config("docker"), JOB)
    prefix = argv[argv.index("--") + 1 : -len(TRAIN)]
    code = "import signal; print(signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN)"
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    by_hand = wrap(config("docker"), BY_HAND)
    assert by_hand[by_hand.index("--") + 1 :] == BY_HAND.argv


def test_only_where_processes_are_elsewhere_is_there_a_command_to_reach_them() -> None:
    reached = {runtime for runtime in IMAGES if signal_command(config(runtime), "x")}
    assert reached == {"docker", "podman", "pyxis"}
    assert signal_command(ContainerConfig(), "x") is None


# The command line


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(container, arguments)


def test_what_follows_two_dashes_is_hsds_own() -> None:
    given = ("train", "--config", "default", "--set", "lora.rank=8", "--help", "--gpus")
    result = invoked("command", "--runtime", "docker", "--image", "hsd:cuda", "--", *given)
    assert result.exit_code == 0, result.output
    assert shlex.split(result.output)[-len(given) :] == list(given)


def test_a_command_by_hand_sees_this_folder_and_the_hubs_as_the_caller() -> None:
    result = invoked("command", "--runtime", "podman", "--image", "hsd:cpu", "--no-gpus", "--", "x")
    argv = shlex.split(result.output)
    here, hub = Path.cwd(), os.environ["HF_HOME"]
    assert f"type=bind,source={here},target={here}" in argv
    assert f"type=bind,source={hub},target={hub}" in argv
    assert f"HF_HOME={hub}" in argv
    assert argv[argv.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"


def test_variables_are_set_inside_and_secrets_are_not() -> None:
    image = ("--runtime", "docker", "--image", "hsd:cuda")
    argv = shlex.split(invoked("command", *image, "--env", "NCCL_DEBUG=INFO", "--", "x").output)
    assert argv[argv.index("NCCL_DEBUG=INFO") - 1] == "-e"
    for text, problem in (
        ("HF_TOKEN=hf_x", "looks like a secret"),
        ("DB_PASS=hf_x", "looks like a secret"),
        ("PIP_INDEX_URL=https://u:hf_x@h", "looks like a secret"),
        ("A", "expected NAME=VALUE"),
    ):
        refused = invoked("command", *image, "--env", text, "--", "x").exception
        assert isinstance(refused, PreflightError)
        assert problem in str(refused)
        assert "hf_x" not in str(refused)


def test_a_bind_by_hand_may_be_relative() -> None:
    result = invoked("command", "--runtime", "podman", "--image", "hsd:cpu", "--bind", "d:/data:ro")
    assert f"type=bind,source={Path.cwd()}/d,target=/data,readonly" in result.output


def test_run_becomes_what_command_prints_with_the_digest_that_was_found(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, argv: started.append(list(argv)))
    options = ("--runtime", "docker", "--image", "hsd:cuda")
    assert invoked("run", *options, "--", "config", "list").exit_code == 0
    printed = invoked("command", *options, "--digest", DIGEST, "--", "config", "list")
    assert started == [shlex.split(printed.output)]


def test_run_without_a_runtime_says_what_to_give() -> None:
    result = invoked("run", "--", "config", "list")
    assert isinstance(result.exception, PreflightError)
    assert "give --runtime docker and --image hsd:cuda" in str(result.exception)


def test_check_prints_the_digest(machine: Path) -> None:
    result = invoked("check", "--runtime", "docker", "--image", "hsd:cuda")
    assert result.output == f"docker: hsd:cuda: {DIGEST}\n"


def test_a_profiles_container_is_taken_and_options_win(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        '[container]\nruntime = "docker"\nimage = "hsd:cuda"\nbinds = ["/a:/b:ro"]\n',
        encoding="utf-8",
    )
    argv = shlex.split(invoked("command", "--cluster", str(profile), "--", "x").output)
    assert "hsd:cuda" in argv
    assert "type=bind,source=/a,target=/b,readonly" in argv
    other = invoked("command", "--cluster", str(profile), "--image", "hsd:cpu", "--", "x")
    assert "hsd:cpu" in shlex.split(other.output)


def test_a_signal_has_the_number_that_this_system_gives_it() -> None:
    for name, bit in (("USR1", 9), ("USR2", 11), ("TERM", 14)):
        assert getattr(signal, f"SIG{name}") - 1 == bit
        command = signal_command(config("docker"), "x", name)
        assert command is not None
        assert f">> {bit} & 1" in command[-1]
