"""One process's windows, answered by one model that is loaded when the first of them needs it."""

import logging
from collections.abc import Collection, Sequence

from hsd.evaluation.ranks import Ranks
from hsd.io.manifest import update_manifest
from hsd.io.progress import Progress, Say
from hsd.model.placement import launch
from hsd.predict.input_posts import InputPost, rows_of_process
from hsd.predict.post_answers import PostAnswer
from hsd.predict.post_model import AnswerWindow, Watch
from hsd.predict.predict_job import PredictPlan
from hsd.predict.window_files import AnswerWriter, all_answers, known_answers, window_file

log = logging.getLogger(__name__)


class WindowAsker:
    """Answers windows, and says how many rows of its `total` are done.

    Rows of windows that were whole before count as done from the start; reading them again is no
    work whose pace tells of the rest.
    """

    def __init__(self, plan: PredictPlan, ranks: Ranks, progress: Progress, say: Say) -> None:
        self._plan, self._ranks, self._progress, self._say = plan, ranks, progress, say
        self._answer_window: AnswerWindow | None = None
        self._done, self._total = 0, 0
        self._told = -1

    def answer_all(self) -> None:
        """Answer this process's share of the windows; each `n`-th is one of `n` processes'."""
        here, shard = launch(), self._plan.job.shard
        of_all = shard.count * here.world_size
        mine = shard.index * here.world_size + here.rank
        self._total = rows_of_process(self._plan.found.rows, self._plan.window, mine, of_all)
        for number, window in self._plan.windows():
            if number % of_all == mine:
                self._answer(number, window)

    def _answer(self, number: int, window: Sequence[InputPost]) -> None:
        folder, shard = self._plan.folder, self._plan.job.shard
        known = known_answers(folder, number)
        before = self._done
        if any(post.number not in known for post in window if post.text is not None):
            file = window_file(folder, number, shard)
            every_s = self._plan.model.write_every_s
            writer = AnswerWriter(file, lambda: self._ranks.lost, every_s=every_s)
            own = known_answers(folder, number, shard)
            try:
                self._ask(window, writer, own | self._of_others(number, own, writer))
            finally:
                writer.close()
        self._done = before + len(window)
        self._tell()

    def _of_others(
        self, number: int, own: Collection[int], writer: AnswerWriter
    ) -> dict[int, PostAnswer]:
        """Take over what other shards were told of a window, if each post is asked about alone."""
        if not self._plan.model.answers_alone:
            return {}
        found = {answer.row: answer for answer in all_answers(self._plan.folder, number)}
        others = {row: answer for row, answer in found.items() if row not in own}
        writer.add(list(others.values()))
        return others

    def _ask(
        self, window: Sequence[InputPost], writer: AnswerWriter, known: dict[int, PostAnswer]
    ) -> None:
        self._done += len(known)
        answer_window = self._loaded()

        def keep(answers: Sequence[PostAnswer]) -> None:
            writer.add(answers)
            self._done += len(answers)
            self._tell()

        shard, any_kept = self._plan.job.shard, lambda: self._done > 0
        watch = Watch(keep, self._ranks.check_stop, self._say_once, any_kept, shard)
        answer_window(window, watch, known)

    def _loaded(self) -> AnswerWindow:
        if self._answer_window is None:
            plan, here = self._plan, launch()
            counts = plan.folder / f"answering-{plan.job.shard.name}.{here.rank}.json"
            self._answer_window, facts = plan.model.load(counts, self._ranks.check_stop)
            if here.is_main and not plan.job.shard.index:
                update_manifest(plan.folder, **facts)
            self._tell()
        return self._answer_window

    def _tell(self) -> None:
        if self._answer_window is not None and self._done != self._told:
            self._told = self._done
            self._progress(self._done, self._total, f"{self._plan.job.config.data_file} rows")

    def _say_once(self, sentence: str) -> None:
        """Say why prompts are not shared: in the first window, and not in each."""
        self._say(sentence)
        self._say = log.info
