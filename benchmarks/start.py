"""What stands before the first step: rows read, tokenised and planned; and a command's start."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bases import SHIPPED
from benchmarks.measure import Meter
from benchmarks.posts import synthetic
from hsd.config.model_config import ModelConfig
from hsd.config.train_config import DataConfig, TrainConfig
from hsd.model.base import find_base
from hsd.training.batches import epoch_order
from hsd.training.dataset import load_training_rows
from hsd.training.microbatches import Limits, find_sharing, length
from hsd.training.schedule import plan_schedule

ROWS = 10_453
"""As many as the training rows that hsd was written for."""


def written(work: Path) -> Path:
    """Return a file of invented posts, all different."""
    file = work / "planned.jsonl"
    posts = synthetic(ROWS)
    work.mkdir(parents=True, exist_ok=True)
    lines = ({"id": p.id, "text": f"{p.text} ({p.id})", "label": p.label} for p in posts)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def planning(model: str, posts: Path) -> dict[str, Any]:
    """Return the cost of reading, tokenising and planning all rows for one epoch."""
    data = DataConfig(train_file=str(posts))
    config = TrainConfig(model=ModelConfig(name=model), data=data, prompt=SHIPPED)
    tokenizer, meter = find_base(config.model).tokenizer, Meter()
    meter.start()
    rows = load_training_rows(config, tokenizer)
    schedule = plan_schedule(config, len(rows.train), 0, processes=1)
    rows.facts()
    lengths = [length(row) for row in rows.train]
    answer = max(len(row.answer) for row in rows.train)
    limits = Limits(config.training.batch_size, max(lengths), answer, pair_tokens=1e-3)
    sharing = find_sharing(rows.train, limits)
    order = epoch_order(lengths, schedule.rows_per_step, 1, config.seed, epoch=0)
    for at in range(0, len(order), schedule.rows_per_step):
        sharing.work([rows.train[row] for row in order[at : at + schedule.rows_per_step]])
    meter.stop()
    assert meter.cost is not None
    return asdict(meter.cost) | {"rows": len(rows.train), "tokens": sum(lengths)}
