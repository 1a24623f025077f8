"""Seeded samples that keep or even out the shares of labels and groups; the order stays."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from hsd.config.evaluate_config import EvalConfig
from hsd.config.import_config import ImportConfig
from hsd.errors import DataError
from hsd.example import LABELS, Example
from hsd.groups.name_lists import joined

Key = Callable[[Example], str]


def sampled(examples: Sequence[Example], config: EvalConfig | ImportConfig) -> list[Example]:
    """Return the rows that a config asks for: of its sources, and a sample of its size."""
    rows = of_sources(examples, config.only_sources, config.data_file)
    if config.max_samples is None or config.max_samples >= len(rows):
        return rows
    return stratified(rows, config.max_samples, config.seed)


def group_and_label(example: Example) -> str:
    """Return the stratum of most samples: `lgbtq/hate`."""
    return f"{joined(example.groups)}/{example.label}"


def stratified(
    examples: Sequence[Example], count: int, seed: int, key: Key = group_and_label
) -> list[Example]:
    """Return `count` examples in which each stratum has its share of the whole.

    Every stratum gets at least one row while there is room. All rows when there are fewer.
    """
    strata = _by(examples, key)
    quota = shares({name: len(rows) for name, rows in strata.items()}, count)
    return _draw(examples, strata, quota, seed)


def label_balanced(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Return `count` examples, half of each label; where one label runs out, the other fills up."""
    strata = _by(examples, lambda example: example.label)
    half = dict.fromkeys(LABELS, count // 2)
    half[max(LABELS, key=lambda label: len(strata[label]))] += count % 2
    quota: dict[str, int] = {label: min(half[label], len(strata[label])) for label in LABELS}
    for label in LABELS:
        missing = count - sum(quota.values())
        quota[label] += min(missing, len(strata[label]) - quota[label])
    return _draw(examples, strata, quota, seed)


def even_labels(examples: Sequence[Example], seed: int, within: Key | None = None) -> list[Example]:
    """Return as many hate as normal examples, the most there can be.

    With `within`, that holds for each of its values: as many of each label for every group, say.
    """

    def cell(example: Example, label: str) -> str:
        return f"{within(example) if within else ''}/{label}"

    cells = _by(examples, lambda example: cell(example, example.label))
    smallest = {
        cell(examples[rows[0]], label): min(
            len(cells.get(cell(examples[rows[0]], other), ())) for other in LABELS
        )
        for rows in cells.values()
        for label in LABELS
    }
    return _draw(examples, cells, smallest, seed)


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Return how many of `count` rows each stratum gives, in proportion to its size.

    Each gives one while there is room for all of them, then whichever lacks most.
    """
    total = sum(sizes.values())
    given = dict.fromkeys(sizes, int(count >= len(sizes)))
    for _ in range(min(count, total) - sum(given.values())):
        open_strata = [name for name in sizes if given[name] < sizes[name]]
        lacking = {name: count * sizes[name] / total - given[name] for name in open_strata}
        given[max(lacking, key=lambda name: (lacking[name], name))] += 1
    return given


def _by(examples: Sequence[Example], key: Key) -> dict[str, list[int]]:
    strata: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        strata[key(example)].append(position)
    return strata


def _draw(
    examples: Sequence[Example],
    strata: Mapping[str, list[int]],
    quota: Mapping[str, int],
    seed: int,
) -> list[Example]:
    """Return `quota` rows of each stratum; the draw does not depend on the order of the rows."""
    chosen: list[int] = []
    for name in sorted(strata):
        positions = sorted(strata[name], key=lambda position: examples[position].id)
        # A stratum has its own generator, so that more rows in one do not redraw the others.
        chosen += random.Random(f"{seed}/{name}").sample(positions, quota[name])
    return [examples[position] for position in sorted(chosen)]


def of_sources(examples: Sequence[Example], only: Sequence[str], where: str) -> list[Example]:
    """Return the rows of the named sources, all rows where none is named.

    Raises DataError for a source that no row is of.
    """
    require_sources("only_sources", only, {e.source_dataset for e in examples}, where)
    return [e for e in examples if not only or e.source_dataset in only]


def require_sources(field: str, names: Iterable[str], there: Collection[str], where: str) -> None:
    """Check that each source that a config's `field` names is `there`, among those of the rows.

    Raises DataError with the sources that there are: a misspelt one would choose nothing.
    """
    if missing := [name for name in names if name not in there]:
        known = ", ".join(sorted(filter(None, there))) or "none, rows have no 'source_dataset'"
        raise DataError(
            f"{where}: {field} names {missing[0]!r}, which no row is of; sources here: {known}."
        )
