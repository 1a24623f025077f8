"""What is measured, and in which order: contenders in turn, so that a slow minute hits them all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["train", "evaluate"]
Posts = Literal["synthetic", "real"]

PARTS = ("start", "train", "evaluate", "prefix", "rows", "process")

ONE_BY_ONE = "one_by_one"
TITLES = {
    "hsd": "hsd",
    "hsd_off": "hsd, sharing off",
    "trl_defaults": "TRL SFTTrainer, defaults",
    "trl_best": "TRL, best CPU settings",
    "trl_cuda_head": "TRL, best and its CUDA head",
    ONE_BY_ONE: "one row at a time (reference)",
    "hsd_generate": "hsd generate",
    "hsd_generate_off": "hsd generate, sharing off",
    "pipeline": "HF pipeline, one by one",
    "lm_eval_generate": "lm-eval generate_until, batch 16",
    "hsd_score": "hsd score",
    "hsd_score_off": "hsd score, sharing off",
    "lm_eval_choice": "lm-eval multiple_choice, batch 16",
}
COMMANDS = {
    "hsd_train": "hsd train",
    "trl_script": "plain TRL script",
    "hsd_evaluate": "hsd evaluate, generate",
    "pipeline_script": "plain pipeline script",
    "hsd_evaluate_score": "hsd evaluate, score",
}
"""Whole commands, in the order they are run in."""
NEEDS = {
    **dict.fromkeys(("trl_defaults", "trl_best", "trl_cuda_head"), "trl"),
    **dict.fromkeys(("lm_eval_generate", "lm_eval_choice"), "lm_eval"),
    "trl_script": "trl",
}
"""The package that a contender cannot do without."""

TRAINERS = ("hsd", "hsd_off", "trl_defaults", "trl_best", "trl_cuda_head")
SHORT_TRAINERS = ("hsd", "trl_best")
ANSWERERS = (
    "hsd_generate", "pipeline", "lm_eval_generate", "hsd_generate_off",
    "hsd_score", "lm_eval_choice", "hsd_score_off",
)  # fmt: skip
SHORT_ANSWERERS = ("hsd_generate", "pipeline", "hsd_score")
"""By prefix length the hardest rival is enough, and the pipeline: the rest takes half an hour."""

SHARE = 4
"""A contender whose cost per row doesn't depend on how many rows follow answers every fourth row
of an evaluation, other ones each round: all of them would take most of the hour."""
ALL_ROWS = ("hsd_generate", "hsd_score")


@dataclass(frozen=True, slots=True)
class Case:
    """Rows behind a shared prefix of about `prefix` tokens, and who works on them."""

    kind: Kind
    prefix: int
    posts: Posts
    rows: int
    contenders: tuple[str, ...]
    rounds: int

    @property
    def name(self) -> str:
        """Its place in the ledger; cases of one name are the same case."""
        return f"{self.kind}/{self.prefix}/{self.posts}/{self.rows}"


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement."""

    case: Case
    contender: str
    round: int

    @property
    def key(self) -> str:
        """What tells this measurement from every other one of a run."""
        return f"{self.case.name}/{self.contender}/{self.round}"

    def rows(self, count: int) -> slice:
        """Return which of the case's rows, sorted by length, this measurement takes."""
        if self.case.kind == "train" or self.contender in ALL_ROWS or count < 4 * SHARE:
            return slice(None)
        return slice(self.round % SHARE, None, SHARE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    prefixes: tuple[int, ...] = (0, 120, 330, 790)
    main: int = 330
    step_rows: int = 16
    rows: int = 64
    rounds: int = 2


def cases(parts: Sequence[str], sizes: Sizes, *, real: bool) -> list[Case]:
    """Return the cases of these parts; those on real posts only where there are any."""
    found: list[Case] = []
    posts: list[tuple[Posts, int]] = [("synthetic", sizes.rounds)]
    if real:
        posts.append(("real", max(1, sizes.rounds - 1)))
    for which, rounds in posts:
        leave_out = "_off" if which == "real" else None
        trainers = _without(leave_out, (ONE_BY_ONE, *TRAINERS))
        answerers = _without(leave_out, ANSWERERS)
        if "train" in parts:
            found.append(Case("train", sizes.main, which, sizes.step_rows, trainers, rounds))
        if "evaluate" in parts:
            found.append(Case("evaluate", sizes.main, which, sizes.rows, answerers, rounds))
    if "rows" in parts:
        found += _twice_the_rows(sizes)
    if "prefix" in parts:
        found += _by_prefix(sizes)
    return found


def _without(ending: str | None, contenders: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in contenders if ending is None or not name.endswith(ending))


def _twice_the_rows(sizes: Sizes) -> Iterator[Case]:
    """The cases that show what twice the rows cost beside the main ones."""
    rounds, rows = sizes.rounds, sizes.rows
    for count in (rows, 2 * rows):
        yield Case(
            "evaluate", sizes.main, "synthetic", count, ("hsd_generate", "hsd_score"), rounds
        )
    for count in (sizes.step_rows, 2 * sizes.step_rows):
        yield Case("train", sizes.main, "synthetic", count, ("hsd",), rounds)


def _by_prefix(sizes: Sizes) -> Iterator[Case]:
    for prefix in sizes.prefixes:
        if prefix != sizes.main:
            yield Case("train", prefix, "synthetic", sizes.step_rows, SHORT_TRAINERS, 1)
            if prefix:  # a model that is asked nothing answers in endless prose
                yield Case("evaluate", prefix, "synthetic", sizes.rows, SHORT_ANSWERERS, 1)


def tasks(found: Sequence[Case]) -> list[Task]:
    """Return every measurement once, training first, round by round, contenders in turn.

    The reference is measured in the first round alone, and before all others: it says what the
    gradient is.
    """
    ordered = [
        Task(case, contender, round)
        for kind in ("train", "evaluate")
        for round in range(max((case.rounds for case in found), default=0))
        for case in found
        for contender in case.contenders
        if case.kind == kind and round < (1 if contender == ONE_BY_ONE else case.rounds)
    ]
    return list({task.key: task for task in ordered}.values())
