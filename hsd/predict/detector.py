"""A model in a notebook: `Detector("runs/x").score(["..."])`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from weakref import finalize

from hsd.config.loading import load_eval_config
from hsd.data.read_rows import Row
from hsd.example import Label
from hsd.predict.input_posts import LARGEST_WINDOW, input_posts, windows
from hsd.predict.label_rule import LabelRule
from hsd.predict.post_asker import PostAsker
from hsd.predict.predict_job import PIPE, PredictJob, plan_of_columns
from hsd.prediction import Outcome


@dataclass(frozen=True, slots=True)
class Detected:
    """What a `Detector` says of one post; None where the post is empty, and `reason` says why.

    `score` is P(hate), `calibrated_score` the same at the frozen temperature.
    """

    label: Label | None
    score: float | None
    calibrated_score: float | None
    outcome: Outcome | None
    reason: str | None


class Detector:
    """A model that labels posts, loaded once: for notebooks and services.

    ```python
    detector = hsd.Detector("runs/default")
    detector.score(["the new bakery opens on monday"])  # P(hate) of each post: [0.04]
    detector.predict(["the new bakery opens on monday"])  # label, score, outcome of each post
    ```

    `model` is a Hub name, or the folder of a model or of an adapter, which is asked with the prompt
    that it was trained with. Labels are at `threshold`, else at the one that `hsd threshold` froze
    for this model (`threshold_from` names its evaluation), else at 0.5; `rule.said` says which.
    `overrides` change fields, such as "model.device=cpu" or "batch_size=32".

    `with` a detector, or its `close`, ends connections to a server, and vLLM.

    An empty post has no score and no label: both are None. Raises an HsdError for what
    `hsd predict` would refuse.
    """

    def __init__(
        self,
        model: str | Path,
        overrides: Sequence[str] = (),
        *,
        threshold: float | None = None,
        threshold_from: str | Path | None = None,
    ) -> None:
        config = load_eval_config(overrides, model={"name": str(model)}, data_file=PIPE)
        frozen_in = None if threshold_from is None else Path(threshold_from)
        job = PredictJob(
            config=config, output=PIPE, prefix="", threshold=threshold, threshold_from=frozen_in
        )
        plan, self._columns = plan_of_columns(job)
        self._asker = PostAsker(plan)
        finalize(self, self._asker.close)

    @property
    def rule(self) -> LabelRule:
        """How a score becomes a label."""
        return self._columns.rule

    def close(self) -> None:
        """Close what it keeps open: connections to a server, or vLLM. The next post opens it."""
        self._asker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Return P(hate) of each text, as the model gives it."""
        return [detected.score for detected in self.predict(texts)]

    def predict(self, texts: Sequence[str]) -> list[Detected]:
        """Return label, scores and outcome of each text."""
        if isinstance(texts, str):
            raise TypeError("texts: expected a list of texts, found one text; write [text].")
        rows = (Row({"text": text}, f"text:{at}") for at, text in enumerate(texts))
        found: list[Detected] = []
        for window in windows(input_posts(rows, "text"), LARGEST_WINDOW):
            cells = self._columns.cells(self._asker.answer(window))
            found.extend(Detected(**row) for row in cells)
        return found
