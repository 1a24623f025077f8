"""What a run says of its server at the end: requests, tokens, pace and cost."""

from collections.abc import Mapping
from typing import Any

from hsd.counted import counted


def server_lines(answering: Mapping[str, Any]) -> list[str]:
    """Return sentences about what a manifest's `answering` counts of a server, all starts."""
    if "requests" not in answering:
        return []
    again = answering.get("repeated", 0)
    repeated = f" ({again:,} repeated)" if again else ""
    tokens = (
        f"{counted(answering.get('prompt_tokens', 0), 'prompt token')} and "
        f"{counted(answering.get('reply_tokens', 0), 'reply token')}"
    )
    seconds = answering.get("seconds", 0.0)
    asked = counted(answering["requests"], "request")
    lines = [f"Server: {asked}{repeated}, {tokens}{_pace(answering, seconds)}."]
    if (cost := answering.get("cost")) is not None:
        lines.append(f"Cost: {cost:,.6g}, by server.prompt_price and server.reply_price.")
    if uncounted := answering.get("uncounted", 0):
        lines.append(
            f"The server did not count the tokens of {counted(uncounted, 'reply', 'replies')}; "
            "hsd counts them as none."
        )
    return lines


def _pace(answering: Mapping[str, Any], seconds: float) -> str:
    if seconds <= 0:
        return ""
    requests = answering["requests"] / seconds
    tokens = (answering.get("prompt_tokens", 0) + answering.get("reply_tokens", 0)) / seconds
    return f" in {seconds:,.1f} s ({requests:,.1f} requests/s, {tokens:,.0f} tokens/s)"
