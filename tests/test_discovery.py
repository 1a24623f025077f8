"""What sinfo, scontrol and sacctmgr print becomes a profile that loads."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hsd.errors import HsdError, PreflightError
from slurm.cluster.cluster_facts import SINFO_FORMAT, gpus_of, minutes, partitions_of, settings_of
from slurm.cluster.discovery import Texts, asked, discover, gpu_memory_gb
from slurm.cluster.profile import Profile, load_profile

# As Slurm 22.05.8 printed it.
TESTBED = Texts(
    sinfo="gpu*|4|16|64000|gpu:a100:4|infinite|up\nlow|4|16|64000|gpu:a100:4|infinite|up\n",
    config="""\
Configuration data as of 2026-11-27T01:25:19
AccountingStorageEnforce = associations
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu,gres/gpu:a100
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = hsdtest
GresTypes               = gpu
JobRequeue              = 1
MaxArraySize            = 1001
SelectType              = select/cons_tres
SelectTypeParameters    = CR_CORE_MEMORY
SlurmctldHost[0]        = vm(127.0.0.1)
SLURM_VERSION           = 22.05.8

Cgroup Support Configuration:
AllowedKmemSpace        = (null)
""",
    partitions="PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL "
    "Default=YES QoS=N/A DefaultTime=00:05:00 MaxCPUsPerNode=UNLIMITED RootOnly=NO PreemptMode=OFF "
    "State=UP TotalCPUs=64 TotalNodes=4 DefMemPerCPU=256 MaxMemPerNode=UNLIMITED "
    "TRES=cpu=64,mem=250G,node=4,billing=64,gres/gpu=16,gres/gpu:a100=16\n"
    "PartitionName=low AllowAccounts=ALL RootOnly=NO PreemptMode=REQUEUE State=UP\n",
    associations="hsd|normal\nroot|normal\n",
    default_account="hsd\n",
)
UNIVERSITY = Texts(
    sinfo="""\
