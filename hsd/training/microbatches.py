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
from hsd.training.planner_costs import CALL_TOKENS, PAIR_SLOWNESS

PromptKey = tuple[str, str]

Form = Literal["behind", "with", "alone"]
"""`behind`: the prefix once, then pieces packed behind its keys and values. `with`: packed pieces
that begin with the prefix themselves. `alone`: nothing shared, whole rows padded to one length."""

ANSWER_TOKENS = 256
"""Answer tokens that a piece may always have: their logits, at 4 bytes and a vocabulary of 201,088,
are 200 MB, more than the rest of a model that computes its activations again."""

WORTH_IT = 1.1
"""`auto` shares from this expected gain on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a piece may hold: no more than `batch_size` plain rows of the longest would.

    Answer tokens are counted by themselves, `longest_answer` of a row, since each has logits.
    `pair_tokens` is what one query looking at one key costs, in tokens, and `call_tokens` what a
    forward and backward costs besides. `pairs` limits those where attention keeps all its scores
    in memory; None where it does not.
    """

    batch_size: int
    longest: int
    longest_answer: int
    pair_tokens: float
    keeps_scores: bool = False
    call_tokens: float = CALL_TOKENS
    behind: bool = True
    """False computes a prefix with each piece, as hsd once did with activations computed again."""

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
        return self.call_tokens + queries + self.pair_tokens * queries * keys

    @property
    def answer_tokens(self) -> int:
        """Most answer tokens at once."""
        return max(self.batch_size * self.longest_answer, ANSWER_TOKENS)

    def hold(self, tokens: int, pairs: int, answer_tokens: int) -> bool:
        """Return whether so much may be in memory at once."""
        if tokens > self.tokens or answer_tokens > self.answer_tokens:
            return False
        return self.pairs is None or pairs <= self.pairs


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Rows asked alike and how they are learned: the shared tokens, and the pieces in order."""

    form: Form
    prefix: list[int]
    pieces: list[list[Encoded]]
    cost: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a run shares: for rows asked alike, the tokens they begin with."""

    prefixes: Mapping[PromptKey, list[int]]
    limits: Limits

    def work(self, rows: Sequence[Encoded]) -> list[StepPlan]:
        """Return the works of one step; every row is in exactly one piece."""
        return [
            shared_work(self.prefixes.get(asked, []), group, self.limits)
            for asked, group in grouped_rows(rows).items()
        ]


def find_sharing(rows: Sequence[Encoded], limits: Limits) -> Sharing:
    """Return the longest prefixes that rows asked alike have in common.

    They are found by comparing ids and end before the last token of the prompt: the model's
    state there speaks of the answer's first token, which is each row's own.
    """
    return Sharing(
        {
            asked: group[0].prompt[: shared_length([row.prompt[:-1] for row in group])]
            for asked, group in grouped_rows(rows).items()
        },
        limits,
    )


def grouped_rows(rows: Iterable[Encoded]) -> dict[PromptKey, list[Encoded]]:
    """Return rows by how they are asked, in the order of their first ones."""
    groups: dict[PromptKey, list[Encoded]] = {}
    for row in rows:
        groups.setdefault(row.asked, []).append(row)
    return groups


def shared_work(prefix: list[int], rows: Sequence[Encoded], limits: Limits) -> StepPlan:
    """Return the cheapest way to learn rows that begin with `prefix`, within the limits."""
    ways: list[_Way] = []
    # Rows of like length stand together, so that few of a piece's tokens are padding.
    for pieces in cuts(sorted(rows, key=length), len(prefix)):
        # Either each piece computes the prefix with its rows: one forward and backward a piece ...
        ways.append(_with(len(prefix), pieces, limits))
        # ... or the prefix is computed once and its gradient collected over all pieces.
        if prefix and limits.behind:
            ways.append(_behind(len(prefix), pieces, limits))
    # A row at a time always fits: it is no more than a plain row.
    best = min(ways, key=lambda way: (not way.held, way.cost))
    return StepPlan(best.form, prefix, best.pieces, best.cost)


def plain_work(rows: Sequence[Encoded], limits: Limits) -> StepPlan:
    """Return rows in padded batches of about `limits.tokens`, nothing shared."""
    pieces: list[list[Encoded]] = []
    for row in sorted(rows, key=length):
        # Ascending, so this row is the widest of the batch it joins.
        joined = [*pieces[-1], row] if pieces else []
        tokens = sum(map(_lines, joined)) * length(row)
        if joined and limits.hold(tokens, 0, _answer_tokens(joined)):
            pieces[-1] = joined
        else:
            pieces.append([row])
    widths = [(sum(map(_lines, piece)), length(piece[-1])) for piece in pieces]
    cost = sum(limits.cost(n * width, 0) + limits.pair_tokens * n * width**2 for n, width in widths)
    return StepPlan("alone", [], pieces, cost)


