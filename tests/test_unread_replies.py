"""Most replies without a label are warned of, with a beginning that repeats no post."""

from dataclasses import replace

from posts import predictions

from hsd.prediction import Prediction
from hsd.report.unread_replies import first_unread, unread_in, unread_said, unscored_said


def replying(reply: str, post: str = "the baker opens the shop at nine") -> Prediction:
    (one,) = predictions("- n invalid")
    return replace(one, reply=reply, text=post)


def test_half_of_the_replies_without_a_label_are_no_warning() -> None:
    assert unread_in(predictions("- n n\n- n invalid")) is None
    assert unread_in(predictions("- n n\n- n invalid\n- h refusal")) == (
        '2 of 3 replies hold no label; the first begins "{}".'
    )


def test_the_sentence_agrees_in_number() -> None:
    assert unread_said(1, 1) == "1 of 1 reply holds no label."
    assert unread_said(0, 0) is None


def test_a_beginning_is_one_short_visible_line() -> None:
    assert first_unread([replying("a\n\x1b[31m b")]) == "a \\u001b[31m b"
    assert first_unread([replying("x" * 61)]) == "x" * 60 + "..."


def test_a_reply_that_repeats_its_post_is_not_quoted() -> None:
    echoing = replying("You said: baker opens the shop at nine")
    assert first_unread([echoing]) == ""
    assert first_unread([echoing, replying("I cannot help")]) == "I cannot help"


def test_a_reply_with_a_label_and_no_score_is_not_said_to_hold_no_label() -> None:
    unscored = replying('{"classification": "hate"}')
    assert unread_in([unscored] * 3) == (
        "3 of 3 replies have a label but no score, and count as invalid."
    )
    assert unread_in([unscored]) == "1 of 1 reply has a label but no score, and counts as invalid."
    assert first_unread([unscored]) == ""


def test_a_post_without_a_score_is_not_called_a_reply() -> None:
    assert unscored_said(20, 20) == "20 of 20 posts have no score, and count as wrong."
    assert unscored_said(1, 1) == "1 of 1 post has no score, and counts as wrong."
    assert unscored_said(1, 2) is None
