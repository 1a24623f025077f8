"""Rows learned as the share of annotators who said hate: what is learned, counted, refused."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from small_runs import jsonl, posts
from test_trainer import HATE, NORMAL, said
from test_trainer import row as answered

from hsd.config.loading import load_train_config
from hsd.errors import ConfigError, DataError
from hsd.prompts.chat import chat_messages
from hsd.prompts.render import Encoded, Target
from hsd.prompts.template import load_template
from hsd.training.dataset import TrainingRows, load_training_rows
from hsd.training.objective import Objective, count_losses
from hsd.training.training_run import train
from hsd.training.validation import validation_scores

pytestmark = pytest.mark.model

LABEL = {"objective": "label"}
SHARE = {"objective": "label", "labels": "share"}


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def load(tiny_llama: Path, tmp_path: Path, tokenizer: Any) -> Callable[..., TrainingRows]:
    """Give `load(train rows, validation rows, training settings)`: the encoded rows."""

    def rows(learned: Any, training: dict[str, Any], watched: Any = None) -> TrainingRows:
        data = {"validation_file": str(jsonl(tmp_path / "v.jsonl", watched))} if watched else {}
        config = small_runs.config(tiny_llama, tmp_path, validation=0, data=data, training=training)
        jsonl(Path(config.data.train_file), learned)
        return load_training_rows(config, tokenizer)

    return rows


def voted(rows: Sequence[dict[str, Any]], *shares: float | None) -> list[dict[str, Any]]:
    return [row | {"hate_share": share} for row, share in zip(rows, shares, strict=True)]


def chats(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return posts as `hsd prepare` writes them."""
    words = load_template("baseline").strategies["standard"]
    return [
        {"id": row["id"], "messages": chat_messages(words, row["text"], row["label"])}
        for row in rows
    ]


def targets(rows: TrainingRows) -> list[Target]:
    return [row.target for row in rows.train if row.target]


def test_a_row_is_learned_as_its_share_only_where_that_is_asked_for_and_it_has_one(
    load: Callable[..., TrainingRows],
) -> None:
    rows = voted(posts(4), 1 / 3, 1.0, None, 0.0)
    assert [t.hate for t in targets(load(rows, SHARE))] == [1 / 3, 1.0, 0.0, 0.0]
    assert [t.hate for t in targets(load(rows, LABEL))] == [0.0, 1.0, 0.0, 1.0]
    assert targets(load(rows, {})) == []


def test_shares_of_0_and_1_are_learned_exactly_as_the_labels_they_are_of(
    load: Callable[..., TrainingRows],
) -> None:
    soft = load(voted(posts(4), 0.0, 1.0, 0.0, 1.0), SHARE)
    hard = load(posts(4), LABEL)
    assert [t.hate for t in targets(soft)] == [t.hate for t in targets(hard)]
    assert soft.facts()["train"]["sha256"] == hard.facts()["train"]["sha256"]


def test_a_share_changes_what_makes_two_runs_the_same_even_one_of_1_beside_normal(
    load: Callable[..., TrainingRows],
) -> None:
    digests = {
        load(voted(posts(4), *shares), SHARE).facts()["train"]["sha256"]
        for shares in [(0.0, 1.0, 0.0, 1.0), (1.0, 1.0, 0.0, 1.0), (0.4, 1.0, 0.0, 1.0)]
    }
    assert len(digests) == 3


def test_a_share_changes_no_token_and_no_label(load: Callable[..., TrainingRows]) -> None:
    soft, hard = load(voted(posts(4), 0.9, 0.1, 0.5, None), SHARE), load(posts(4), LABEL)
    assert [(r.prompt, r.answer) for r in soft.train] == [(r.prompt, r.answer) for r in hard.train]
    assert [t.label for t in targets(soft)] == [row["label"] for row in posts(4)]


def test_chats_bring_the_share_that_their_posts_have(load: Callable[..., TrainingRows]) -> None:
    written = voted(chats(posts(4)), 1 / 3, 1.0, None, 0.0)
    assert targets(load(written, SHARE)) == targets(
        load(voted(posts(4), 1 / 3, 1.0, None, 0.0), SHARE)
    )


@pytest.mark.parametrize("balance", ["label", "group"])
def test_balance_weighs_a_row_by_its_label_whatever_its_share(
    balance: str, load: Callable[..., TrainingRows]
) -> None:
    rows = [row | {"target_group": "lgbtq"} for row in [*posts(5), *posts(3, first=8)]]
    shares = (0.4, 0.9, 0.1, 0.6, 0.0, None, 0.7, 0.3)
    soft, hard = (
        load(voted(rows, *shares), {**LABEL, "balance": balance, **more})
        for more in ({"labels": "share"}, {})
    )
    assert [t.weight for t in targets(soft)] == [t.weight for t in targets(hard)]
    assert {t.weight for t in targets(soft)} != {1.0}


def test_validation_loss_is_against_the_share_where_that_is_learned(
    load: Callable[..., TrainingRows],
) -> None:
    watched = voted(posts(2, first=100), 0.25, None)
    rows = load(voted(posts(2), 0.5, 0.5), SHARE, watched)
    found = [row.target for row in rows.validation if row.target]
    assert [(t.label, t.hate) for t in found] == [("normal", 0.25), ("hate", 1.0)]
    assert rows.shares_note == (
        "2 of 2 training rows are learned as a share of votes; 1 of 2 validation rows are judged "
        "by one in the validation loss."
    )


