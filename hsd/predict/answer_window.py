"""What a model says of posts: a window of them at a time, by the engines of `hsd evaluate`."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsd.errors import DataError
from hsd.evaluation.answer_rows import parsed_reply
from hsd.evaluation.choose_engine import PrefixOnce
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.evaluation.evaluation_run import engine_for
from hsd.evaluation.vllm_model import Surroundings
from hsd.inference.halving import answers
from hsd.inference.replies import Reply
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer
from hsd.predict.post_model import Watch
from hsd.prompts.chat import make_chat
from hsd.prompts.render import Encoded

_PROBE = "a"
_ONE = "of one letter"


def require_room(plan: EvaluationPlan) -> None:
    """Raise DataError where not even a post of one letter fits: then none is worth a row."""
    try:
        plan.renderer.encode(make_chat(plan.contract.strategy, _ONE, _PROBE), plan.limit)
    except DataError as error:
        said = str(error).removeprefix(f"row {_ONE}: ")
        raise DataError(f"a post of one letter: {said}") from None


def answer_window(
    plan: EvaluationPlan,
    model: Any,
    once: PrefixOnce,
    window: Sequence[InputPost],
    watch: Watch,
    known: Collection[int] = (),
    folder: Path | None = None,
) -> None:
    """Ask a model about the posts of a window.

    A window is what one evaluation is to `hsd evaluate`: its rows alone decide how it is computed,
    so a restart and another number of processes come to the same numbers. Rows that are `known` are
    computed once more beside the others of their batch, and not kept. `folder` is the run's.
    """
    encoded, refused = _encoded(plan, window)
    watch.keep([answer for answer in refused if answer.row not in known])
    left = [row for row in encoded if int(row.id) not in known]
    if not left:
        return
    at = Surroundings(folder, watch.check_stop, watch.shard)
    chosen = engine_for(replace(plan, encoded=encoded), model, once, at)
    _forget_others(once)
    if chosen.fallback:
        watch.say(chosen.fallback)
    cut = {int(row.id): row.shortened for row in left}
    open_batches = [
        batch
        for batch in chosen.engine.batches(encoded)
        if any(int(row.id) in cut for row in batch)
    ]
    replies = answers(open_batches, chosen.engine.answer)
    while cut:
        watch.check_stop()
        found = [reply for reply in next(replies) if int(reply.id) in cut]
        watch.keep([_answer(plan, reply, cut.pop(int(reply.id))) for reply in found])


def _encoded(
    plan: EvaluationPlan, window: Sequence[InputPost]
) -> tuple[list[Encoded], list[PostAnswer]]:
    """Return the prompts of a window's posts, and the answer of each that can have none."""
    encoded, refused = [], []
    for post in window:
        if post.text is None:
            continue
        try:
            chat = make_chat(plan.contract.strategy, str(post.number), post.text)
            encoded.append(plan.renderer.encode(chat, plan.limit))
        except DataError as error:
            reason = str(error).removeprefix(f"row {post.number}: ")
            refused.append(PostAnswer(row=post.number, reason=reason))
    return encoded, refused


def _answer(plan: EvaluationPlan, reply: Reply, shortened: bool) -> PostAnswer:
    parsed = parsed_reply(plan, reply)
    cut = f"the post was cut: its prompt is longer than {plan.room} tokens" if shortened else ""
    return PostAnswer(
        row=int(reply.id),
        outcome=parsed.outcome,
        label=parsed.label,
        score=reply.score,
        rationale=parsed.rationale,
        reason=cut,
    )


def _forget_others(once: PrefixOnce) -> None:
    """Keep the newest prefix: nearly all windows share it, and each is as large as a batch."""
    for ids in list(once.prefixes)[:-1]:
        del once.prefixes[ids]
