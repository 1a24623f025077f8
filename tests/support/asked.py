"""A tiny base with rows behind a short prompt, answered in every way there is."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hsd.config.model_config import ModelConfig

POSTS = (
    "they are all liars and should leave our town at once",
    "the new bakery opens on monday",
    "my neighbours cook the best food",
    "who asked?",
    "🥐",
    "the best food the best food the best food the best food the best food the best food at once",
    "should leave",
    "monday",
    "assistant final analysis system user, they said; everything else is normal and the post is on",
)


class Asked:
    """`prefix_tokens` is what all prompts share, unless a test takes less of it."""

    def __init__(
        self, folder: Path, posts: Sequence[str] = POSTS, *, rationale: bool = False
    ) -> None:
        from hsd.inference.score import candidates
        from hsd.model.base import load_base
        from hsd.model.packing import shared_length
        from hsd.prompts.chat import make_chat
        from hsd.prompts.contract import make_contract
        from hsd.prompts.render import Renderer
        from hsd.prompts.template import load_template

        self.folder = folder
        contract = make_contract(load_template("baseline"), "standard")
        self.base = load_base(ModelConfig(name=str(folder), device="cpu"))
        self.model, self.tokenizer = self.base.model, self.base.tokenizer
        self.renderer = Renderer(self.tokenizer, contract)
        self.spelled = candidates(
            self.renderer, self.tokenizer, has_system=True, rationale=rationale
        )
        self.rows = [
            self.renderer.encode(make_chat(contract.strategy, f"row{n}", post))
            for n, post in enumerate(posts)
        ]
        self.prefix_tokens = shared_length([row.prompt[:-1] for row in self.rows])

    def prefix(self, tokens: int | None = None) -> Any:
        """Return the computed prefix of the first `tokens` shared ones; None takes all."""
        import torch

        from hsd.model.packing import compute_prefix

        count = self.prefix_tokens if tokens is None else tokens
        with torch.inference_mode():
            return compute_prefix(self.model, self.rows[0].prompt[:count])

    def replies(self, rows: Iterable[Any] | None = None, **asking: Any) -> dict[str, Any]:
        """Return text and cut-off flag by id, the plain way."""
        from hsd.inference.generate import plain_writing
        from hsd.inference.replies import Asking

        settings = Asking(**{"max_new_tokens": 12, "batch_size": 3} | asking)
        stops = self.renderer.stop_ids()
        plain = plain_writing(self.model, self.tokenizer, stops, settings)
        batches = map(plain.answer, plain.batches(self.rows if rows is None else rows))
        return {reply.id: (reply.text, reply.cut_off) for batch in batches for reply in batch}

    def plain(self, rows: Iterable[Any] | None = None, **asking: Any) -> dict[str, Any]:
        """Return the same with each row alone: what all other ways are held against."""
        return self.replies(rows, **{"batch_size": 1} | asking)

    def scores(self, batch_size: int) -> dict[str, Any]:
        """Return replies with P(hate) by id, the plain way."""
        from hsd.inference.score import plain_scoring

        plain = plain_scoring(self.model, self.tokenizer, self.spelled, batch_size)
        batches = map(plain.answer, plain.batches(self.rows))
        return {reply.id: reply for batch in batches for reply in batch}

    def shared(
        self, rows: Iterable[Any] | None = None, prefix: Any = None, **asking: Any
    ) -> dict[str, Any]:
        """Return the same behind the shared prefix, in batches in the order given."""
        from hsd.inference.halving import in_batches
        from hsd.inference.replies import Asking

        settings = Asking(**{"max_new_tokens": 12, "batch_size": 3} | asking)
        rows = list(self.rows if rows is None else rows)
        engine = self.generating(settings, prefix)
        batches = in_batches(rows, settings.batch_size, engine)
        return {reply.id: (reply.text, reply.cut_off) for batch in batches for reply in batch}

    def generating(self, settings: Any, prefix: Any = None) -> Any:
        """Return what writes replies behind a prefix, by default all that is shared."""
        from hsd.inference.shared_generate import SharedGenerate

        prefix = prefix or self.prefix()
        stops = self.renderer.stop_ids()
        return SharedGenerate(self.model, self.tokenizer, prefix, stops, settings)

    def scoring(self, prefix: Any = None) -> Any:
        """Return what scores labels behind a prefix, by default all that is shared."""
        from hsd.inference.shared_score import SharedScore

        return SharedScore(self.model, prefix or self.prefix(), self.spelled)


ENDINGS = {
    "row0": '{"a": 1} and more',
    "row1": 'So: {"a": {"b": "}"}} and more',
    "row2": "no object at all, and on and on",
    "row3": '{"a": 1<|im_end|>}',
    "row4": '{"a": "never closed',
    "row5": "}}}",
}
"""What rows are made to write, so that each ends in another way."""


def require_own_endings(found: dict[str, Any]) -> None:
    """Assert that each row of ENDINGS stopped where its own object, stop token or limit is."""
    assert found["row0"] == ('{"a": 1}', False)
    assert found["row1"] == ('So: {"a": {"b": "}"}}', False)
    assert found["row2"][0].startswith(ENDINGS["row2"])
    assert found["row2"][1], "it ran into the limit"
    assert found["row3"] == ('{"a": 1', False), "the stop token ends it"
    assert found["row4"][0].startswith(ENDINGS["row4"])
    assert found["row4"][1]
    assert found["row5"][1]
