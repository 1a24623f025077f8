"""`hsd prepare`: unifies sources into splits without leakage, and renders them for training."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from hsd.config.train_config import PromptConfig
from hsd.counted import counted
from hsd.data import hub_rows, prepared_files
from hsd.data.data_files import digest, has_rows
from hsd.data.duplicates import NEAR, Pair, clusters, find_pairs, leaks, normalise
from hsd.data.loaded_file import (
    Loaded,
    merge_loaded,
    require_clean,
    require_unique_ids,
    write_bad_rows,
)
from hsd.data.own_table import read_table
from hsd.data.prepared_data import LeakPolicy, Preparation, PreparedData, SourceRead
from hsd.data.read_rows import BadRow, apart
from hsd.data.sampling import even_labels, stratified
from hsd.data.source_formats import ReadOptions, Source, convert_detected, load_source
from hsd.data.splits import assign_splits, require_known_splits
from hsd.data.table_columns import Columns
from hsd.errors import DataError
from hsd.example import Example, Label
from hsd.groups.name_lists import joined
from hsd.io.lease import hold_lease
from hsd.io.run_identity import claim
from hsd.prompts.contract import Contract, make_contract, require_no_analysis
from hsd.prompts.template import load_template

REPEATED = "same text as a row of an earlier source"
STEPS = ("reading", "comparing posts", "splitting", "writing")

LEAK_ADVICE = "--leaks drop leaves them out of what is learned from, --leaks report keeps them"


def _silent(step: str) -> None:
    """Hear of a step and say nothing."""
    del step


def prepare(job: Preparation, report: Callable[[str], None] = _silent) -> PreparedData:
    """Read, compare, split and write; return what was made. `report` hears each step begin.

    Raises DataError for bad rows (all listed in OUTPUT.bad_rows.jsonl), for ids that repeat and,
    with `leaks="fail"`, for leaks; PreflightError when the folder holds something else, and
    InUseError while another process prepares there.
    """
    with hold_lease(job.output_dir, "hsd prepare"):
        return _prepared(job, report)


def _prepared(job: Preparation, report: Callable[[str], None]) -> PreparedData:
    contract = _contract(job)
    report(STEPS[0])
    sources = [_read(source, job.reading) for source in job.sources]
    whole = merge_loaded(read.loaded for read in sources)
    _require_clean(whole, job)
    report(STEPS[1])
    kept, repeated = without_repeats([read.loaded.examples for read in sources])
    require_unique_ids(kept)
    kept = _with_splits(kept, job)
    pairs = find_pairs([example.text for example in kept])
    report(STEPS[2])
    compared = assign_splits(kept, clusters(len(kept), pairs), job.seed)
    found = leaks(compared, pairs)
    examples, leaking = _without_leaks(compared, found, job.leaks)
    examples, unbalanced = _limit_training(examples, job)
    left_out = whole.left_out + repeated + leaking + unbalanced
    if not any(example.split == "train" for example in examples):
        raise DataError(f"no training row is left of {whole.rows}; see --balance and --leaks.")
    report(STEPS[3])
    claim(job.output_dir, _identity(job, sources, contract))
    prepared = PreparedData(examples, sources, whole.bad, left_out, pairs, compared, found)
    return replace(prepared, stats=prepared_files.write(job, contract, prepared))


def _contract(job: Preparation) -> Contract:
    default = PromptConfig()
    template = load_template(job.template or default.template)
    if not job.strategies:
        main = default.strategy if job.template is None else None
        return require_no_analysis(make_contract(template, main))
    return require_no_analysis(make_contract(template, job.strategies[0], job.strategies[1:]))


def _with_splits(examples: list[Example], job: Preparation) -> list[Example]:
    """Return the examples with the splits they came with, or with none, as asked."""
    if job.splits == "new":
        return [replace(example, split="") for example in examples]
    require_known_splits(examples)
    given = {example.split for example in examples}
    if not given & {"", "train"}:
        raise DataError(
            f"every row came with a split and none is for training (only {', '.join(given)}); "
            "add a source with training rows, or pass --splits new to split all rows anew."
        )
    return examples


def without_repeats(sources: Sequence[Sequence[Example]]) -> tuple[list[Example], list[BadRow]]:
    """Return all examples but those whose text an earlier source has already.

    Repeats within one source stay: a published split keeps its rows.
    """
    seen: dict[str, Label] = {}
    kept: list[Example] = []
    repeated = []
    for examples in sources:
        texts = [normalise(example.text) for example in examples]
        for text, example in zip(texts, examples, strict=True):
            if text in seen:
                same = "" if seen[text] == example.label else ", which has another label"
                repeated.append(BadRow(example.place, f"{REPEATED}{same}"))
            else:
                kept.append(example)
        seen |= {text: example.label for text, example in zip(texts, examples, strict=True)}
    return kept, repeated


def _read(source: Source, reading: ReadOptions) -> SourceRead:
    if source.kind != "hub":
        version = {path.name: digest(path) for path in source.files if has_rows(path)}
        return SourceRead(source, load_source(source, reading), version)
    read, commit = hub_rows.download(source.location)
    rows, bad = apart(read)
    if reading.columns == Columns():
        loaded = convert_detected(rows, str(source), reading)
    else:
        loaded = read_table(rows, reading.columns, str(source), source.location, reading.groups)
    return SourceRead(source, replace(loaded, bad=bad + loaded.bad), {"commit": commit})


def _require_clean(whole: Loaded, job: Preparation) -> None:
    try:
        require_clean(whole, job.tolerate)
    except DataError as error:
        if not whole.bad:
            raise
        # Beside the folder, not in it: a failed preparation must not make the folder its own.
        path = job.output_dir.with_name(f"{job.output_dir.name}.bad_rows.jsonl")
        write_bad_rows(path, whole.bad)
        raise DataError(f"{error} All of them: {path}.") from None


def _identity(
    job: Preparation, sources: Sequence[SourceRead], contract: Contract
) -> dict[str, Any]:
    """Return what makes this preparation another one than the next."""
    return {
        "command": "prepare",
        "sources": [{"kind": read.source.kind, **read.version} for read in sources],
        "prompt": contract.hash,
        "reading": _reading(job.reading),
        "splits": job.splits,
        "balance": job.balance,
        "leaks": job.leaks,
        "max_train_rows": job.max_train_rows,
        "tolerate": job.tolerate,
        "seed": job.seed,
    }


def _reading(reading: ReadOptions) -> dict[str, Any]:
    """Return how rows are read; groups only where they are not the default, as in older ones."""
    plain = {
        "offensive": reading.offensive,
        "toxicity_threshold": reading.toxicity_threshold,
        "columns": asdict(reading.columns),
    }
    return plain if reading.groups.is_default else {**plain, "groups": reading.groups.digest}


def _without_leaks(
    examples: list[Example], found: Sequence[Pair], policy: LeakPolicy
) -> tuple[list[Example], list[BadRow]]:
    leaking = {pair.first: pair for pair in found}
    if found and policy == "fail":
        listed = "; ".join(
            f"{examples[p.first].id} ({examples[p.first].place}) ~ {examples[p.second].id} "
            f"({examples[p.second].place}), {p.similarity:.2f}"
            for p in found[:5]
        )
        raise DataError(
            f"{counted(len(leaking), 'row has', 'rows have')} a duplicate (similarity {NEAR} or "
            f"more) in a split that is held out: {listed}. {LEAK_ADVICE}."
        )
    if policy != "drop":
        return examples, []
    dropped = [
        BadRow(examples[p].place, f"nearly the same as a row of {examples[pair.second].split}")
        for p, pair in leaking.items()
    ]
    return [e for position, e in enumerate(examples) if position not in leaking], dropped


def _limit_training(
    examples: list[Example], job: Preparation
) -> tuple[list[Example], list[BadRow]]:
    """Balance and sample the training rows; the rows held out stay as they are."""
    train = [example for example in examples if example.split == "train"]
    balanced = _balanced(train, job)
    limit = job.max_train_rows
    sampled = balanced if limit is None else stratified(balanced, limit, job.seed)
    reasons = [
        *_gone(train, balanced, f"left out to balance labels ({job.balance})"),
        *_gone(balanced, sampled, f"beyond {limit} training rows"),
    ]
    ids = {example.id for example in sampled}
    return [e for e in examples if e.split != "train" or e.id in ids], reasons


def _balanced(train: list[Example], job: Preparation) -> list[Example]:
    if job.balance == "none":
        return train
    if job.balance == "label":
        return even_labels(train, job.seed)
    return even_labels(train, job.seed, within=lambda example: joined(example.groups))


def _gone(before: Sequence[Example], after: Sequence[Example], reason: str) -> list[BadRow]:
    ids = {example.id for example in after}
    return [BadRow(example.place, reason) for example in before if example.id not in ids]
