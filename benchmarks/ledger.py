"""Finished measurements, one JSON line each, so that a stopped run goes on where it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class LedgerError(Exception):
    """The file holds measurements that these would not belong to."""


class Ledger:
    """An append-only file whose first line says under which settings all others were measured."""

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self._file = file
        self.records: dict[str, Record] = {}
        if not _lines(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"settings": dict(settings)}) + "\n", encoding="utf-8")
            return
        first, *rest = _lines(file)
        if different := differing(first.get("settings", {}), settings):
            raise LedgerError(
                f"{file}: measured with other {', '.join(different)}; give another --out."
            )
        self.records = {record["key"]: record for record in rest}
        # A line that a kill cut short goes, else the next one would be glued to it.
        whole = [first, *rest]
        file.write_text("".join(json.dumps(line) + "\n" for line in whole), encoding="utf-8")

    def __contains__(self, key: str) -> bool:
        return key in self.records

    def add(self, record: Record) -> None:
        """Append one measurement, on disk before the next one starts."""
        self.records[record["key"]] = record
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def differing(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return the names of settings that are not the same in both."""
    as_read = json.loads(json.dumps(dict(asked)))
    return sorted(k for k in known.keys() | as_read.keys() if known.get(k) != as_read.get(k))


def _lines(file: Path) -> list[Record]:
    """Return the whole lines; a kill may have cut the last one."""
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
