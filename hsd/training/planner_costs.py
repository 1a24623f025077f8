"""What a call and a query-key pair cost beside a token, fitted to timed pieces; no model here."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

CALL_TOKENS = 60.0
"""What one forward and backward costs however short it is, in tokens. Fitted, with the next, to 12
timings of SmolLM2-135M on one CPU thread: .13 s a call, 4.5 ms a token, 2.8 us a pair, which is 30
tokens; on two threads only the arithmetic gets faster, and a call costs twice as many."""

PAIR_SLOWNESS = 2.0
"""How many times longer an operation in masked attention takes than one in a linear layer."""

LEAST_CALL, MOST_CALL = 8.0, 4096.0
LEAST_SLOWNESS, MOST_SLOWNESS = 0.25, 64.0
"""What a fit may say. Beyond, a clock was disturbed."""


@dataclass(frozen=True, slots=True)
class PlannerCosts:
    """What the planner weighs pieces by. A run keeps its own: they decide its pieces."""

    call_tokens: float = CALL_TOKENS
    pair_slowness: float = PAIR_SLOWNESS


@dataclass(frozen=True, slots=True)
class TimedPiece:
    """A piece's tokens and query-key pairs, and how many seconds it took."""

    tokens: int
    pairs: int
    seconds: float


def fitted(pieces: Sequence[TimedPiece], pair_share: float) -> PlannerCosts:
    """Return the costs that explain three timings: of few tokens, of many padded, and packed.

    There are three unknowns: a call, a token and a pair. Padded and packed pieces have the same
    tokens and another number of pairs, so their difference is what pairs cost; `pair_share` is a
    pair's operations as a share of a token's. Rounded to powers of two, so that two starts on one
    kind of device mostly plan the same pieces. The usual costs where the times make no sense.
    """
    short, padded, packed = pieces
    a_pair = (packed.seconds - padded.seconds) / (packed.pairs - padded.pairs)
    a_pair = max(a_pair, 0.0)  # too fast to be seen beside the rest
    more = padded.seconds - short.seconds - a_pair * (padded.pairs - short.pairs)
    a_token = more / (padded.tokens - short.tokens)
    if a_token <= 0:
        return PlannerCosts()
    a_call = short.seconds - a_token * short.tokens - a_pair * short.pairs
    return PlannerCosts(
        _rounded(a_call / a_token, LEAST_CALL, MOST_CALL),
        _rounded(a_pair / a_token / pair_share, LEAST_SLOWNESS, MOST_SLOWNESS),
    )


def _rounded(value: float, least: float, most: float) -> float:
    within: float = min(max(value, least), most)
    return float(2 ** round(log2(within)))
