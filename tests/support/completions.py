"""Answers of an OpenAI-compatible server."""

from math import log
from typing import Any


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 5}}


def scored_completion(hate: float, **others: float) -> dict[str, Any]:
    """Return an answer with log-probabilities: of `hate`, and of `others` where given."""
    likely = {"hate": hate, **(others or {"normal": 1 - hate})}
    label = "hate" if hate > 0.5 else "normal"
    top = [{"token": text, "logprob": log(chance)} for text, chance in likely.items()]
    tokens = [
        {"token": '{"classification": "', "logprob": -0.1, "top_logprobs": []},
        {"token": label, "logprob": log(likely.get(label, 0.5)), "top_logprobs": top},
        {"token": '"}', "logprob": -0.1, "top_logprobs": []},
    ]
    answer = completion(f'{{"classification": "{label}"}}')
    answer["choices"][0]["logprobs"] = {"content": tokens}
    return answer
