"""What a server was asked and what it counted, in this start and in earlier ones; and the cost."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hsd.config.server_config import ServerConfig
from hsd.inference.chat_answer import ChatReply

COUNTS = ("requests", "repeated", "prompt_tokens", "cached_tokens", "reply_tokens", "uncounted")
"""What is summed; `uncounted` are replies whose tokens the server did not count."""
_RARE = ("cached_tokens", "uncounted")
UNCOUNTED_COST = "uncounted_cost"
"""The most that the `uncounted` replies may have cost; --max-cost counts it, and no sum does."""
_MILLION = 1_000_000
_FORM_TOKENS = 64
"""What a chat template may add to the bytes of a prompt."""

Counts = dict[str, Any]


def cost_of(counts: Mapping[str, Any], config: ServerConfig) -> float | None:
    """Return what the counted tokens cost; None without prices."""
    if config.prompt_price is None or config.reply_price is None:
        return None
    cached = counts.get("cached_tokens", 0)
    own = config.prompt_price if config.cached_price is None else config.cached_price
    prompt = (counts.get("prompt_tokens", 0) - cached) * config.prompt_price + cached * own
    return float(prompt + counts.get("reply_tokens", 0) * config.reply_price) / _MILLION


def added(first: Mapping[str, Any], second: Mapping[str, Any]) -> Counts:
    """Return the counts of two starts, or of two processes, together."""
    found: Counts = {name: first.get(name, 0) + second.get(name, 0) for name in COUNTS}
    found["seconds"] = round(first.get("seconds", 0.0) + second.get("seconds", 0.0), 3)
    unscored = dict(first.get("unscored") or {})
    for reason, rows in (second.get("unscored") or {}).items():
        unscored[reason] = unscored.get(reason, 0) + rows
    refused = sorted({*(first.get("not_sent") or ()), *(second.get("not_sent") or ())})
    uncounted = first.get(UNCOUNTED_COST, 0.0) + second.get(UNCOUNTED_COST, 0.0)
    optional = {"unscored": unscored, "not_sent": refused, UNCOUNTED_COST: uncounted}
    return {**found, **{name: value for name, value in optional.items() if value}}


@dataclass(slots=True)
class ServerUse:
    """Counts what is asked, from several threads, and says when the money is spent.

    `before` is what earlier starts counted, and `others` what other processes had counted when this
    one began. What is on its way counts as much as it may cost.
    """

    config: ServerConfig
    before: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    here: Counts = field(default_factory=dict)
    is_spent: bool = False
    _on_its_way: float = 0.0
    _counting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, most: float) -> bool:
        """Return whether a request may be sent that costs `most` at the most, and count it."""
        with self._counting:
            limit = self.config.max_cost
            if limit is not None and self._spent() + most > limit:
                self.is_spent = True
                return False
            self._on_its_way += most
            return True

    def count(self, reply: ChatReply | None, reserved: float = 0.0) -> None:
        """Count a reply, or that none came; what was not counted may have cost all of it."""
        with self._counting:
            self._on_its_way -= reserved
            if reply is not None:
                self._add(UNCOUNTED_COST, 0.0 if reply.is_counted else reserved)
                self._add("prompt_tokens", reply.prompt_tokens)
                self._add("cached_tokens", reply.cached_tokens)
                self._add("reply_tokens", reply.reply_tokens)
                self._add("uncounted", int(not reply.is_counted))

    def most(self, prompt: str, reply_tokens: int) -> float:
        """Return the most that a request can cost: no token is shorter than a byte."""
        sent = {"prompt_tokens": len(prompt.encode()) + _FORM_TOKENS, "reply_tokens": reply_tokens}
        return cost_of(sent, self.config) or 0.0

    def unscored(self, reason: str) -> None:
        """Count a row without a score."""
        with self._counting:
            rows = self.here.setdefault("unscored", {})
            rows[reason] = rows.get(reason, 0) + 1

    def counts(self, **more: Any) -> Counts:
        """Return what a manifest says, with `more` counts of this start, and the cost."""
        with self._counting:
            found = added(self.before, {**self.here, **more})
        return with_cost(found, self.config)

    def _spent(self) -> float:
        known = added(added(self.before, self.others), self.here)
        counted = cost_of(known, self.config) or 0.0
        return counted + float(known.get(UNCOUNTED_COST, 0.0)) + self._on_its_way

    def _add(self, name: str, value: float) -> None:
        self.here[name] = self.here.get(name, 0) + value


def with_cost(counts: Mapping[str, Any], config: ServerConfig) -> Counts:
    """Return counts with their cost, where there are prices, and without what never occurred."""
    shown = {name: value for name, value in counts.items() if value or name not in _RARE}
    cost = cost_of(counts, config)
    return {**shown, **({} if cost is None else {"cost": round(cost, 6)})}
