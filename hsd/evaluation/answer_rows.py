"""From rows and an engine to predictions on disk."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.example import Example
from hsd.inference.halving import Halving, answers
from hsd.inference.replies import Engine, Reply
from hsd.io.progress import Progress
from hsd.prediction import Prediction, prediction_of
from hsd.prompts.answers import ParsedReply, answer_start, read_reply
from hsd.prompts.render import Encoded
from hsd.report.predictions import append_predictions


def answer_rows(
    plan: EvaluationPlan,
    engine: Engine,
    batches: Sequence[Sequence[Encoded]],
    file: Path,
    progress: Progress,
    known: Collection[str] = (),
    halved: Callable[[Halving], None] = lambda _: None,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Answer batch after batch, each on disk before the next.

    Rows whose ids are `known` were answered by an earlier start. They are computed once more, so
    that the others of their batch come out as they would have then, and their replies are dropped.
    `check_stop` is called before each batch, and may raise.
    """
    examples = {example.id: example for example in plan.examples}
    left = {row.id: row for batch in batches for row in batch if row.id not in known}
    done = 0
    progress(0, len(left), plan.what)
    answered = answers(batches, engine.answer, halved)
    while done < len(left):
        check_stop()
        replies = [reply for reply in next(answered) if reply.id in left]
        append_predictions(
            file,
            [_prediction(plan, examples[r.id], r, left[r.id].shortened) for r in replies],
        )
        done += len(replies)
        progress(done, len(left), plan.what)


def parsed_reply(plan: EvaluationPlan, reply: Reply) -> ParsedReply:
    """Return what a reply says. A scored label is known already: its text is only for people."""
    if reply.label is not None:
        return ParsedReply("valid", reply.label)
    opening = plan.renderer.opening_text(has_system=bool(plan.contract.strategy.system_prompt))
    said = reply.text.removeprefix(opening)
    if plan.contract.strategy.parameters.analysis:  # asked for, so an answer behind it is whole
        said = said[answer_start(said) :]
    return read_reply(said, cut_off=reply.cut_off)


def _prediction(
    plan: EvaluationPlan, example: Example, reply: Reply, shortened: bool
) -> Prediction:
    reading = parsed_reply(plan, reply)
    return prediction_of(
        example,
        strategy=plan.contract.strategy_name,
        label=reading.label,
        outcome=reading.outcome,
        reply=reply.text,
        rationale=reading.rationale,
        score=reply.score,
        response_time=round(reply.seconds, 4),
        truncated_post=shortened,
    )
