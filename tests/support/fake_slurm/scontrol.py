"""scontrol: release, hold, requeue, show, write batch_script, ping."""

import os
import sys
from pathlib import Path

from fake_slurm import faults, resources, schedule, store, tables
from fake_slurm.formats import moment, span

NO_JOB = "Invalid job id specified"


def main(argv: list[str]) -> None:
    """Carry out one command."""
    oneline = bool({"-o", "--oneliner"} & set(argv))
    if argv[:1] == ["-M"]:  # ids are of all clusters here
        argv = argv[2:]
    command, *words = [word for word in argv if word not in ("-o", "--oneliner")] or ["help"]
    faults.meet("scontrol", command)
    if command == "show":
        _show(words, oneline)
    elif command == "ping":
        print("Slurmctld(primary) at fake is UP")
    elif command == "write" and words[0] == "batch_script":
        _write(words[1], (*words[2:], f"slurm-{words[1]}.sh")[0])
    elif command in ("release", "hold", "requeue"):
        _each(command, [one for word in words for one in word.split(",")])
    else:
        faults.fail(f"invalid keyword: {command}")


def _each(command: str, ids: list[str]) -> None:
    carry_out, bad = {"release": _release, "hold": _hold, "requeue": _requeue}[command], False
    with store.changed() as state:
        schedule.advance(state)
        for text in ids:
            found = store.selected(state, text)
            if faults.faults().get("forgets"):
                found = [pair for pair in found if not store.ended(pair[1])]
            problem = next(filter(None, [carry_out(*pair) for pair in found]), "")
            problem = problem or ("" if found else f"{NO_JOB} for job {text}")
            print(problem, end="\n" if problem else "", file=sys.stderr)
            bad |= bool(problem)
        schedule.advance(state)
    if bad:
        faults.fail(f"slurm_suspend error: {NO_JOB}")


def _release(job: store.Job, element: store.Element) -> str:
    if store.ended(element):
        return f"{store.name(job, element)}: Job has already finished"
    if element["state"] == "PENDING":
        element.update(held=False, reason="None")
    return ""


def _hold(job: store.Job, element: store.Element) -> str:
    if element["state"] == "PENDING":
        element.update(held=True, reason="JobHeldUser")
    return ""


def _requeue(job: store.Job, element: store.Element) -> str:
    name = store.name(job, element)
    if "no-requeue" in job["options"]:
        return f"Requested operation is presently disabled for job {name}"
    if element["state"] == "PENDING":
        return f"Job is pending execution for job {name}"
    if store.ended(element):
        store.again(element, element["state"])
    else:
        store.command(element, "REQUEUED", requeue=True)
    return ""


def _show(words: list[str], oneline: bool) -> None:
    what, name = (*words, "", "")[:2]
    if what == "config":
        off = "disabled" in faults.of("sacct")
        config = tables.config(faults.limits())
        print(config.replace("/slurmdbd", "/none") if off else config, end="")
    elif what in ("job", "jobs"):
        _show_jobs(name, oneline)
    elif what == "hostnames":
        prefix, _, indices = (name or os.environ["SLURM_JOB_NODELIST"]).partition("[")
        many = store.numbers(indices.rstrip("]")) if indices else [""]
        print("\n".join(f"{prefix}{index}" for index in many))
    elif what in ("partition", "partitions", "node", "nodes"):
        blocks = tables.partitions() if what.startswith("partition") else tables.nodes()
        print("\n\n".join(_lines(text, oneline) for key, text in blocks if name in ("", key)))
    else:
        faults.fail(f"invalid entity:{what} for keyword:show")


def _show_jobs(name: str, oneline: bool) -> None:
    with store.changed() as state:
        schedule.advance(state)
    pairs = [(job, element) for job in state["jobs"] for element in job["elements"]]
    found = store.selected(state, name) if name else pairs
    if faults.faults().get("forgets"):
        found = [pair for pair in found if not store.ended(pair[1])]
    if not found:
        faults.fail(f"slurm_load_jobs error: {NO_JOB}")
    print(("\n" if oneline else "\n\n").join(_lines(_job(*pair), oneline) for pair in found))


def _job(job: store.Job, element: store.Element) -> str:
    wanted, array = job["options"], ""
    if element["index"] is not None:
        array = f" ArrayJobId={job['id']} ArrayTaskId={span([element['index']])}"
    return "\n".join(
        [
            f"JobId={element['raw'] or job['id']}{array} JobName={job['name']}",
            f"UserId={job['user']}({os.getuid()}) Account={wanted.get('account', 'hsd')}",
            f"JobState={element['state']} Reason={element['reason']} "
            f"Dependency={wanted.get('dependency', '(null)')}",
            f"Requeue={int('no-requeue' not in wanted)} Restarts={element['restarts']} BatchFlag=1 "
            f"ExitCode={element['code']}",
            f"TimeLimit={resources.clock(60 * resources.minutes(job))}",
            f"SubmitTime={moment(job['submitted'])}",
            f"StartTime={moment(element['start'], 'Unknown')} "
            f"EndTime={moment(element['end'], 'Unknown')}",
            f"Partition={wanted.get('partition', 'gpu')}",
            f"NodeList={resources.node_list(job) if element['start'] else ''}",
            f"NumNodes={resources.number(wanted, 'nodes')} NumCPUs={resources.cpus(wanted)}",
            f"TRES={resources.tres(job)}",
            f"WorkDir={job['folder']}",
            f"Comment={wanted.get('comment', '')}",
        ]
    )


def _lines(text: str, oneline: bool) -> str:
    return text.replace("\n", " ") if oneline else text.replace("\n", "\n   ")


def _write(text: str, target: str) -> None:
    found = store.selected(store.read(), text)
    if not found:
        faults.fail(f"slurm_load_jobs error: {NO_JOB}")
    script = Path(found[0][0]["files"], "script").read_bytes()
    if target == "-":
        sys.stdout.buffer.write(script)
        return
    Path(target).write_bytes(script)
    print(f"batch script for job {text} written to {target}")