cpu*|300|64|256000|(null)|2-00:00:00|up
gpu|20|48+|512000|gpu:v100:4(S:0-1)|2-00:00:00|up
big|6|128|1024000|gpu:nvidia_a100-sxm4-80gb:8(S:0-7)|1-00:00:00|up
slices|2|64|512000|gpu:a100_1g.5gb:28|12:00:00|up
closed|90|96|1024000|gpu:h100:4|7-00:00:00|up
down|90|96|1024000|gpu:h100:4|7-00:00:00|down
""",
    config="ClusterName = uni\nSLURM_VERSION = 20.11.9\nSelectType = select/cons_res\n"
    "JobRequeue = 0\nAccountingStorageType = accounting_storage/none\nMaxArraySize = 0\n",
    partitions="PartitionName=closed AllowAccounts=rich State=UP\n"
    "PartitionName=big AllowAccounts=nlp,vision MaxCPUsPerNode=96 MaxMemPerNode=900000 State=UP\n",
    associations="vision|normal,long\nnlp|normal\nnlp|normal,long\n",
    default_account="nlp\n",
)


def profile(texts: Texts) -> Profile:
    Path("found.toml").write_text(discover(texts), encoding="utf-8")
    return load_profile("found.toml")


def stages(texts: Texts) -> dict[str, Any]:
    stages: dict[str, Any] = tomllib.loads(discover(texts))["stages"]
    return stages


def test_a_real_cluster_becomes_a_profile_that_loads() -> None:
    found = profile(TESTBED)
    assert found.slurm is not None
    assert found.slurm.model_dump(exclude_defaults=True) == {
        "account": "hsd",
        "partition": "gpu",
        "gpu_type": "a100",
        "max_array_size": 1001,
    }
    train = found.stages.train
    assert (train.gpus, train.cpus, train.memory_gb, train.time_min) == (4, 16, 59, 1440)
    evaluate = found.stages.evaluate
    assert (evaluate.gpus, evaluate.cpus, evaluate.memory_gb) == (1, 4, 14)
    assert (found.stages.merge.gpus, found.stages.compare.gpus) == (0, 0)


def test_the_partition_is_the_one_with_most_big_gpus_that_the_account_may_use() -> None:
    found = profile(UNIVERSITY)
    assert found.slurm is not None
    assert found.slurm.partition == "big"
    assert found.slurm.gpu_type == "nvidia_a100-sxm4-80gb"
    assert found.slurm.account == "nlp"
    assert found.slurm.gpu_request == "gres"
    assert found.slurm.requeue == "chain"
    assert found.slurm.max_array_size is None


def test_the_reasons_and_the_other_choices_stand_in_comments() -> None:
    text = discover(UNIVERSITY)
    assert "# Your other accounts: vision\n" in text
    assert "# Other partitions with GPUs: closed, gpu, slices\n" in text
    assert "# qos = ...  # yours: long, normal\n" in text
    assert "# select/cons_res does not know --gpus-per-node.\n" in text
    assert "# Accounting is off" in text
    assert "# Accounting is off" not in discover(TESTBED)


def test_a_stage_takes_as_large_a_part_of_a_node_as_of_its_gpus_within_the_limits() -> None:
    found = stages(UNIVERSITY)
    assert found["train"] == {"gpus": 4, "cpus": 48, "memory_gb": 417, "time_min": 1440}
    assert found["evaluate"] == {"gpus": 1, "cpus": 12, "memory_gb": 104, "time_min": 480}


def test_work_without_a_gpu_goes_to_nodes_without_one_where_they_can_hold_a_merge() -> None:
    found = stages(UNIVERSITY)
    assert found["merge"] == {"partition": "cpu", "cpus": 16, "memory_gb": 120, "time_min": 120}
    assert found["compare"]["partition"] == "cpu"
    assert "partition" not in stages(TESTBED)["merge"]
    assert "too much for these nodes" in discover(TESTBED)


def test_no_stage_asks_for_more_time_than_the_partition_gives() -> None:
    short = Texts(sinfo="short*|2|8|64000|gpu:4|30:00|up\n")
    assert {stage["time_min"] for stage in stages(short).values()} == {10, 30}


@pytest.mark.parametrize("gres", ["(null)", "gpu:0", "", "craynetwork:4"])
def test_a_cluster_without_gpus_gets_a_profile_for_cpus(gres: str) -> None:
    found = profile(Texts(sinfo=f"all*|3|32|128000|{gres}|infinite|up\n"))
    assert found.slurm is not None
    assert found.slurm.gpu_type is None
    assert {s.gpus for s in (found.stages.train, found.stages.evaluate)} == {0}
    assert found.stages.train.cpus == 32


def test_where_only_sinfo_answers_there_is_a_profile_all_the_same() -> None:
    def run(program: str, *arguments: str) -> str:
        if program == "sinfo":
            assert SINFO_FORMAT in arguments
            return TESTBED.sinfo
        raise HsdError(f"{program}: not permitted")

    texts = asked(run, "me")
    assert texts == Texts(sinfo=TESTBED.sinfo)
    assert profile(texts).slurm is not None
    assert "# account = ..." in discover(texts)


@pytest.mark.parametrize("sinfo", ["", "no|such|form\n", UNIVERSITY.sinfo.splitlines()[-1]])
def test_without_a_usable_partition_there_is_one_line_that_says_what_to_do(sinfo: str) -> None:
    with pytest.raises(PreflightError, match="no partition that you may use.*by hand"):
        discover(Texts(sinfo=sinfo))


@pytest.mark.parametrize(
    ("gres", "found"),
    [
        ("gpu:a100:4", ("a100", 4)),
        ("gpu:4", (None, 4)),
        ("gpu:a100:4(S:0-1)", ("a100", 4)),
        ("gpu:2(S:0)", (None, 2)),
        ("gpu:v100:2,gpu:a100:6(S:0-1),shard:16", ("a100", 6)),
        ("nvme:1,gpu:h100:8(IDX:0-7)", ("h100", 8)),
        ("(null)", (None, 0)),
    ],
)
def test_gres_names_type_and_number_of_gpus(gres: str, found: tuple[str | None, int]) -> None:
    assert gpus_of(gres) == found


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("infinite", None),
        ("n/a", None),
        ("UNLIMITED", None),
        ("30", 30),
        ("30:00", 30),
        ("5:59", 5),
        ("1:30:00", 90),
        ("2-00:00:00", 2880),
        ("1-12", 2160),
        ("1-00:30", 1470),
    ],
)
def test_a_time_limit_is_minutes(limit: str, found: int | None) -> None:
    assert minutes(limit) == found


@pytest.mark.parametrize(
    ("kind", "memory_gb"),
    [
        ("a100", 80),
        ("nvidia_a100-pcie-40gb", 40),
        ("a100_1g.5gb", 5),
        ("NVIDIA_H100_80GB_HBM3", 80),
        ("tesla_v100", 32),
        ("l40s", 48),
        ("l4", 24),
        ("unheard_of", 0),
        (None, 0),
    ],
)
def test_the_name_of_a_gpu_says_how_big_it_is(kind: str | None, memory_gb: int) -> None:
    assert gpu_memory_gb(kind) == memory_gb


def test_values_keep_their_own_signs_of_equality() -> None:
    assert settings_of("A = b=c\nno pair\n") == {"A": "b=c"}
    assert partitions_of(TESTBED.partitions)["gpu"]["TRES"].startswith("cpu=64,mem=250G")


def test_what_sites_write_into_names_stays_text() -> None:
    odd = Texts(sinfo='q"x\\*|1|8|64000|gpu:1|infinite|up\n', config='ClusterName = a"b\n')
    found = profile(odd)
    assert found.slurm is not None
    assert found.slurm.partition == 'q"x\\'
