"""sinfo: two partitions over the same four nodes, all idle."""

import sys

from fake_slurm import faults, formats, options, tables

VALUES = options.words("format partition states nodes clusters")
FLAGS = options.words("noheader Node all exact long summarize")
SHORT = {"o": "format", "p": "partition", "t": "states", "n": "nodes", "h": "noheader"}
SHORT |= {"M": "clusters", "N": "Node", "a": "all", "e": "exact", "l": "long", "s": "summarize"}
USUAL = "%9P %.5a %.10l %.6D %.6t %N"

Row = tuple[str, str]
"""A partition and nodes of it."""


def main(argv: list[str]) -> None:
    """Print the partitions, or with -N a line for each node of each."""
    faults.meet("sinfo")
    asked, _ = options.parsed("sinfo", argv, VALUES, FLAGS, SHORT)
    names = asked.get("partition", "gpu,low").split(",")
    nodes = tables.NODES if "Node" in asked else ("fake[1-4]",)
    rows = [(name, node) for node in nodes for name in ("gpu", "low") if name in names]
    sys.stdout.write(
        formats.table(asked.get("format", USUAL), COLUMNS, rows, "noheader" not in asked)
    )


def _count(row: Row) -> int:
    return 4 if "[" in row[1] else 1


COLUMNS = {
    "P": ("PARTITION", lambda row: "gpu*" if row[0] == "gpu" else row[0]),
    "R": ("PARTITION", lambda row: row[0]),
    "a": ("AVAIL", lambda _: "up"),
    "l": ("TIMELIMIT", lambda _: "infinite"),
    "L": ("DEFAULTTIME", lambda _: "5:00"),
    "D": ("NODES", _count),
    "N": ("NODELIST", lambda row: row[1]),
    "G": ("GRES", lambda _: "gpu:a100:4"),
    "c": ("CPUS", lambda _: 16),
    "m": ("MEMORY", lambda _: 64000),
    "t": ("STATE", lambda _: "idle"),
    "T": ("STATE", lambda _: "idle"),
    "f": ("AVAIL_FEATURES", lambda _: "(null)"),
    "C": ("CPUS(A/I/O/T)", lambda row: f"0/{16 * _count(row)}/0/{16 * _count(row)}"),
    "X": ("SOCKETS", lambda _: 1),
    "Y": ("CORES", lambda _: 16),
    "Z": ("THREADS", lambda _: 1),
}
