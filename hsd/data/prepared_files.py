"""Writes what a preparation made: splits, chats, canned samples, reports."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hsd.data import unified
from hsd.data.duplicates import NEAR, conflicts, describe_duplicates, normalise
from hsd.data.loaded_file import write_bad_rows
from hsd.data.prepared_data import Preparation, PreparedData, SourceRead
from hsd.data.sampling import group_and_label, stratified
from hsd.data.vote_shares import shares_said
from hsd.example import SPLITS, Example
from hsd.groups.name_lists import joined, unknown_said
from hsd.io.files import write_json, write_jsonl
from hsd.io.hashes import sha256_file
from hsd.prompts.chat import chat_messages
from hsd.prompts.contract import Contract, save_contract

CANNED = {"canned_50_quick": 50, "canned_100_stratified": 100}
CHATS = ("train", "validation")
FILES = {"train": "train", "validation": "val", "test": "test"}


def write(job: Preparation, contract: Contract, prepared: PreparedData) -> dict[str, Any]:
    """Write every file of the output folder, stats.json last; return what is in that.

    A split without rows has no file: an empty one would be an error to whoever reads it.
    """
    by_split = {s: [e for e in prepared.examples if e.split == s] for s in SPLITS}
    files = _tables(prepared, by_split, contract, job.seed)
    written = {name: list(rows) for name, rows in files.items()}
    for name, rows in written.items():
        if rows:
            write_jsonl(job.output_dir / name, rows)
    save_contract(job.output_dir, contract)
    write_bad_rows(job.output_dir / "bad_rows.jsonl", prepared.bad)
    write_bad_rows(job.output_dir / "left_out.jsonl", prepared.left_out)
    described = (describe_duplicates(prepared.compared, pair) for pair in prepared.duplicates)
    write_jsonl(job.output_dir / "duplicates.jsonl", described)
    stats = _stats(job, contract, prepared, by_split)
    stats["files"] = {
        name: {"rows": len(rows), "sha256": sha256_file(job.output_dir / name)}
        for name, rows in written.items()
        if rows
    }
    write_json(job.output_dir / "stats.json", stats)
    return stats


def _tables(
    prepared: PreparedData, by_split: dict[str, list[Example]], contract: Contract, seed: int
) -> dict[str, Iterable[dict[str, Any]]]:
    """Return the rows of each data file by its name."""
    return {
        **{f"{s}.jsonl": chat_rows(contract, by_split[s]) for s in CHATS},
        **{f"unified/{FILES[s]}.jsonl": map(unified.to_row, by_split[s]) for s in SPLITS},
        **{
            f"{name}.jsonl": map(unified.to_row, examples)
            for name, examples in canned(prepared, by_split, seed).items()
        },
    }


def chat_rows(contract: Contract, examples: Iterable[Example]) -> Iterator[dict[str, Any]]:
    """Yield the training rows of posts, one for each strategy: the messages, and whose they are."""
    for example in examples:
        for id, strategy in contract.asks(example.id):
            yield {
                "id": id,
                "messages": chat_messages(strategy, example.text, example.label, example.rationale),
                "label": example.label,
                **({} if example.hate_share is None else {"hate_share": example.hate_share}),
                "target_group": joined(example.groups),
                **({unified.NAMED: named} if (named := unified.named_behind(example)) else {}),
                "source_dataset": example.source_dataset,
            }


def canned(
    prepared: PreparedData, by_split: dict[str, list[Example]], seed: int
) -> dict[str, list[Example]]:
    """Return small samples, stratified by group and label, of rows that were not learned from.

    They come from validation, or from test where validation is smaller than the sample. A row
    with a duplicate among the training rows is no candidate.
    """
    # By text: a leak names one duplicate per split, and there may be more copies of it.
    doubled = {normalise(prepared.compared[pair.second].text) for pair in prepared.leaks}
    pools = [
        [e for e in by_split[split] if normalise(e.text) not in doubled]
        for split in ("validation", "test")
    ]
    samples = {}
    for name, count in CANNED.items():
        pool = next((p for p in pools if len(p) >= count), max(pools, key=len))
        samples[name] = stratified(pool, count, seed)
    return samples


def counts(examples: Sequence[Example]) -> dict[str, Any]:
    """Return how many rows there are by label, group and label, and source and label."""
    by_source = Counter(f"{e.source_dataset or 'unnamed'}/{e.label}" for e in examples)
    return {
        "rows": len(examples),
        "by_label": _sorted(Counter(e.label for e in examples)),
        "by_group_label": _sorted(Counter(map(group_and_label, examples))),
        "by_source_label": _sorted(by_source),
        "by_group_label_source": _sorted(
            Counter(f"{group_and_label(e)}/{e.source_dataset or 'unnamed'}" for e in examples)
        ),
    }


def _stats(
    job: Preparation,
    contract: Contract,
    prepared: PreparedData,
    by_split: dict[str, list[Example]],
) -> dict[str, Any]:
    pairs = prepared.duplicates
    return {
        "splits": {split: counts(examples) for split, examples in by_split.items()},
        "sources": [_source(read) for read in prepared.sources],
        "bad_rows": len(prepared.bad),
        "left_out": _sorted(Counter(row.reason for row in prepared.left_out)),
        "notes": _notes(prepared),
        "duplicates": {
            "threshold": NEAR,
            "exact_pairs": sum(pair.exact for pair in pairs),
            "near_pairs": sum(not pair.exact for pair in pairs),
            "pairs_with_conflicting_labels": len(conflicts(prepared.compared, pairs)),
        },
        "leaks": {
            "policy": job.leaks,
            "rows": len({pair.first for pair in prepared.leaks}),
            "pairs": [describe_duplicates(prepared.compared, pair) for pair in prepared.leaks],
        },
        "seed": job.seed,
        **job.reading.groups.facts(),
        "prompt": {
            "template": contract.template,
            "strategy": contract.strategy_name,
            "others": list(contract.others),
            "hash": contract.hash,
        },
    }


def _notes(prepared: PreparedData) -> list[str]:
    """Return how rows were read where that is not plain."""
    unread = [
        f"{read.source}: a column is not read: {said}."
        for read in prepared.sources
        for said in read.loaded.unread
    ]
    return [
        *(note for read in prepared.sources for note in read.loaded.notes),
        *unread,
        *shares_said(prepared.examples),
        *unknown_said(example.unknown_groups for example in prepared.examples),
    ]


def _source(read: SourceRead) -> dict[str, Any]:
    return {
        "source": str(read.source),
        **read.version,
        "rows": read.loaded.rows,
        "examples": len(read.loaded.examples),
        "bad_rows": len(read.loaded.bad),
        "left_out": read.loaded.reasons(),
    }


def _sorted(counter: Counter[str] | Counter[Any]) -> dict[str, int]:
    return dict(sorted(counter.items()))
