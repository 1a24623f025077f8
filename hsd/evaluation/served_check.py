"""One question to a server before an evaluation: does it answer, and with a label?"""

from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.evaluation.prompt_choice import PROBE
from hsd.evaluation.served_plan import served_model_plan
from hsd.evaluation.served_replies import answer_of, request_settings, server_of
from hsd.inference.chat_server import MOST_MODELS
from hsd.io.progress import Say, unsaid
from hsd.prompts.chat import chat_messages


def try_server(config: EvalConfig, say: Say = unsaid) -> tuple[dict[str, Any], str]:
    """Ask a server about one mild post, once, and return facts and reply.

    Raises ConfigError, ModelError and EvaluationError where an evaluation would.
    """
    once = config.server.model_copy(update={"retries": 0})
    plan = served_model_plan(config.model_copy(update={"server": once}))
    server = server_of(plan, say)
    with server.client:
        messages = chat_messages(plan.contract.strategy, PROBE)
        reply = server.ask(messages, **request_settings(plan))
        listed = server.models()
    answer = answer_of(plan, reply)
    scored = {"score": answer.score, "reason": answer.reason} if plan.config.mode == "score" else {}
    facts = {
        "server": config.server.base_url,
        "model": config.model.name,
        "models": listed[:MOST_MODELS],
        "prompt": plan.facts_of_prompt,
        "label": answer.read.label,
        "outcome": answer.read.outcome,
        **scored,
        "seconds": round(reply.seconds, 3),
        "not_sent": server.not_sent,
    }
    return facts, reply.text
