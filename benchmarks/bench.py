"""The run itself: loads what a kind of measurement needs, and measures what is not there yet."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks import bases, cases, process, start, training
from benchmarks.environment import wanted
from benchmarks.evaluation import answer
from benchmarks.ledger import Ledger
from benchmarks.measure import WorkError, forked, launched
from benchmarks.posts import real, synthetic
from benchmarks.rows import Rows, make_rows
from benchmarks.table import render
from hsd.errors import DataError
from hsd.example import Example
from hsd.model.base import Base, find_base


class Bench:
    """Everything of one run; a model is held only while its measurements are made."""

    def __init__(self, asked: Namespace, sizes: cases.Sizes, ledger: Ledger) -> None:
        torch.set_num_threads(asked.threads)
        self.asked, self.sizes, self.ledger = asked, sizes, ledger
        self.work: Path = asked.work.absolute()
        self.most_rows = 2 * max(sizes.rows, sizes.step_rows)
        self.real_posts: list[Example] | None = None
        self._rows = lru_cache(None)(self._make_rows)
        self._base: Base | None = None
        self._loaded = ""

    def measure(self, parts: Sequence[str]) -> None:
        """Measure all cases of these parts, and print each as it is done."""
        try:
            self.real_posts = real(self.most_rows, self.asked.data)
        except DataError as error:
            _say(f"only invented posts are measured: {error}")
        found = cases.cases(parts, self.sizes, real=self.real_posts is not None)
        for task in cases.tasks(found):
            if self._missing(task.key, cases.NEEDS.get(task.contender)):
                self._take(task.key, partial(self._measured, task))
        if "start" in parts:
            self._measure_start()
        if "process" in parts:
            self._measure_processes()

    def write_table(self, about: Mapping[str, Any]) -> None:
        """Write and print the table of all measurements there are."""
        text = render(list(self.ledger.records.values()), about)
        self.asked.table.parent.mkdir(parents=True, exist_ok=True)
        self.asked.table.write_text(text, encoding="utf-8")
        print(text)

    def _missing(self, key: str, package: str | None) -> bool:
        if key in self.ledger:
            return False
        if package and find_spec(package) is None:
            _say(f"{key}: left out, {package} is not installed")
            return False
        return True

    def _take(self, key: str, measured: Callable[[], dict[str, Any]]) -> None:
        try:
            began = time.monotonic()
            record = {"key": key, **measured()}
        except WorkError as error:
            _say(f"{key}: {error}")
            return
        self.ledger.add(record)
        _say(
            f"{key}: {record['cpu_s']:.1f} CPU s, {record['extra_mib']:.0f} MiB extra "
            f"({time.monotonic() - began:.0f} s in all)"
        )

    def _measured(self, task: cases.Task) -> dict[str, Any]:
        base, case = self._base_for(task.case.kind), task.case
        rows = training.take(self._rows(case.prefix, case.posts), case.rows)
        taken = task.rows(len(rows.encoded))
        count = len(rows.encoded[taken])
        log = self.work / "logs" / f"{task.key.replace('/', '_')}.log"
        if case.kind == "train":
            reference = self.work / f"{case.name.replace('/', '_')}.gradient.pt"
            cost = forked(
                lambda: training.step(task.contender, base, rows, reference, self.work), log
            )
        else:
            cost = forked(lambda: answer(task.contender, base, rows, taken), log)
        own = [len(row.prompt) - rows.prefix for row in rows.encoded]
        return {
            "case": case.name, "contender": task.contender, "round": task.round, "rows": count,
            "prefix": rows.prefix, "shortest": min(own), "longest": max(own), **cost,
        }  # fmt: skip

    def _make_rows(self, prefix: int, posts: str) -> Rows:
        examples = synthetic(self.most_rows) if posts == "synthetic" else self.real_posts
        assert self._base is not None, "rows are made for a base"
        return make_rows(self._base.tokenizer, prefix, examples or [])

    def _base_for(self, kind: str) -> Base:
        """Return the model of a kind of measurement; the peers come in before any fork."""
        if self._base is None or self._loaded != kind:
            self._base = None
            name = self.asked.model if kind == "train" else str(self._learned())
            self._base, self._loaded = bases.plain(name), kind
            for package in {"train": ("trl", "datasets"), "evaluate": ("lm_eval",)}[kind]:
                if find_spec(package) is not None:
                    _import(package)
        return self._base

    def _learned(self) -> Path:
        """Return the folder of the model that answers in JSON, made in a process of its own."""
        folder = bases.learned_folder(self.work, self.asked.learn_steps)
        if not folder.exists():
            _say(f"{self.asked.learn_steps} steps, so that a model answers in JSON")
            arguments = (self.asked.model, self.work, self.asked.learn_steps)
            forked(lambda: {"folder": str(bases.learned(*arguments))}, self.work / "logs/learn.log")
        return folder

    def _measure_start(self) -> None:
        posts = start.written(self.work)
        place = {"case": "start", "round": 0}
        log = self.work / "logs" / "planning.log"
        if self._missing("start/planning", None):
            plan = partial(start.planning, self.asked.model, posts)
            self._take(
                "start/planning", lambda: place | {"contender": "planning"} | forked(plan, log)
            )
        if self._missing("start/help", None):
            command = [sys.executable, "-m", "jobs.cli", "--help"]
            cost = partial(launched, command, self.work / "logs" / "help.log", dict(os.environ))
            self._take("start/help", lambda: place | {"contender": "help"} | cost(Path.cwd()))

    def _measure_processes(self) -> None:
        rounds = 1 if self.asked.quick else max(1, self.asked.rounds - 1)
        rows = 16 if self.asked.quick else self.asked.process_rows
        location = find_base(bases.model_config(self.asked.model)).location
        job = process.Job(self.asked.model, location, self._learned(), self.work / "process", rows)
        process.write(job)
        for round in range(rounds):
            for name in cases.COMMANDS:
                key = f"process/{rows}/{name}/{round}"
                if self._missing(key, cases.NEEDS.get(name)):
                    self._take(key, partial(self._launched, job, name, round))

    def _launched(self, job: process.Job, name: str, round: int) -> dict[str, Any]:
        place = {"case": "process", "contender": name, "round": round, "rows": job.rows}
        return place | process.run(job, name, wanted(self.asked.threads))


def _import(package: str) -> None:
    """Import what its contenders use: in every fork it would count as their time and memory."""
    if package == "trl":
        from trl import SFTConfig, SFTTrainer  # noqa: F401
    elif package == "lm_eval":
        from lm_eval.models.huggingface import HFLM  # noqa: F401
        from transformers import pipeline  # noqa: F401
    else:
        import datasets  # noqa: F401


def _say(line: str) -> None:
    print(line, flush=True)
