"""A model that is asked about posts at once, without a file: for pipes and notebooks."""

import logging
from collections.abc import Sequence
from typing import Any

from hsd.evaluation.choose_engine import PrefixOnce
from hsd.evaluation.evaluation_plan import EvaluationPlan
from hsd.evaluation.load_model import full_memory
from hsd.io.progress import Say
from hsd.model.memory import memory_error_as
from hsd.model.placement import place
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer, Watch, answer_window

log = logging.getLogger(__name__)


class PostAsker:
    """Answers windows of posts with one model, which is loaded for the first of them."""

    def __init__(self, plan: EvaluationPlan, say: Say = log.info) -> None:
        self._plan, self._say = plan, say
        self._once = PrefixOnce()
        self._model: Any = None

    def answer(self, window: Sequence[InputPost]) -> list[PostAnswer]:
        """Return what the model says of each row, in their order."""
        answers = {post.number: PostAnswer(row=post.number, reason=post.reason) for post in window}

        def keep(found: Sequence[PostAnswer]) -> None:
            answers.update({answer.row: answer for answer in found})

        with memory_error_as(full_memory(place(self._plan.config.model).device)):
            if self._model is None:
                self._model, _ = self._plan.subject.load()
            watch = Watch(keep, say=self._say_once)
            answer_window(self._plan, self._model, self._once, window, watch)
        return list(answers.values())

    def _say_once(self, sentence: str) -> None:
        self._say(sentence)
        self._say = log.info
