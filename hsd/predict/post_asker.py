"""A model that is asked about posts at once, without a file: for pipes and notebooks."""

import logging
from collections.abc import Sequence

from hsd.errors import Stopped
from hsd.evaluation.ranks import StopRequested
from hsd.io.progress import Say
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer
from hsd.predict.post_model import AnswerWindow, PostModel, Watch

log = logging.getLogger(__name__)


class PostAsker:
    """Answers windows of posts with one model, which is loaded for the first of them."""

    def __init__(self, model: PostModel, say: Say = log.info) -> None:
        self._model, self._say = model, say
        self._answer_window: AnswerWindow | None = None

    def answer(self, window: Sequence[InputPost]) -> list[PostAnswer]:
        """Return what the model says of each row, in their order."""
        answers = {post.number: PostAnswer(row=post.number, reason=post.reason) for post in window}

        def keep(found: Sequence[PostAnswer]) -> None:
            answers.update({answer.row: answer for answer in found})

        if self._answer_window is None:
            self._model.check(self._say)
            self._answer_window, _ = self._model.load(None, lambda: None)
        try:
            self._answer_window(window, Watch(keep, say=self._say_once), ())
        except StopRequested as stop:  # the money is spent
            raise Stopped(f"{stop}; nothing is kept of a pipe's last rows.") from None
        return list(answers.values())

    def close(self) -> None:
        """End what the model keeps open; the next answer begins anew."""
        self._model.close()
        self._answer_window = None

    def _say_once(self, sentence: str) -> None:
        self._say(sentence)
        self._say = log.info
