"""One sample of lm-eval (its option log_samples): the post, and what the model answered.

A line of `samples_TASK_DATE.jsonl` has `doc` (the task's row), `arguments` (of each request, as
`gen_args_0.arg_0`, or as lists in older versions), `resps` and `filtered_resps`, whose values are
all texts. Of a task with choices there is a request for each choice, whose second argument is the
choice and whose answer is [log-likelihood, is it the likeliest]; otherwise the answer is a text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

CHOICES, REPLY = "lm_eval.choices", "lm_eval.reply"
FILTER = "filter"
"""Which of the task's filters made `filtered_resps`; each has a line of its own."""


def is_sample(values: Mapping[str, Any]) -> bool:
    """Return whether a row is such a sample."""
    return {"doc_id", "doc", "filtered_resps"} <= values.keys()


def sample_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the task's row, and beside them the choices or the reply."""
    doc = values["doc"]
    found = dict(doc) if isinstance(doc, Mapping) else {}
    found |= {"doc_id": values["doc_id"], FILTER: values.get(FILTER)}
    answers = values["filtered_resps"]
    if choices := _choices(values.get("arguments"), answers):
        return found | {CHOICES: choices}
    return found | {REPLY: _reply(answers)}


def _choices(arguments: Any, answers: Any) -> dict[str, float]:
    """Return the log-likelihood of each choice; {} where the answers are none."""
    requests = list(arguments.values()) if isinstance(arguments, Mapping) else arguments
    if not _are_lists(requests, answers) or len(requests) != len(answers):
        return {}
    found = {}
    for request, answer in zip(requests, answers, strict=True):
        parts = list(request.values()) if isinstance(request, Mapping) else request
        if not _are_lists(parts, answer) or len(parts) < 2 or not isinstance(parts[1], str):
            return {}
        likelihood = _number(answer[0]) if len(answer) == 2 else None
        if likelihood is None:
            return {}
        found[parts[1].strip()] = likelihood
    return found


def _are_lists(*values: Any) -> bool:
    return all(isinstance(value, Sequence) and not isinstance(value, str) for value in values)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _reply(answers: Any) -> str | None:
    """Return the reply that was written; None for what is no single text."""
    first = answers[0] if _are_lists(answers) and answers else answers
    return first if isinstance(first, str) else None
