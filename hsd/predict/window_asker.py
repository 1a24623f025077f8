"""One process's windows, answered by one model that is loaded when the first of them needs it."""

import logging
from collections.abc import Sequence
from typing import Any

from hsd.evaluation.choose_engine import PrefixOnce
from hsd.evaluation.load_model import full_memory, load_for
from hsd.evaluation.ranks import Ranks
from hsd.io.manifest import update_manifest
from hsd.io.progress import Progress, Say
from hsd.model.memory import memory_error_as
from hsd.model.placement import launch
from hsd.predict.input_posts import InputPost
from hsd.predict.post_answers import PostAnswer, Watch, answer_window
from hsd.predict.predict_job import PredictPlan
from hsd.predict.window_files import AnswerWriter, known_answers, window_file

log = logging.getLogger(__name__)


class WindowAsker:
    """Answers windows, and says how many rows of its `total` are done.

    Rows of windows that were whole before count as done from the start; reading them again is no
    work whose pace tells of the rest.
    """

    def __init__(self, plan: PredictPlan, ranks: Ranks, progress: Progress, say: Say) -> None:
        self._plan, self._ranks, self._progress, self._say = plan, ranks, progress, say
        self._once = PrefixOnce()
        self._model: Any = None
        self._done, self._total = 0, 0
        self._told = -1

    def answer_all(self) -> None:
        """Answer this process's share of the windows; each `n`-th is one of `n` processes'."""
        here, shard = launch(), self._plan.job.shard
        of_all = shard.count * here.world_size
        mine = shard.index * here.world_size + here.rank
        size, rows = self._plan.window, self._plan.found.rows
        self._total = sum(min(size, rows - at) for at in range(mine * size, rows, of_all * size))
        for number, window in self._plan.windows():
            if number % of_all == mine:
                self._answer(number, window)

    def _answer(self, number: int, window: Sequence[InputPost]) -> None:
        folder, shard = self._plan.folder, self._plan.job.shard
        known = known_answers(folder, number)
        before = self._done
        if any(post.number not in known for post in window if post.text is not None):
            file = window_file(folder, number, shard)
            writer = AnswerWriter(file, lambda: self._ranks.lost)
            try:
                self._ask(window, writer, known_answers(folder, number, shard))
            finally:
                writer.close()
        self._done = before + len(window)
        self._tell()

    def _ask(
        self, window: Sequence[InputPost], writer: AnswerWriter, known: dict[int, PostAnswer]
    ) -> None:
        self._done += len(known)
        model = self._loaded()

        def keep(answers: Sequence[PostAnswer]) -> None:
            writer.add(answers)
            self._done += len(answers)
            self._tell()

        watch = Watch(keep, self._ranks.check_stop, self._say_once)
        with memory_error_as(full_memory(model.device.type)):
            answer_window(self._plan.model, model, self._once, window, watch, known)

    def _loaded(self) -> Any:
        if self._model is None:
            subject, is_first = self._plan.model.subject, launch().is_main
            self._model, facts = load_for(self._plan.model, subject.load, self._ranks)
            if is_first and not self._plan.job.shard.index:
                update_manifest(self._plan.folder, model=facts)
            self._tell()
        return self._model

    def _tell(self) -> None:
        if self._model is not None and self._done != self._told:
            self._told = self._done
            self._progress(self._done, self._total, f"{self._plan.job.config.data_file} rows")

    def _say_once(self, sentence: str) -> None:
        """Say why prompts are not shared: in the first window, and not in each."""
        self._say(sentence)
        self._say = log.info
