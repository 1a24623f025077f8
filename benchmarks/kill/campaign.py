"""Random kills of one command; each trial must end as an undisturbed run does."""

import random
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from ranks import Started, start_command

from benchmarks.kill.cases import Case
from benchmarks.kill.state import State, differences, state

KILLS_A_TRIAL = 5
"""A trial that was killed so often is let go to its end: then it is compared."""


@dataclass
class Outcome:
    """What came of a case: how many kills in how many trials, and what was wrong in them."""

    name: str
    kills: int = 0
    trials: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def note(self, lines: Iterable[str]) -> None:
        """Keep, and show, what is wrong with the trial that ends."""
        for line in lines:
            self.wrong.append(f"trial {self.trials}: {line}")
            print(f"{self.name}, {self.wrong[-1]}", file=sys.stderr, flush=True)

    def row(self) -> list[str]:
        """Return the case's line of the table."""
        equal = self.trials - len({line.split(":")[0] for line in self.wrong})
        left = sum("left over" in line for line in self.wrong)
        ends = f"{equal} of {self.trials}" if self.trials else "undisturbed runs differ"
        return [self.name, str(self.kills), ends, str(left), f"{self.seconds:.0f}"]


def campaign(case: Case, seed: int, tell: Callable[[str], None]) -> Outcome:
    """Return what came of killing `case` at random times until all its kills were dealt.

    The end of a trial must be, file by file, what an undisturbed run writes. Two undisturbed runs
    come first: where even they differ, nothing could be told.
    """
    began = time.monotonic()
    outcome = Outcome(case.name)
    whole, took = undisturbed(case)
    again, _ = undisturbed(case)
    if lines := differences(whole, again):
        outcome.wrong = [f"undisturbed: {line}" for line in lines]
        return outcome
    draw = random.Random(f"{seed}/{case.name}")
    while outcome.kills < case.kills:
        outcome.trials += 1
        left = min(KILLS_A_TRIAL, case.kills - outcome.kills)
        killed, lines = _trial(case, whole, took, left, draw)
        outcome.kills += killed
        outcome.note(lines)
        tell(f"{case.name}: {outcome.kills} of {case.kills} kills, {len(outcome.wrong)} wrong")
    outcome.seconds = time.monotonic() - began
    return outcome


def undisturbed(case: Case) -> tuple[State, float]:
    """Return what a run writes that nothing disturbs, and how many seconds it takes."""
    _clear(case)
    began = time.monotonic()
    started = _start(case)
    if said := complaints(started):
        raise SystemExit(f"{case.name} fails undisturbed: {said[0]}")
    return state(case.place), time.monotonic() - began


def complaints(started: Started) -> list[str]:
    """Wait for a command to end; return a line for each rank that did not end well."""
    ends = enumerate(started.ended())
    return [f"rank {n} ended with {end.code}: {end.said[-300:]}" for n, end in ends if end.code]


def _trial(
    case: Case, whole: State, took: float, kills: int, draw: random.Random
) -> tuple[int, list[str]]:
    """Return how many kills were dealt, and what is wrong at the end."""
    _clear(case)
    dealt = 0
    while dealt < kills:
        started = _start(case)
        struck = draw.choice(started.processes)
        if wait([struck.sentinel], timeout=draw.uniform(0, took)):
            break  # it was done before: so is the trial
        struck.kill()
        started.kill()  # as torchrun does with the rest
        started.ended()
        dealt += 1
    said = complaints(_start(case))
    return dealt, said + differences(whole, state(case.place))


def _start(case: Case) -> Started:
    case.place.parent.mkdir(parents=True, exist_ok=True)
    return start_command(case.command, case.place.parent, case.arguments, case.ranks)


def _clear(case: Case) -> None:
    shutil.rmtree(case.place, ignore_errors=True)
