"""Command lines and #SBATCH lines into a dict of long options."""

from collections.abc import Sequence

from fake_slurm.faults import fail


def words(text: str) -> frozenset[str]:
    """Return the names of options that a text lists."""
    return frozenset(text.split())


# Of sbatch and srun. Whatever is not here is refused, as they do it.
VALUES = words(
    """
    account array begin chdir clusters comment constraint container cores-per-socket cpu-bind
    cpu-freq cpus-per-gpu cpus-per-task deadline dependency distribution error exclude export
    export-file gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres
    gres-flags hint input job-name jobid kill-on-invalid-dep licenses mail-type mail-user mcs-label
    mem mem-bind mem-per-cpu mem-per-gpu mincpus mpi network nodefile nodelist nodes ntasks
    ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output partition
    priority profile qos reservation signal sockets-per-node switches task-epilog task-prolog
    threads-per-core time time-min tmp uid wckey wrap
    """
)
FLAGS = words(
    """
    contiguous disable-status exact exclusive get-user-env hold ignore-pbs immediate
    kill-on-bad-exit label multi-prog nice no-kill no-requeue overcommit overlap oversubscribe
    parsable preserve-env propagate pty quiet reboot requeue spread-job test-only unbuffered
    use-min-nodes verbose wait wait-all-nodes
    """
)
SHORT = {
    "A": "account", "a": "array", "b": "begin", "C": "constraint", "c": "cpus-per-task",
    "D": "chdir", "d": "dependency", "e": "error", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "K": "kill-on-bad-exit", "l": "label", "N": "nodes", "n": "ntasks",
    "o": "output", "p": "partition", "q": "qos", "Q": "quiet", "s": "oversubscribe", "t": "time",
    "u": "unbuffered", "v": "verbose", "W": "wait", "w": "nodelist", "x": "exclude",
}  # fmt: skip


def parsed(
    program: str,
    argv: Sequence[str],
    values: frozenset[str] = VALUES,
    flags: frozenset[str] = FLAGS,
    short: dict[str, str] = SHORT,
) -> tuple[dict[str, str], list[str]]:
    """Return the options by long name and the words after them; flags have the value "yes"."""
    found: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        key, given, value = _split(program, word, short)
        if key in flags and given and not word.startswith("--"):  # -Pn is -P -n
            rest.insert(0, f"-{word[2:]}")
            given = False
        if key not in values | flags:
            fail(f"{program}: unrecognized option '{word.partition('=')[0]}'\n"
                 f'Try "{program} --help" for more information')  # fmt: skip
        if key in values and not given:
            if not rest:
                fail(f"{program}: option requires an argument '{word}'")
            value = rest.pop(0)
        found[key] = value if key in values or given else "yes"
    return found, rest


def _split(program: str, word: str, short: dict[str, str]) -> tuple[str, bool, str]:
    if word.startswith("--"):
        key, equals, value = word[2:].partition("=")
        return key, bool(equals), value
    if word[1] not in short:
        fail(f"{program}: invalid option -- '{word[1]}'")
    return short[word[1]], len(word) > 2, word[2:].removeprefix("=")


def directives(script: str) -> list[str]:
    """Return the words of a script's #SBATCH lines, which end at its first command."""
    found: list[str] = []
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            import shlex  # (slow to import, and only sbatch comes here)

            found += shlex.split(line.removeprefix("#SBATCH"), comments=True)
        elif line.strip() and not line.startswith("#"):
            break
    return found
