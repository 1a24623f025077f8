"""The commands that are killed, with small inputs that they need seconds for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import small_runs
import tiny
from ranks import hsd_command


@dataclass(frozen=True)
class Case:
    """One command; all that it writes lies in `place`, which is the same in every trial."""

    name: str
    command: str
    arguments: Sequence[str]
    place: Path
    kills: int
    ranks: int = 1


def cases(work: Path) -> list[Case]:
    """Return all cases, with the inputs that they need made below `work`."""
    base = tiny.llama(work / "base")
    adapter = _adapter(base, work / "adapter")
    unified = work / "unified"
    for name, first, count in (("train", 0, 600), ("val", 1000, 60), ("test", 2000, 60)):
        small_runs.jsonl(unified / f"{name}.jsonl", small_runs.posts(count, first))
    return [
        _train(base, work / "train", ranks=1, kills=50),
        _train(base, work / "train_2_ranks", ranks=2, kills=50),
        _evaluate(adapter, work / "evaluate", kills=30),
        Case(
            "merge",
            "merge",
            [f"--adapter_path={adapter}", f"--output_dir={work}/merge/place/merged",
             "--device_map=cpu"],
            work / "merge/place",
            kills=20,
        ),
        Case(
            "prepare",
            "prepare",
            [f"--unified_dir={unified}", f"--output_dir={work}/prepare/place/prepared"],
            work / "prepare/place",
            kills=20,
        ),
    ]  # fmt: skip


def _train(base: Path, folder: Path, ranks: int, kills: int) -> Case:
    steps = {"epochs": 2, "batch_size": 2 // ranks, "save_every_steps": 3}
    return Case(
        f"train, {ranks} rank{'s' if ranks > 1 else ''}",
        "train",
        [f"--config_file={_config(base, folder, 44, **steps)}"],
        folder / "run",
        kills,
        ranks,
    )


def _evaluate(adapter: Path, folder: Path, kills: int) -> Case:
    rows = small_runs.jsonl(folder / "rows.jsonl", small_runs.posts(200, first=3000))
    given = {
        "model_name": adapter,
        "data_file": rows,
        "output_dir": folder / "place",
        "batch_size": 2,
    }
    flags = [f"--{name}={value}" for name, value in given.items()]
    return Case("evaluate", "evaluate", [*flags, "--set=model.device=cpu"], folder / "place", kills)


def _adapter(base: Path, folder: Path) -> Path:
    """Return a trained adapter, for the commands that need one."""
    arguments = [f"--config_file={_config(base, folder, 11, epochs=1)}"]
    (ended,) = hsd_command("train", folder, arguments)
    assert ended.code == 0, ended.said
    return folder / "run"


def _config(base: Path, folder: Path, rows: int, **training: int) -> Path:
    config = small_runs.config(base, folder, rows=rows, training=training)
    file = folder / "config.json"
    file.write_text(config.model_dump_json(), encoding="utf-8")
    return file
