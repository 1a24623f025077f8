"""P(hate) is read where the label of a reply begins, or not at all."""

from math import exp, log
from typing import Any

import pytest

from hsd.example import LABELS
from hsd.inference.label_logprobs import label_score, written_tokens

HATE = '{"classification": "hate"}'


def token(text: str, **likely: float) -> dict[str, Any]:
    """Return a token as OpenAI's API writes one; `likely` are probabilities of other tokens."""
    top = [{"token": other, "logprob": log(p), "bytes": None} for other, p in likely.items()]
    return {"token": text, "logprob": log(likely.get(text, 0.9)), "top_logprobs": top}


def score(reply: str, *tokens: dict[str, Any]) -> Any:
    return label_score(reply, written_tokens({"logprobs": {"content": list(tokens)}}))


OPENING = (token('{"'), token("class"), token("ification"), token('":'), token(' "'))


def test_the_first_tokens_of_both_labels_give_the_score() -> None:
    found = score(HATE, *OPENING, token("h", h=0.6, normal=0.2, z=0.1), token("ate"), token('"}'))
    assert found.score == pytest.approx(0.75)
    assert found.reason == ""


def test_every_token_that_begins_a_label_counts_for_it() -> None:
    hate, normal = {"hate": 0.3, "h": 0.1, "hat": 0.1}, {"normal": 0.2, "nor": 0.1}
    fork = token("hate", **hate, **normal, **{"never": 0.1, "ha!": 0.1})
    found = score(HATE, *OPENING, fork, token('"}'))
    assert found.score == pytest.approx(0.5 / 0.8)


def test_a_token_may_hold_the_quote_ahead_of_the_label_or_the_one_behind_it() -> None:
    likely = {' "hate': 0.4, ' "normal"}': 0.4, ' "': 0.1, ' "not': 0.1}
    found = score(HATE, *OPENING[:-1], token(' "hate', **likely), token('"}'))
    assert found.score == pytest.approx(0.5)


@pytest.mark.parametrize("label", LABELS)
def test_a_label_that_is_not_among_the_likeliest_gives_no_score(label: str) -> None:
    likely = {label: 0.9, "no": 0.05} if label == "normal" else {label: 0.9, "z": 0.05}
    reply = HATE.replace("hate", label)
    other = LABELS[1 - LABELS.index(label)]
    found = score(reply, *OPENING, token(label, **likely), token('"}'))
    assert found.score is None
    assert found.reason == f"'{other}' does not begin one of the 2 likeliest tokens of the label"


def test_a_token_that_a_server_forbade_is_not_among_the_likeliest() -> None:
    fork = token("hate", hate=0.9)
    fork["top_logprobs"].append({"token": "normal", "logprob": -9999.0})
    assert score(HATE, *OPENING, fork, token('"}')).score is None


def test_the_written_token_counts_even_where_it_is_not_among_the_likeliest() -> None:
    fork = token("hate", normal=0.1)
    fork["logprob"] = log(0.3)
    found = score(HATE, *OPENING, fork, token('"}'))
    assert found.score == pytest.approx(0.3 / 0.4)


def test_two_tokens_of_one_text_count_together() -> None:
    fork = token("hate", hate=0.93, normal=0.05)
    fork["top_logprobs"].append({"token": "hate", "logprob": log(0.004), "bytes": [*b"hate"]})
    found = score(HATE, *OPENING, fork, token('"}'))
    assert found.score == pytest.approx(0.934 / 0.984)


def test_a_reply_that_writes_the_less_likely_label_gives_no_score() -> None:
    found = score(HATE, *OPENING, token("hate", hate=0.3, normal=0.5), token('"}'))
    assert found.score is None
    assert found.reason == "the reply says 'hate', but 'normal' is likelier there"


def test_a_written_label_may_be_the_less_likely_one_by_rounding() -> None:
    found = score(HATE, *OPENING, token("hate", hate=0.49, normal=0.5), token('"}'))
    assert found.score == pytest.approx(0.49 / 0.99)


def test_many_tokens_of_the_other_label_may_together_be_likelier_than_the_written_one() -> None:
    fork = token("hate", hate=0.4, **{"normal": 0.25, "nor": 0.2})
    assert score(HATE, *OPENING, fork, token('"}')).score == pytest.approx(0.4 / 0.85)


def test_thoughts_before_a_reply_and_a_stop_token_behind_it_are_no_part_of_it() -> None:
    thought = token('hm, {"classification": "normal"} or not. ')
    found = score(
        HATE, thought, *OPENING, token("h", h=0.5, n=0.5), token('ate"}'), token("<|im_end|>")
    )
    assert found.score == pytest.approx(0.5)


def test_half_a_character_is_spelled_by_its_bytes() -> None:
    halves = [{"token": "\ufffd", "logprob": -0.1, "bytes": [one]} for one in "é".encode()]
    found = score(f"é {HATE}", *halves, token(" "), *OPENING, token("h", h=0.5, n=0.5),
                  token('ate"}'))  # fmt: skip
    assert found.score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("reply", "tokens", "reason"),
    [
        (HATE, [], "the server sent no log-probabilities"),
        (HATE, [token("token_id:17"), token("token_id:3")],
         "the tokens of the log-probabilities do not spell the reply"),
        ("hate", [token("hate", hate=0.5, normal=0.5)],
         "the reply does not write its label once, as JSON"),
        (f"{HATE} {HATE}", [token(f"{HATE} {HATE}")],
         "the reply does not write its label once, as JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_gives_a_reason(
    reply: str, tokens: list[dict[str, Any]], reason: str
) -> None:
    found = score(reply, *tokens)
    assert (found.score, found.reason) == (None, reason)


def test_labels_differ_in_their_first_letter_so_that_no_token_begins_both() -> None:
    assert len({label[0] for label in LABELS}) == len(LABELS)


def test_a_mask_that_leaves_the_two_labels_alone_changes_no_score() -> None:
    free = score(HATE, *OPENING, token("h", h=0.03, n=0.01, z=0.9), token('ate"}')).score
    masked = score(HATE, *OPENING, token("h", h=0.75, n=0.25), token('ate"}')).score
    assert free == pytest.approx(masked)
    assert exp(log(0.75)) == pytest.approx(masked)
