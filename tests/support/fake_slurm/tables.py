"""The fake cluster itself, as sinfo and scontrol show it: four nodes with four A100s each."""

import re

CONFIG = """\
Configuration data as of 2026-01-01T00:00:00
AccountingStorageEnforce = associations
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu,gres/gpu:a100
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = fake
GresTypes               = gpu
JobRequeue              = 1
KillWait                = 5 sec
MaxArraySize            = 1001
MaxJobCount             = 5000
MinJobAge               = 300 sec
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
SelectType              = select/cons_tres
SLURM_CONF              = /etc/slurm/slurm.conf
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at fake is UP
"""


def config(limits: dict[str, int]) -> str:
    """Return the settings with the limits of a test."""
    text = CONFIG
    if any(name.startswith("MaxSubmit") for name in limits):
        text = text.replace("Enforce = associations", "Enforce = associations,limits,qos")
    for name, most in limits.items():
        text = re.sub(rf"(?m)^({name} *= )\d+$", rf"\g<1>{most}", text)
    return text


NODES = ("fake1", "fake2", "fake3", "fake4")


def partitions() -> list[tuple[str, str]]:
    """Return name and description of each partition."""
    return [
        ("gpu", _partition("gpu", "YES", 10, "OFF")),
        ("low", _partition("low", "NO", 1, "REQUEUE")),
    ]


def nodes() -> list[tuple[str, str]]:
    """Return name and description of each node."""
    return [(name, _node(name)) for name in NODES]


def _partition(name: str, default: str, tier: int, preempt: str) -> str:
    return f"""\
PartitionName={name}
AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL
AllocNodes=ALL Default={default} QoS=N/A
DefaultTime=00:05:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED
Nodes=fake[1-4]
PriorityJobFactor=1 PriorityTier={tier} RootOnly=NO ReqResv=NO OverSubscribe=NO
OverTimeLimit=NONE PreemptMode={preempt}
State=UP TotalCPUs=64 TotalNodes=4 SelectTypeParameters=NONE
JobDefaults=(null)
DefMemPerCPU=256 MaxMemPerNode=UNLIMITED
TRES=cpu=64,mem=250G,node=4,billing=64,gres/gpu=16,gres/gpu:a100=16"""


def _node(name: str) -> str:
    return f"""\
NodeName={name} Arch=x86_64 CoresPerSocket=16
CPUAlloc=0 CPUEfctv=16 CPUTot=16 CPULoad=0.10
AvailableFeatures=(null)
ActiveFeatures=(null)
Gres=gpu:a100:4
NodeAddr=127.0.0.1 NodeHostName={name} Version=22.05.8
RealMemory=64000 AllocMem=0 FreeMem=60000 Sockets=1 Boards=1
State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A
Partitions=gpu,low
CfgTRES=cpu=16,mem=62.50G,billing=16,gres/gpu=4,gres/gpu:a100=4"""
