"""`hsd prepare`: sources become splits without leakage, chats, canned samples and reports."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from hsd.data.chat_rows import stream_chats
from hsd.data.data_sets import resolve
from hsd.data.prepare import STEPS, prepare
from hsd.data.prepared_data import Preparation, PreparedData, preparation
from hsd.errors import ConfigError, DataError, InUseError, PreflightError
from hsd.io.hashes import sha256_file
from hsd.io.lease import hold_lease
from hsd.prompts.contract import load_contract
from jobs.terminal.data_tables import prepared_table

TEMPLATE = {
    "strategies": {
        "first": {
            "name": "First",
            "system_prompt": "Sort.",
            "user_template": "Post: {text}",
            "parameters": {"rationale": True},
        },
        "second": {"name": "Second", "user_template": "Judge this. {text}"},
    }
}
_WORDS = """
    apples baskets candles dolphins elephants fiddles gardens hammers islands jackets kettles
    lanterns mirrors needles oranges pillows quilts ribbons saddles teapots umbrellas violins
"""
TOPICS = _WORDS.split()


def posts(count: int, split: str = "", seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Return rows whose texts share no long run of characters."""
    return [
        {
            "id": f"{split or 'row'}-{seed}-{n}",
            "text": " ".join(TOPICS[(seed + n * step) % 22] for step in (1, 3, 5, 7, n + 2)),
            "label": "hate" if n % 2 else "normal",
            "target_group": ("lgbtq", "mexican", "none")[n % 3],
            "source_dataset": "made",
            **({"split": split} if split else {}),
        }
        | more
        for n in range(count)
    ]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a template and unified data of 12, 6 and 4 rows that share no post."""
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE))
    rows = posts(22)
    for name, part in (("train", rows[:12]), ("val", rows[12:18]), ("test", rows[18:])):
        jsonl(tmp_path / "unified" / f"{name}.jsonl", part)
    return tmp_path


def made(folder: Path, *sources: str, output: str = "out", **settings: Any) -> PreparedData:
    job = preparation(
        folder / "unified",
        sources,
        folder / output,
        template=str(folder / "template.json"),
        **settings,
    )
    return prepare(job)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path: Path, row: dict[str, Any]) -> None:
    path.write_text(path.read_text() + json.dumps(row) + "\n")


def test_given_splits_come_out_untouched(folder: Path) -> None:
    made(folder)
    for name in ("train", "val", "test"):
        before = lines(folder / "unified" / f"{name}.jsonl")
        after = lines(folder / "out/unified" / f"{name}.jsonl")
        keys = ("id", "text", "label", "target_group")
        assert [[row[k] for k in keys] for row in after] == [
            [row[k] for k in keys] for row in before
        ]


def test_chats_are_rendered_from_the_strategy_and_can_be_learned(folder: Path) -> None:
    first = folder / "unified/train.jsonl"
    append(first, {"id": "r", "text": "soup", "label": "hate", "rationale_text": "too hot"})
    made(folder)
    chat = list(stream_chats(folder / "out/train.jsonl"))[-1]
    assert [turn["content"] for turn in chat.messages] == [
        "Sort.",
        "Post: soup",
        '{"classification": "hate", "rationale": "too hot"}',
    ]
    assert len(list(stream_chats(folder / "out/validation.jsonl"))) == 6
    made(folder, strategies=("second",), output="second")
    assert (
        next(stream_chats(folder / "second/train.jsonl")).messages[0]["content"].startswith("Judge")
    )


def test_two_preparations_of_one_folder_do_not_run_at_once(folder: Path) -> None:
    with hold_lease(folder / "out", "hsd prepare"), pytest.raises(InUseError, match="hsd prepare "):
        made(folder)
    made(folder)
    assert not list(folder.rglob(".lease*"))
    (folder / "unified/test.jsonl").write_text("{")
    with pytest.raises(DataError):
        made(folder, output="second")
    assert not (folder / "second").exists()


def test_the_prompt_is_saved_as_a_contract(folder: Path) -> None:
    made(folder, strategies=("second",))
    contract = load_contract(folder / "out")
    assert contract is not None
    assert contract.strategy_name == "second"


def test_each_post_is_written_once_under_each_strategy(folder: Path) -> None:
    one = made(folder, strategies=("second",))
    both = made(folder, strategies=("second", "first"), output="both")
    for split in ("train", "validation"):
        rows = lines(folder / f"both/{split}.jsonl")
        posts = [row["id"] for row in lines(folder / f"out/{split}.jsonl")]
        assert [row["id"] for row in rows] == [
            f"{post}:{name}" for post in posts for name in ("second", "first")
        ]
        starts = [row["messages"][0]["content"].split()[0] for row in rows]
        assert starts == ["Judge", "Sort."] * len(posts)
        assert [row["label"] for row in rows[::2]] == [row["label"] for row in rows[1::2]]
    contract = load_contract(folder / "both")
    assert contract is not None
    assert list(contract.strategies) == ["second", "first"]
    assert both.stats["prompt"]["others"] == ["first"]
    chats = {"train.jsonl", "validation.jsonl"}
    assert {k: v for k, v in both.stats["files"].items() if k not in chats} == {
        k: v for k, v in one.stats["files"].items() if k not in chats
    }
    with pytest.raises(PreflightError, match="differs in prompt"):
        made(folder, strategies=("second", "first"))


def test_canned_rows_stand_in_no_training_file(folder: Path) -> None:
    jsonl(folder / "unified/val.jsonl", posts(22, seed=30)[:20] + posts(22, "val", seed=7)[:1])
    double = lines(folder / "unified/train.jsonl")[0] | {"id": "double"}
    append(folder / "unified/val.jsonl", double)
    append(folder / "unified/val.jsonl", double | {"id": "another"})
    made(folder)
    canned = {row["text"] for row in lines(folder / "out/canned_50_quick.jsonl")}
    learned = {row["text"] for row in lines(folder / "out/unified/train.jsonl")}
    assert canned
    assert not canned & learned
    assert [e.id for e in resolve("canned_50_quick", folder / "out")] != []


def test_rows_without_a_split_are_split_without_leaks(folder: Path) -> None:
    rows = posts(20, seed=3)
    twins = [row | {"id": f"twin-{row['id']}", "text": f"{row['text']}!"} for row in rows]
    jsonl(folder / "unified/train.jsonl", rows + twins)
    prepared = made(folder, splits="new")
    assert prepared.leaks == []
    split_of = {e.id: e.split for e in prepared.examples}
    assert all(split_of[row["id"]] == split_of[f"twin-{row['id']}"] for row in rows)
    assert set(split_of.values()) == {"train", "validation", "test"}


def leaky(folder: Path) -> Path:
    double = lines(folder / "unified/test.jsonl")[0] | {"id": "leak"}
    append(folder / "unified/train.jsonl", double)
    return folder


def test_a_leak_in_given_splits_is_reported(folder: Path) -> None:
    prepared = made(leaky(folder))
    (pair,) = prepared.stats["leaks"]["pairs"]
    assert pair["ids"] == ["leak", "row-0-18"]
    assert pair["places"][0].endswith("train.jsonl:13")
    assert "leak" in {row["id"] for row in lines(folder / "out/train.jsonl")}


def test_a_leak_can_be_dropped_from_what_is_learned(folder: Path) -> None:
    prepared = made(leaky(folder), leaks="drop")
    assert "leak" not in {row["id"] for row in lines(folder / "out/train.jsonl")}
    assert prepared.stats["left_out"] == {"nearly the same as a row of test": 1}
    (left_out,) = lines(folder / "out/left_out.jsonl")
    assert left_out["place"].endswith("train.jsonl:13")


def test_a_leak_can_end_the_preparation(folder: Path) -> None:
    with pytest.raises(DataError, match=r"1 row has a duplicate .* leak .*row-0-18"):
        made(leaky(folder), leaks="fail")
    assert not (folder / "out").exists()


def test_a_post_of_a_second_source_is_taken_once_and_a_contradiction_is_named(
    folder: Path,
) -> None:
    rows = lines(folder / "unified/train.jsonl")[:2]
    turned = {"normal": "hate", "hate": "normal"}
    again = [rows[0] | {"id": "same"}, rows[1] | {"id": "other", "label": turned[rows[1]["label"]]}]
    prepared = made(folder, f"unified:{jsonl(folder / 'more.jsonl', again)}")
    assert prepared.stats["left_out"] == {
        "same text as a row of an earlier source": 1,
        "same text as a row of an earlier source, which has another label": 1,
    }
    assert prepared.stats["splits"]["train"]["rows"] == 12


def test_embedded_rows_are_a_source_and_keep_their_split(folder: Path) -> None:
    prepared = made(folder, "embedded:train")
    embedded = [e for e in prepared.examples if e.source_dataset == "embedded"]
    assert {e.split for e in embedded} == {"train"}
    assert [e.id for e in embedded] == [e.id for e in resolve("embedded:train")]
    assert prepared.stats["splits"]["train"]["rows"] == 12 + len(embedded)
    assert prepared.stats["splits"]["test"]["rows"] == 4


def test_a_split_that_the_embedded_rows_lack_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="expected embedded:train, embedded:validation"):
        preparation(folder, ["embedded:all"], folder.parent / "out")


def test_conflicting_labels_within_a_source_are_counted_and_kept(folder: Path) -> None:
    row = lines(folder / "unified/train.jsonl")[0]
    append(folder / "unified/train.jsonl", row | {"id": "turned", "label": "hate"})
    prepared = made(folder)
    assert prepared.stats["duplicates"]["pairs_with_conflicting_labels"] == 1
    assert lines(folder / "out/duplicates.jsonl")[0]["labels"] == ["normal", "hate"]
    assert prepared.stats["splits"]["train"]["rows"] == 13


def test_every_row_is_accounted_for(folder: Path) -> None:
    append(folder / "unified/train.jsonl", {"id": "b", "text": "", "label": "hate"})
    extra = posts(9, "train", seed=11)
    prepared = made(
        folder,
        f"unified:{jsonl(folder / 'more.jsonl', extra)}",
        tolerate=1,
        balance="group",
        max_train_rows=6,
    )
    read = sum(source["rows"] for source in prepared.stats["sources"])
    ended = len(prepared.examples) + len(prepared.bad) + len(prepared.left_out)
    assert read == ended == 32
    assert prepared.stats["splits"]["train"]["rows"] == 6
    assert prepared.stats["splits"]["test"]["rows"] == 4


def test_too_many_bad_rows_end_it_with_a_list_beside_the_folder(folder: Path) -> None:
    append(folder / "unified/train.jsonl", {"id": "b", "text": "a", "label": "mean"})
    with pytest.raises(DataError, match=r"1 of 23 rows cannot be used: .*train.jsonl:13: unknown"):
        made(folder)
    (bad,) = lines(folder / "out.bad_rows.jsonl")
    assert bad["place"].endswith("train.jsonl:13")
    assert not (folder / "out").exists()


def test_the_same_settings_write_the_same_bytes(folder: Path) -> None:
    one, two = made(folder, splits="new"), made(folder, splits="new", output="again")
    assert one.stats["files"] == two.stats["files"]
    assert made(folder, splits="new").stats == one.stats
    other = made(folder, splits="new", output="other", seed=7)
    assert other.stats["files"] != one.stats["files"]


def test_stats_hold_the_hash_of_each_file(folder: Path) -> None:
    stats = made(folder).stats
    assert stats["files"]["unified/train.jsonl"] == {
        "rows": 12,
        "sha256": sha256_file(folder / "out/unified/train.jsonl"),
    }
    assert json.loads((folder / "out/stats.json").read_text()) == stats


def test_counts_add_up_by_label_group_and_source(folder: Path) -> None:
    train = made(folder).stats["splits"]["train"]
    parts = ("by_label", "by_group_label", "by_source_label", "by_group_label_source")
    assert [sum(train[part].values()) for part in parts] == [12] * 4
    assert train["by_group_label_source"]["none/hate/made"] == 2


def test_a_folder_made_with_other_settings_is_refused(folder: Path) -> None:
    made(folder)
    with pytest.raises(PreflightError, match="differs in balance"):
        made(folder, balance="label")


def test_a_source_that_changed_is_another_preparation(folder: Path) -> None:
    made(folder)
    append(folder / "unified/train.jsonl", posts(1, "train", seed=15)[0])
    with pytest.raises(PreflightError, match="differs in sources"):
        made(folder)


def test_rows_that_are_all_held_out_train_nothing(folder: Path) -> None:
    (folder / "unified/train.jsonl").unlink()
    (folder / "unified/val.jsonl").unlink()
    with pytest.raises(DataError, match=r"none is for training \(only test\)"):
        made(folder)
    assert made(folder, splits="new").stats["splits"]["train"]["rows"] > 0


def test_a_split_without_rows_has_no_file(folder: Path) -> None:
    (folder / "unified/test.jsonl").unlink()
    made(folder)
    assert not (folder / "out/unified/test.jsonl").exists()


def test_a_split_without_rows_is_warned_of(folder: Path) -> None:
    from jobs.prepare import prepare as command

    (folder / "own.csv").write_text("text,label\nkettles and needles,hate\n")
    out, template = str(folder / "few"), str(folder / "template.json")
    arguments = ["--source", f"table:{folder}/own.csv", "--output-dir", out]
    options = ["--template", template, "--strategy", "first"]
    result = CliRunner().invoke(command, [*arguments, *options], catch_exceptions=False)
    assert "Warning: no row in validation, test; give more rows" in result.stdout


@pytest.mark.parametrize("setting", [{"balance": "lable"}, {"leaks": "droop"}, {"splits": "gven"}])
def test_an_unknown_word_is_answered_with_the_nearest(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"unknown value '.*'. Did you mean"):
        preparation(tmp_path, [], tmp_path / "out", **setting)


def test_nothing_to_prepare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to prepare"):
        Preparation(sources=(), output_dir=tmp_path)


def test_each_step_is_heard_once(folder: Path) -> None:
    heard: list[str] = []
    settings: dict[str, Any] = {"template": str(folder / "template.json")}
    prepare(preparation(folder / "unified", [], folder / "out", **settings), heard.append)
    assert tuple(heard) == STEPS


def test_the_command_takes_both_spellings_and_says_what_it_made(folder: Path) -> None:
    from jobs.prepare import prepare as command

    template = str(folder / "template.json")
    own = "body,verdict\nkettles and needles,mean\n"
    (folder / "own.csv").write_text(own)
    arguments = [
        *("--unified-dir", str(folder / "unified"), "--output_dir", str(folder / "out")),
        *("--template", template, "--source", f"table:{folder}/own.csv"),
        *("--strategy", "second", "--strategy", "first"),
        *("--text-column", "body", "--label_column", "verdict", "--label", "mean=hate"),
    ]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for said in ("lgbtq: hate + normal", "Bad rows: none.", "Leaks: no row has a duplicate"):
        assert said in result.stdout
    written = [path.read_text() for path in (folder / "out/unified").iterdir()]
    assert any("kettles and needles" in text for text in written)
    assert "needles" not in result.output
    learned = {row["id"].partition(":")[2] for row in lines(folder / "out/train.jsonl")}
    assert learned == {"first", "second"}


def test_a_saved_data_set_is_prepared_with_its_splits_and_the_names_of_its_classes(
    folder: Path,
) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict

    rows = [row | {"label": int(row["label"] == "normal")} for row in posts(22)]
    whole = Dataset.from_list(rows).cast_column("label", ClassLabel(names=["hate", "normal"]))
    parts = {"train": whole.select(range(18)), "test": whole.select(range(18, 22))}
    DatasetDict(parts).save_to_disk(folder / "saved")
    template = str(folder / "template.json")
    prepare(preparation(folder / "saved", [], folder / "out", template=template))
    written = [
        *lines(folder / "out/unified/train.jsonl"),
        *lines(folder / "out/unified/test.jsonl"),
    ]
    known = {row["id"]: row["label"] for row in posts(22)}
    assert {row["id"]: row["label"] for row in written} == known
    assert {row["split"] for row in written} == {"train", "test"}


def test_group_names_that_hsd_does_not_know_are_said_and_written(folder: Path) -> None:
    file = jsonl(folder / "more.jsonl", posts(3, seed=5, target_group="Sikh"))
    prepared = made(folder, f"unified:{file}")
    (note,) = prepared.stats["notes"]
    assert note == "3 posts name groups that hsd does not know and counts as other: 'Sikh' 3."
    assert made(folder, output="plain").stats["notes"] == []
    console = Console(record=True, width=200)
    console.print(prepared_table(folder / "out", prepared))
    assert f"Note: {note}" in console.export_text()
