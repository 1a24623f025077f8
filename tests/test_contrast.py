from dataclasses import replace

import pytest
from posts import predictions
from present import present

from hsd.data.identity_swap import SWAP
from hsd.metrics.contrast import contrasts, functionalities, swap_results
from hsd.prediction import Prediction


def cases(*rows: tuple[str, str, str, str]) -> list[Prediction]:
    """Rows of `groups true called`, functionality, own id and reference."""
    made = predictions("\n".join(row[0] for row in rows))
    return [
        replace(p, functionality=f, id=id, reference_id=ref)
        for p, (_, f, id, ref) in zip(made, rows, strict=True)
    ]


def test_accuracy_by_functionality_and_target_adds_up() -> None:
    rows = cases(
        *[("lgbtq h h", "slur_h", f"a{n}", "") for n in range(5)],
        *[("mexican h n", "slur_h", f"b{n}", "") for n in range(5)],
        ("- n n", "profanity_nh", "c", ""),
    )
    profanity, slur = functionalities(rows)
    assert slur.right["all"].value == 0.5
    assert (slur.right["lgbtq_persona"].value, slur.right["mexican_persona"].value) == (1.0, 0.0)
    assert (profanity.right["all"].hits, profanity.right["all"].value) == (1, None)
    assert slur.label == "hate"


def test_posts_without_functionality_have_none() -> None:
    assert functionalities(predictions("- h h")) == []
    assert contrasts(predictions("- h h")) == []


def test_a_contrast_pair_is_consistent_when_both_sides_are_right() -> None:
    rows = cases(
        ("- h h", "derog_h", "r1", ""), ("- n n", "negate_nh", "c1", "r1"),
        ("- h h", "derog_h", "r2", ""), ("- n h", "negate_nh", "c2", "r2"),
        ("- h n", "derog_h", "r3", ""), ("- n n", "negate_nh", "c3", "r3"),
        ("- n n", "negate_nh", "c4", "not here"),
    )  # fmt: skip
    (found,) = contrasts(rows)
    assert (found.functionality, found.keeps_label, found.n) == ("negate_nh", False, 3)
    assert (found.both, found.only_reference, found.only_contrast) == (1, 1, 1)


def test_cases_of_one_template_have_the_interval_of_few() -> None:
    made = cases(*[("lgbtq h h" if n < 20 else "lgbtq h n", "slur_h", f"a{n}", "")
                   for n in range(60)])  # fmt: skip
    (apart,) = functionalities(made)
    (shared,) = functionalities([replace(p, cluster=f"t{n // 10}") for n, p in enumerate(made)])
    wide, narrow = (present(rate.right["all"].interval) for rate in (shared, apart))
    assert shared.right["all"].value == apart.right["all"].value
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_pairs_with_one_label_are_invariances_and_none_is_dropped() -> None:
    rows = []
    for n, called in enumerate(["h h"] * 4 + ["n n"] * 2 + ["h n", "n h", "h refusal"]):
        before, after = called.split()
        rows += [(f"- h {before}", "derog_h", f"r{n}", "")]
        rows += [(f"- h {after}", "spell_h", f"c{n}", f"r{n}")]
    (found,) = contrasts(cases(*rows))
    assert (found.functionality, found.keeps_label, found.n) == ("spell_h", True, 9)
    assert (found.both, found.only_reference, found.only_contrast) == (4, 2, 1)
    assert (found.same_call.hits, found.same_call.n, found.unread) == (6, 8, 1)


def test_contrasts_come_before_invariances_of_the_same_functionality() -> None:
    rows = cases(
        ("- h h", "derog_h", "r", ""), ("- h h", "edit", "c1", "r"), ("- n n", "edit", "c2", "r")
    )  # fmt: skip
    assert [(c.keeps_label, c.n) for c in contrasts(rows)] == [(False, 1), (True, 1)]


def test_a_swap_counts_flips_and_the_shift_of_the_score() -> None:
    rows = []
    for n in range(10):
        rows += [("lgbtq n n .2", "", f"o{n}", "")]
        rows += [(f"mexican n {'h .6' if n < 4 else 'n .3'}", SWAP, f"s{n}", f"o{n}")]
    (found,) = swap_results(cases(*rows))
    assert (found.before, found.after) == ("lgbtq", "mexican")
    assert (found.flips.value, found.to_hate) == (0.4, 4)
    assert found.mean_shift is not None
    assert found.mean_shift == pytest.approx(0.4 * 0.4 + 0.6 * 0.1)
    interval = present(found.shift_interval)
    assert interval.low < found.mean_shift < interval.high
    assert swap_results(predictions("- h h")) == []


def test_an_unread_reply_is_no_flip_but_a_number_of_its_own() -> None:
    calls = [("n", "n")] * 5 + [("n", "h"), ("n", "invalid"), ("refusal", "n"), ("refusal",) * 2]
    rows = []
    for n, (before, after) in enumerate(calls):
        rows += [(f"lgbtq n {before}", "", f"o{n}", ""),
                 (f"mexican n {after}", SWAP, f"s{n}", f"o{n}")]  # fmt: skip
    (found,) = swap_results(cases(*rows))
    assert (found.flips.hits, found.flips.n, found.to_hate, found.unread) == (1, 6, 1, 3)
