"""One question to a server before an evaluation: does it answer, and with a label?"""

from typing import Any

from hsd.config.evaluate_config import EvalConfig
from hsd.evaluation.prompt_choice import PROBE, contract_for
from hsd.evaluation.served_plan import ServedPlan, require_served
from hsd.evaluation.served_run import request_settings, server_of
from hsd.groups.group_set import default_groups
from hsd.inference.chat_server import MOST_MODELS
from hsd.io.progress import Say, unsaid
from hsd.prompts.answers import read_reply
from hsd.prompts.chat import chat_messages


def try_server(config: EvalConfig, say: Say = unsaid) -> tuple[dict[str, Any], str]:
    """Ask a server about one mild post, once, and return facts and reply.

    Raises ConfigError, ModelError and EvaluationError where an evaluation would.
    """
    require_served(config)
    once = config.server.model_copy(update={"retries": 0})
    asked = config.model_copy(update={"server": once})
    plan = ServedPlan(asked, contract_for(asked, None), [], default_groups(), [])
    server = server_of(plan, say)
    with server.client:
        messages = chat_messages(plan.contract.strategy, PROBE)
        reply = server.ask(messages, **request_settings(plan))
        listed = server.models()
    read = read_reply(reply.text, cut_off=reply.cut_off)
    facts = {
        "server": config.server.base_url,
        "model": config.model.name,
        "models": listed[:MOST_MODELS],
        "prompt": plan.facts_of_prompt,
        "label": read.label,
        "outcome": read.outcome,
        "seconds": round(reply.seconds, 3),
        "not_sent": server.not_sent,
    }
    return facts, reply.text
