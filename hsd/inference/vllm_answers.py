"""Replies from a vLLM process: it gets token ids and gives numbers or ids, never text."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from hsd.inference.chat_server import reply_schema
from hsd.inference.label_trie import inner_nodes, label_log_probabilities
from hsd.inference.replies import Asking, Reply, read_tokens, row_seed
from hsd.inference.score import Candidates, scored
from hsd.inference.vllm_process import VllmProcess
from hsd.prompts.render import Encoded

IsAdapted = Callable[[], bool]
"""Whether the adapter is on."""


class VllmScore:
    """Scores both labels: one request for each place in the answer where a label goes on."""

    def __init__(self, process: VllmProcess, spelled: Candidates, is_adapted: IsAdapted) -> None:
        self._process, self._spelled, self._is_adapted = process, spelled, is_adapted

    def __call__(self, batch: Sequence[Encoded]) -> list[Reply]:
        """Return the likelier answer of each row with its P(hate)."""
        started = time.monotonic()
        found = self.log_probabilities(batch)
        return scored(batch, found, time.monotonic() - started)

    def log_probabilities(self, batch: Sequence[Encoded]) -> list[tuple[float, float]]:
        """Return the log-probability of each row's labels, hate first."""
        nodes = inner_nodes(self._spelled)
        rows = [[[*row.prompt, *node.path], node.tokens] for row in batch for node in nodes]
        values = self._process.ask("scores", rows=rows, adapter=self._is_adapted())
        each = [values[at : at + len(nodes)] for at in range(0, len(values), len(nodes))]
        return [label_log_probabilities(self._spelled, one) for one in each]


class VllmGenerate:
    """Writes replies in the JSON form of the answer; without `schema` whatever the model writes.

    With a form the reply begins behind `opening`, a channel or an empty thought, which is forced.
    """

    def __init__(
        self,
        process: VllmProcess,
        tokenizer: Any,
        stop_ids: Sequence[int],
        asking: Asking,
        is_adapted: IsAdapted,
        opening: Sequence[int] = (),
        schema: dict[str, Any] | None = None,
    ) -> None:
        self._process, self._tokenizer, self._stop_ids = process, tokenizer, stop_ids
        self._asking, self._is_adapted = asking, is_adapted
        self._opening, self._schema = list(opening), schema

    def __call__(self, batch: Sequence[Encoded]) -> list[Reply]:
        """Return the reply to each row."""
        started, asking = time.monotonic(), self._asking
        limit = max(1, asking.max_new_tokens - len(self._opening))
        replies = self._process.ask(
            "replies",
            rows=[[[*row.prompt, *self._opening], self._seed(row)] for row in batch],
            adapter=self._is_adapted(),
            max_tokens=limit,
            temperature=asking.temperature,
            stop_ids=list(self._stop_ids),
            schema=self._schema,
        )
        share = (time.monotonic() - started) / len(batch)
        texts = [read_tokens(self._tokenizer, ids, self._stop_ids, limit) for ids in replies]
        pairs = zip(batch, texts, strict=True)
        return [Reply(row.id, text, cut, share) for row, (text, cut) in pairs]

    def _seed(self, row: Encoded) -> int | None:
        asking = self._asking
        return row_seed(asking.seed, row.id) if asking.temperature > 0 else None


def answer_form(*, rationale: bool) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    schema: dict[str, Any] = reply_schema(rationale=rationale)["json_schema"]["schema"]
    return schema
