"""What only a built image can show. `make test-containers` builds one and runs this."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import small_runs
from slurm_runs import Bench
from waiting import until

from containers.container_config import ContainerConfig
from containers.wrap import IMAGE_PYTHON, Inside, signal_command, wrap
from hsd.errors import Stopped
from hsd.io.json_reader import read_json

pytestmark = [pytest.mark.container, pytest.mark.model, pytest.mark.e2e]

# No GPUs: those of the test's cluster are made up, and podman would look for real ones.
PROFILE = """
shared_root = "runs"
[slurm]
account = "hsd"
partition = "gpu"
[stages.train]
processes = 2
cpus = 2
memory_gb = 4
time_min = 30
[stages.evaluate]
cpus = 2
memory_gb = 4
time_min = 30
[stages.compare]
memory_gb = 2
[container]
runtime = "podman"
image = "{image}"
digest = "{digest}"
[env.set]
ACCELERATE_USE_CPU = "true"
OMP_NUM_THREADS = "1"
TORCHDYNAMO_DISABLE = "1"
"""


@pytest.fixture(scope="module")
def image() -> tuple[str, str]:
    """Return the image's tag and digest."""
    tag, digest = os.environ.get("HSD_PROVE_IMAGE"), os.environ.get("HSD_PROVE_DIGEST")
    if not tag or not digest:
        pytest.skip("no image here: make test-containers builds one and runs this")
    return tag, digest


def test_a_stop_reaches_a_containers_process_and_it_saves(
    image: tuple[str, str], tiny_llama: Path
) -> None:
    here, name = Path.cwd(), f"hsd-stop-{os.getpid()}"
    shutil.copytree(tiny_llama, "llama")
    config = small_runs.config(here / "llama", here, training={"epochs": 5000})
    Path("config.json").write_text(config.model_dump_json(), encoding="utf-8")
    inside = Inside(
        argv=(IMAGE_PYTHON, "-m", "jobs.train", "--config_file", "config.json"),
        cwd=str(here),
        binds=(str(here),),
        env={"OMP_NUM_THREADS": "1"},
        user=f"{os.getuid()}:{os.getgid()}",
        name=name,
    )
    podman = ContainerConfig(runtime="podman", image=image[0])
    tell = signal_command(podman, name)
    assert tell is not None
    metrics = config.output_dir / "metrics.jsonl"
    with subprocess.Popen(wrap(podman, inside)) as started:
        until(lambda: started.poll() is not None or metrics.exists(), "a first step", 300)
        subprocess.run(tell, check=True, timeout=60)
        assert started.wait(timeout=300) == Stopped.exit_code
    assert list(config.output_dir.glob("checkpoint-*"))


@pytest.mark.slurm
def test_a_job_of_two_ranks_in_a_container_is_stopped_requeued_and_goes_on(
    bench: Bench, image: tuple[str, str]
) -> None:
    (tag, digest), name = image, "boxed"
    target = (bench.folder / "llama").resolve()
    (bench.folder / "llama").unlink()  # a container sees the folder, not where it points
    shutil.copytree(target, bench.folder / "llama")
    bench.preset(epochs=40, save_every_steps=20)
    profile = bench.folder / f"{name}.toml"
    profile.write_text(PROFILE.format(image=tag, digest=digest))

    bench.hsd("run", bench.sweep(name), "--cluster", str(profile))
    with bench.held(name, bench.learned(name)):
        bench.cluster.call("scancel", "--signal=USR2", f"{bench.job(name, 'train')}_0")
        bench.until(lambda: "signalled" in bench.words(name), "the supervisor to be told")
    assert set(bench.wait_over(name).values()) == {"done"}

    events = bench.events(name)
    words = [event["event"] for event in events]
    assert words == ["started", "signalled", "requeued", "started", "ended"]
    assert " podman run --rm " in shlex.join(events[0]["argv"][0])
    trained = bench.folder / f"runs/{name}/cells/tiny/train"
    starts = read_json(trained / "manifest.json")["starts"]
    assert [start["image_digest"] for start in starts] == [digest, digest]
    assert starts[1]["slurm_job"]["SLURM_RESTART_COUNT"] == "1"
    assert bench.steps(name) == 80
    assert {path.stat().st_uid for path in trained.rglob("*")} == {os.getuid()}

    # The transcript that the proof shows.
    print(shlex.join(events[0]["argv"][0]), bench.hsd("status", name), sep="\n\n")
    print(*(json.dumps({**event, "argv": "as above"}) for event in events), sep="\n")
