"""Answers of an OpenAI-compatible server."""

from typing import Any


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 5}}