def test_rows_learned_as_a_share_are_counted_and_said(
    tiny_llama: Path, tmp_path: Path, load: Callable[..., TrainingRows]
) -> None:
    said = "3 of 4 training rows are learned as a share of votes."
    rows = voted(posts(4), 1 / 3, 1.0, None, 0.0)
    assert load(rows, SHARE).shares_note == said
    assert load(rows, LABEL).shares_note is None
    config = small_runs.config(
        tiny_llama, tmp_path, validation=0, training={**SHARE, "max_steps": 1}
    )
    jsonl(Path(config.data.train_file), rows)
    heard: list[str] = []
    run = train(config, say=heard.append).folder
    assert said in heard
    assert said in (run / "training.log").read_text()


def test_rows_without_any_share_are_not_learned_as_labels_in_silence(
    load: Callable[..., TrainingRows],
) -> None:
    with pytest.raises(DataError, match="none of the 4 training rows has a share of votes; exp"):
        load(posts(4), SHARE)


def test_shares_on_the_other_side_of_their_label_are_warned_about(
    load: Callable[..., TrainingRows],
) -> None:
    (note,) = load(voted(posts(4), 0.9, 0.9, 0.5, 0.2), SHARE).notes
    assert "2 of 4 rows (p0, p3) have a hate_share on the other side of .5" in note
    assert load(voted(posts(4), 0.1, 0.9, 0.5, None), SHARE).notes == ()


def test_shares_are_refused_where_only_the_answers_tokens_are_learned() -> None:
    with pytest.raises(
        ConfigError, match="training: labels share goes with objective label; set tra"
    ):
        load_train_config("default", ["training.labels=share"])


# What a share does to loss and gradient


def gradient(row: Encoded, smoothing: float = 0.0) -> torch.Tensor:
    """Return the gradient of one row's label loss by what it said."""
    words = said((-1.3, -0.4)).double().requires_grad_()
    Objective(0.0, 1.0, smoothing).loss(words, [row], count_losses([row])).backward()
    assert words.grad is not None
    return words.grad


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("share", [0.0, 1 / 3, 0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("label", [HATE, NORMAL])
def test_the_gradient_of_a_share_is_that_many_parts_of_hate_and_the_rest_of_normal(
    label: int, share: float, smoothing: float
) -> None:
    hate, normal = (gradient(answered("r", label, end), smoothing) for end in (1.0, 0.0))
    expected = share * hate + (1 - share) * normal
    torch.testing.assert_close(gradient(answered("r", label, share), smoothing), expected)


@pytest.mark.parametrize("label", [HATE, NORMAL])
def test_a_share_that_is_the_label_has_the_labels_own_gradient_bit_for_bit(label: int) -> None:
    of_share = gradient(answered("r", label, float(label == HATE)))
    assert torch.equal(of_share, gradient(answered("r", label)))


def test_a_post_of_three_votes_is_learned_as_its_three_votes_would_be() -> None:
    votes = [answered(f"v{n}", HATE, vote) for n, vote in enumerate((1.0, 1.0, 0.0))]
    words = said((-1.3, -0.4))
    objective = Objective(0.0, 1.0)
    of_votes = objective.loss(words.repeat(3), votes, count_losses(votes))
    whole = [answered("post", HATE, 2 / 3)]
    torch.testing.assert_close(of_votes, objective.loss(words, whole, count_losses(whole)))


def test_a_score_of_the_share_itself_has_the_least_loss() -> None:
    share = 1 / 3
    losses = {}
    for score in (0.1, 0.3, share, 0.4, 0.9):
        logit = math.log(score / (1 - score))
        rows = [answered("r", HATE, share)]
        losses[score] = validation_scores(
            said((logit + 0.25, 0.0)), rows
        ).label_loss  # .25 apart at the ends
    assert min(losses, key=losses.__getitem__) == share


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_validation_row_is_right_by_its_label_whatever_its_share(share: float) -> None:
    rows = [answered("hate", HATE, share), answered("normal", NORMAL, share)]
    assert validation_scores(said((-1, -2), (-1, -2)), rows).right == 2
    assert validation_scores(said((-2, -1), (-2, -1)), rows).right == 0


def test_a_run_on_shares_of_0_and_1_makes_the_adapter_of_the_labels(
    tiny_llama: Path, tmp_path: Path
) -> None:
    def adapter(name: str, rows: list[dict[str, Any]], settings: dict[str, Any]) -> bytes:
        folder = tmp_path / name
        training = {**settings, "max_steps": 2}
        config = small_runs.config(tiny_llama, folder, validation=0, training=training)
        jsonl(Path(config.data.train_file), rows)
        return small_runs.adapter_bytes(train(config).folder)

    hard = adapter("hard", posts(6), LABEL)
    assert adapter("ends", voted(posts(6), *(0.0, 1.0) * 3), SHARE) == hard
    assert adapter("soft", voted(posts(6), *(0.3, 0.8) * 3), SHARE) != hard
