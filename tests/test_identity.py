"""What makes a cell the same cell: and what a refusal says has changed."""

from pathlib import Path
from typing import Any

import pytest
import sweeps

from hsd.errors import PreflightError
from hsd.io.files import write_json
from slurm.cluster.profile import Profile
from slurm.run import submissions
from slurm.run.run_folder import RunFolder
from slurm.run.submissions import Submitted
from slurm.sweep.content_hash import (
    base_identity,
    content_identity,
    hash_of,
    refuse_changes,
    row_files,
)
from slurm.sweep.sweep import Sweep, cells


def parts(of: Sweep | None = None, profile: Profile | None = None, **changes: str) -> Any:
    """Return the identity of the first cell of a sweep."""
    of = of or sweeps.sweep()
    texts = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return content_identity(cells(of, texts)[0], of, profile or sweeps.cluster(), "t" * 64)


def rows(folder: Path, text: str = '{"id": "1", "text": "a", "label": "normal"}\n') -> Sweep:
    file = folder / "rows.jsonl"
    file.write_text(text)
    data = {"train_file": str(file), "validation_file": "embedded"}
    return sweeps.sweep(data=data, evaluate={"sets": (str(file),)})


def test_the_same_content_is_the_same_cell(tmp_path: Path) -> None:
    assert hash_of(parts()) == hash_of(parts())
    elsewhere = sweeps.cluster(tmp_path, stages={"train": {"time_min": 5}})
    assert hash_of(parts(profile=elsewhere)) == hash_of(parts())  # where it runs does not matter
    described = parts(sweeps.sweep(description="other words"))
    assert hash_of(described) == hash_of(parts())


@pytest.mark.parametrize(
    "other",
    [
        {"seed": "7"},
        {"lora__rank": "8"},
        {"model__revision": "abc"},
        {"of": sweeps.sweep(merge=True)},
        {"of": sweeps.sweep(evaluate={"sets": ("embedded",), "set": {"batch_size": 3}})},
        {"profile": sweeps.cluster(container={"runtime": "docker", "image": "hsd:2"})},
    ],
)
def test_other_content_is_another_cell(other: dict[str, Any]) -> None:
    assert hash_of(parts(**other)) != hash_of(parts())


def test_rows_that_change_make_another_cell(tmp_path: Path) -> None:
    before = parts(rows(tmp_path))
    assert hash_of(parts(rows(tmp_path))) == hash_of(before)
    assert hash_of(parts(rows(tmp_path, "{}\n"))) != hash_of(before)


def test_the_digest_of_an_image_counts_before_its_name() -> None:
    digest = f"sha256:{'0' * 64}"
    images = [
        parts(profile=sweeps.cluster(container={"runtime": "docker", "image": i, "digest": digest}))
        for i in ("hsd:1", "hsd:2")
    ]
    assert images[0] == images[1]


def test_an_untouched_base_depends_on_nothing_that_is_learned() -> None:
    learned = parts(lora__rank="8", training__epochs="7", seed="9")
    assert base_identity(learned) == base_identity(parts())
    assert base_identity(parts(model__revision="abc")) != base_identity(parts())


def test_rows_that_do_not_exist_are_named(tmp_path: Path) -> None:
    of = rows(tmp_path)
    (cell, *_) = cells(of)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(PreflightError, match="rows.jsonl"):
        row_files(cell.config, of)


def submitted(folder: RunFolder, *names: str) -> None:
    submissions.append_submission(
        folder.path, Submitted(1, "train", "train", "7", names, "now", 0, 60)
    )


def test_a_refusal_says_what_changed_and_what_would_work(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "pair")
    write_json(folder.identity("a"), parts())
    submitted(folder, "a")
    refuse_changes(folder, {"a": parts()})
    with pytest.raises(PreflightError) as caught:
        refuse_changes(folder, {"a": parts(lora__rank="8"), "b": parts(seed="7")})
    said = str(caught.value)
    assert "cell 'a' was submitted with other content: config.lora.rank: 32 -> 8." in said
    assert said.endswith(
        "Choose another name for the sweep, or `hsd resubmit pair --failed`, which goes on with "
        "the code and the configs that were queued."
    )


def test_many_changes_are_shown_in_part_and_digests_short(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "pair")
    for name in ("a", "b", "c"):
        write_json(folder.identity(name), parts())
    submitted(folder, "a", "b", "c")
    changes: dict[str, Any] = {
        f"training__{key}": "9" for key in ("epochs", "batch_size", "accumulation")
    }
    new = parts(seed="1", lora__rank="8", lora__alpha="8", lora__dropout="0.5", **changes)
    new |= {"code": "u" * 64}
    with pytest.raises(PreflightError) as caught:
        refuse_changes(folder, dict.fromkeys(("a", "b", "c"), new))
    said = str(caught.value)
    assert 'code: "tttttttttttt…" -> "uuuuuuuuuuuu…"' in said
    assert " and 2 more (2 more cells changed too). Choose" in said


def test_a_cell_whose_submission_was_taken_back_may_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "pair")
    write_json(folder.identity("a"), parts())
    submitted(folder, "a")
    submissions.append_submission(folder.path, {"cancelled": "7", "at": "now"})
    refuse_changes(folder, {"a": parts(seed="7")})