def expected_gain(steps: Iterable[Sequence[Encoded]], sharing: Sharing) -> float:
    """Return how many times cheaper the steps are with sharing than without."""
    plain = shared = 0.0
    for rows in steps:
        plain += plain_work(rows, sharing.limits).cost
        shared += sum(work.cost for work in sharing.work(rows))
    return plain / shared


def length(row: Encoded) -> int:
    """Return the tokens that a row takes: prompt, answer, and what its label might be instead."""
    return len(row.prompt) + spoken_tokens(row)


def spoken_tokens(row: Encoded) -> int:
    """Return how many tokens of a row are spoken of, each with logits of its own."""
    return len(row.answer) + sum(map(len, row.rivals))


def pair_cost(config: Any, slowness: float = PAIR_SLOWNESS) -> float:
    """Return the time of one query-key pair as a share of a token's time in the linear layers.

    A pair takes 4 x heads x width operations a layer, a token 2 for each weight it meets; for a
    mixture of experts these are the experts it is sent to. Where layers differ in width (Gemma 4)
    the config has no width of its own, and the first layer's stands for all. An operation in
    attention takes `slowness` times as long.
    """
    config = _first_layer(config)
    hidden, heads = config.hidden_size, config.num_attention_heads
    width = getattr(config, "head_dim", None) or hidden // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    experts = getattr(config, "num_experts_per_tok", None) or 1
    inner = getattr(config, "intermediate_size", None)
    weights = 2 * hidden * width * (heads + key_heads)
    weights += 3 * hidden * (inner if isinstance(inner, int) else 4 * hidden) * experts
    return float(slowness * 2 * heads * width / weights)


def has_heads(config: Any) -> bool:
    """Return whether a text model's layers have attention heads, unlike those of Mamba."""
    return hasattr(_first_layer(config), "num_attention_heads")


def _first_layer(config: Any) -> Any:
    return getattr(config, "per_layer_config", [config])[0]


def cuts(rows: Sequence[Encoded], prefix: int) -> list[list[list[Encoded]]]:
    """Return ways to cut rows, in order: each alone, and into few to many pieces.

    Pieces of a cut have about as many tokens, those behind the `prefix` tokens alone counted.
    """
    total, count = sum(length(row) - prefix for row in rows), 1
    found = [[[row] for row in rows]]
    while count < len(rows):
        found.append(_even_cut(rows, prefix, ceil(total / count), count))
        count += ceil(count / 4)  # 1, 2, 3, 4, 5, 7, 9, ...: one more or less of many is all one
    return found


def _even_cut(rows: Sequence[Encoded], prefix: int, least: int, count: int) -> list[list[Encoded]]:
    """Return at most `count` pieces with as little room each as that takes, `least` at least."""
    most = least + max(length(row) - prefix for row in rows)  # with so much each is filled
    while least < most:
        room = (least + most) // 2
        if len(_cut(rows, prefix, room)) <= count:
            most = room
        else:
            least = room + 1
    return _cut(rows, prefix, most)


def _cut(rows: Sequence[Encoded], prefix: int, room: int) -> list[list[Encoded]]:
    pieces: list[list[Encoded]] = []
    filled = room
    for row in rows:
        if filled + length(row) - prefix > room:
            pieces.append([])
            filled = 0
        pieces[-1].append(row)
        filled += length(row) - prefix
    return pieces


@dataclass(frozen=True, slots=True)
class _Way:
    form: Form
    pieces: list[list[Encoded]]
    cost: float
    held: bool


def _with(prefix: int, pieces: list[list[Encoded]], limits: Limits) -> _Way:
    sizes = [(prefix + _own(piece, prefix), _answer_tokens(piece)) for piece in pieces]
    held = all(limits.hold(size, size * size, answers) for size, answers in sizes)
    return _Way("with", pieces, sum(limits.cost(size, size) for size, _ in sizes), held)


def _behind(prefix: int, pieces: list[list[Encoded]], limits: Limits) -> _Way:
    sizes = [(_own(piece, prefix), _answer_tokens(piece)) for piece in pieces]
    held = all(
        limits.hold(prefix + size, prefix * prefix + size * (prefix + size), answers)
        for size, answers in sizes
    )
    cost = limits.cost(prefix, prefix)
    return _Way("behind", pieces, cost + sum(limits.cost(s, prefix + s) for s, _ in sizes), held)


def _own(piece: Sequence[Encoded], prefix: int) -> int:
    return sum(length(row) - prefix for row in piece)


def _lines(row: Encoded) -> int:
    """Return how many padded lines a row takes: its own, and one for each rival of its label."""
    return 1 + len(row.rivals)


def _answer_tokens(piece: Sequence[Encoded]) -> int:
    return sum(map(spoken_tokens, piece))
