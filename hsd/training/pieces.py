"""How the rows of one optimiser step are cut into pieces, each one forward and backward.

Rows asked alike share their prompt's first tokens. Computed once for all of them, what is left is
short; the question is only how much of it to take at once. Worked out from token counts alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from hsd.model.packing import shared_length
from hsd.prompts.render import Encoded

Asked = tuple[str, str]

Form = Literal["behind", "with", "alone"]
"""`behind`: the prefix once, then pieces packed behind its keys and values. `with`: packed pieces
that begin with the prefix themselves. `alone`: nothing shared, whole rows padded to one length."""

CALL_TOKENS = 30
"""What one forward and backward costs however short it is, in tokens. Fitted, with the next, to 12
timings of SmolLM2-135M on one CPU thread: .13 s a call, 4.5 ms a token, 2.8 us a pair."""

PAIR_SLOWNESS = 2
"""How many times longer an operation in masked attention takes than one in a linear layer."""

WORTH_IT = 1.1
"""`auto` shares from this expected gain on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a piece may hold: never more than `batch_size` plain rows of the longest would.

    `pair_tokens` is what one query looking at one key costs, in tokens. `pairs` limits those where
    attention keeps all its scores in memory; None where it does not.
    """

    batch_size: int
    longest: int
    pair_tokens: float
    keeps_scores: bool = False
    recomputes: bool = False
    """Activation checkpointing is on, which can't take keys and values from outside."""

    @property
    def tokens(self) -> int:
        """Most tokens at once."""
        return self.batch_size * self.longest

    @property
    def pairs(self) -> int | None:
        """Most query-key pairs at once."""
        return self.batch_size * self.longest**2 if self.keeps_scores else None

    def cost(self, queries: int, keys: int) -> float:
        """Return what a forward and backward costs, in tokens."""
        return CALL_TOKENS + queries + self.pair_tokens * queries * keys

    def hold(self, tokens: int, pairs: int) -> bool:
        """Return whether so much may be in memory at once."""
        return tokens <= self.tokens and (self.pairs is None or pairs <= self.pairs)


@dataclass(frozen=True, slots=True)
class Work:
    """Rows asked alike and how they are learned: the shared tokens, and the pieces in order."""

    form: Form
    prefix: list[int]
    pieces: list[list[Encoded]]
    cost: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a run shares: for rows asked alike, the tokens they begin with."""

    prefixes: Mapping[Asked, list[int]]
    limits: Limits

    def work(self, rows: Sequence[Encoded]) -> list[Work]:
        """Return the works of one step; every row is in exactly one piece."""
        return [
            shared_work(self.prefixes.get(asked, []), group, self.limits)
            for asked, group in grouped(rows).items()
        ]


def find_sharing(rows: Sequence[Encoded], limits: Limits) -> Sharing:
    """Return the longest prefixes that rows asked alike have in common.

    They are found by comparing ids and end before the last token of the prompt: the model's
    state there speaks of the answer's first token, which is each row's own.
    """
    return Sharing(
        {
            asked: group[0].prompt[: shared_length([row.prompt[:-1] for row in group])]
            for asked, group in grouped(rows).items()
        },
        limits,
    )


def grouped(rows: Iterable[Encoded]) -> dict[Asked, list[Encoded]]:
    """Return rows by how they are asked, in the order of their first ones."""
    groups: dict[Asked, list[Encoded]] = {}
    for row in rows:
        groups.setdefault(row.asked, []).append(row)
    return groups


def shared_work(prefix: list[int], rows: Sequence[Encoded], limits: Limits) -> Work:
    """Return the cheapest way to learn rows that begin with `prefix`, within the limits."""
    ordered = sorted(rows, key=length)
    own = [length(row) - len(prefix) for row in ordered]
    ways = [_with(len(prefix), cut, limits) for cut in cuts(own)]
    if prefix and not limits.recomputes:
        ways += [_behind(len(prefix), cut, limits) for cut in cuts(own)]
    # A row at a time always fits: it is no more than a plain row.
    best = min(ways, key=lambda way: (not way.held, way.cost))
    left = iter(ordered)
    return Work(best.form, prefix, [[next(left) for _ in piece] for piece in best.cut], best.cost)


def plain_work(rows: Sequence[Encoded], limits: Limits) -> Work:
    """Return rows in padded batches of about `limits.tokens`, nothing shared."""
    pieces: list[list[Encoded]] = []
    for row in sorted(rows, key=length):
        # Ascending, so this row is the widest of the batch it joins.
        if pieces and (len(pieces[-1]) + 1) * length(row) <= limits.tokens:
            pieces[-1].append(row)
        else:
            pieces.append([row])
    widths = [(len(piece), length(piece[-1])) for piece in pieces]
    cost = sum(limits.cost(n * width, 0) + limits.pair_tokens * n * width**2 for n, width in widths)
    return Work("alone", [], pieces, cost)


def expected_gain(steps: Iterable[Sequence[Encoded]], sharing: Sharing) -> float:
    """Return how many times cheaper the steps are with sharing than without."""
    plain = shared = 0.0
    for rows in steps:
        plain += plain_work(rows, sharing.limits).cost
        shared += sum(work.cost for work in sharing.work(rows))
    return plain / shared


def length(row: Encoded) -> int:
    """Return a row's tokens, prompt and answer."""
    return len(row.prompt) + len(row.answer)


def pair_cost(config: Any) -> float:
    """Return the time of one query-key pair as a share of a token's time in the linear layers.

    A pair takes 4 x heads x width operations a layer, a token 2 for each weight it meets; for a
    mixture of experts these are the experts it is sent to.
    """
    hidden, heads = config.hidden_size, config.num_attention_heads
    width = getattr(config, "head_dim", None) or hidden // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    experts = getattr(config, "num_experts_per_tok", None) or 1
    weights = 2 * hidden * width * (heads + key_heads)
    weights += 3 * hidden * (getattr(config, "intermediate_size", None) or 4 * hidden) * experts
    return float(PAIR_SLOWNESS * 2 * heads * width / weights)


def cuts(lengths: Sequence[int]) -> list[list[list[int]]]:
    """Return ways to cut lengths, in order: each alone, and into few to many pieces."""
    total, count, found = sum(lengths), 1, [[[tokens] for tokens in lengths]]
    while count < len(lengths):
        found.append(_cut(lengths, ceil(total / count)))
        count += ceil(count / 4)  # 1, 2, 3, 4, 5, 7, 9, ...: one more or less of many is all one
    return found


def _cut(lengths: Sequence[int], room: int) -> list[list[int]]:
    pieces: list[list[int]] = []
    filled = room
    for tokens in lengths:
        if filled + tokens > room:
            pieces.append([])
            filled = 0
        pieces[-1].append(tokens)
        filled += tokens
    return pieces


@dataclass(frozen=True, slots=True)
class _Way:
    form: Form
    cut: list[list[int]]
    cost: float
    held: bool


def _with(prefix: int, cut: list[list[int]], limits: Limits) -> _Way:
    sizes = [prefix + sum(piece) for piece in cut]
    held = all(limits.hold(size, size * size) for size in sizes)
    return _Way("with", cut, sum(limits.cost(size, size) for size in sizes), held)


def _behind(prefix: int, cut: list[list[int]], limits: Limits) -> _Way:
    sizes = [sum(piece) for piece in cut]
    held = all(
        limits.hold(prefix + size, prefix * prefix + size * (prefix + size)) for size in sizes
    )
    cost = limits.cost(prefix, prefix)
    return _Way("behind", cut, cost + sum(limits.cost(s, prefix + s) for s in sizes), held)
