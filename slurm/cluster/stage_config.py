"""The sections of a profile: the scheduler, what each stage asks for, what jobs see."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, create_model

from hsd.config.strict import Strict, Text

GpuRequest = Literal["gpus-per-node", "gres"]
Requeue = Literal["scontrol", "chain", "none"]


class SlurmConfig(Strict):
    """How jobs are submitted."""

    account: Text | None = None
    """The account that pays for jobs; None takes the cluster's default."""
    partition: Text | None = None
    """Partition of all stages without their own; None takes the cluster's default."""
    qos: Text | None = None
    """Quality of service (QOS), where the site has several."""
    constraint: Text | None = None
    """Features that a node must have, for example `a100&ib`."""
    reservation: Text | None = None
    """Name of a reservation to use."""
    exclude: Text | None = None
    """Nodes to exclude, for example `node[3-4]`."""
    gpu_type: Text | None = None
    """`a100` asks for GPUs of that type; None takes any."""
    gpu_request: GpuRequest = "gpus-per-node"
    """How to request GPUs: `--gpus-per-node=a100:4`, or `--gres=gpu:a100:4`."""
    requeue: Requeue = "scontrol"
    """How a stopped training resumes: its job requeues itself (`scontrol`), more attempts wait
    behind it (`chain`, where users may not requeue), or not at all (`none`)."""
    signal_seconds: PositiveInt = 180
    """Seconds before its time limit when a job is told to save and stop."""
    kill_on_invalid_dep: bool = True
    """Let the scheduler drop an evaluation whose training failed; some sites ask not to."""
    array_parallelism: PositiveInt | None = None
    """How many cells of one stage may run at once, in all of its arrays; None: no limit."""
    max_requeues: NonNegativeInt = 20
    """How often one job may resume before it counts as failed. With `chain` at most 3 more
    attempts are queued."""
    max_array_size: PositiveInt | None = None
    """The most cells of one job array; a stage of more cells becomes several arrays. The cluster's
    own MaxArraySize is asked for and kept to."""
    extra: dict[str, str] = {}
    """Further options of sbatch: `{mail-type = "END"}` becomes `#SBATCH --mail-type=END`. With
    `clusters = "NAME"` that cluster is asked everywhere, where a site has several."""

    @property
    def cluster(self) -> str:
        """The cluster to submit to and to ask; empty where there is one alone."""
        return self.extra.get("clusters", "")


class StageConfig(Strict):
    """Resources of one job of a stage."""

    gpus: NonNegativeInt = 0
    """GPUs per node; 0 runs on CPUs."""
    nodes: PositiveInt = 1
    """Nodes per job."""
    processes: PositiveInt | None = None
    """Ranks per node; None is one per GPU, and at least one."""
    cpus: PositiveInt = 1
    """CPU cores per node."""
    memory_gb: PositiveFloat = 4
    """Memory per node, without GPU memory."""
    time_min: PositiveInt = 60
    """Time limit; a training that reaches the limit saves and resumes in the next attempt."""
    partition: Text | None = None
    """Partition of this stage, instead of [slurm] partition."""

    @property
    def ranks(self) -> int:
        """Processes per node."""
        return self.processes or max(self.gpus, 1)


ASKS_FOR = {"baseline": "evaluate", "predict": "evaluate", "gate": "compare"}
"""The [stages.KIND] of the profile that a kind of work takes its resources from, if not its own."""


class StagesConfig(Strict):
    """Resources of each kind of stage."""

    train: StageConfig = StageConfig()
    """One job per cell: trains its adapter."""
    merge: StageConfig = StageConfig()
    """One job per cell, if the sweep says `merge = true`: merges the adapter into its base."""
    evaluate: StageConfig = StageConfig()
    """One job per cell, and one for the original model. `hsd submit predict` takes it too."""
    compare: StageConfig = StageConfig()
    """One job at the end: compares the evaluations. Needs no GPU."""


class _Set(Strict):
    """Environment variables of jobs."""

    set: dict[str, str] = {}
    """Variables that jobs get, such as `OMP_NUM_THREADS = "8"`. Never a secret: a job's script can
    be read by others."""

    @property
    def passed(self) -> tuple[str, ...]:
        """The names under `pass`."""
        names: tuple[str, ...] = getattr(self, "pass")  # noqa: B009 - a word of Python's own
        return names


if TYPE_CHECKING:
    EnvConfig = _Set
else:
    # `pass` is what the file says, but no attribute can be written so in a class.
    EnvConfig = create_model(
        "EnvConfig",
        __base__=_Set,
        __doc__=_Set.__doc__,
        **{
            "pass": (
                tuple[Text, ...],
                Field(
                    (),
                    description="Names of your own variables that jobs may see although they "
                    "begin with SLURM_ or the like, which are kept from jobs. A secret's name is "
                    "never passed.",
                ),
            )
        },
    )
