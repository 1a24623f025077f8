"""Evaluations of several models on several sets: sorted into models and sets, and compared.

A model is told by what its runs say of it (adapter, base, prompt, number format), a set by its
posts; the names of folders and files decide neither.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hsd.config.gate_rules import GateRules
from hsd.errors import EvaluationError
from hsd.groups.group_set import GroupSet
from hsd.io.hashes import sha256_json
from hsd.io.run_identity import identity_of
from hsd.metrics.by_set import BySet, by_set
from hsd.metrics.pairs import paired
from hsd.report.comparability import (
    RunSettings,
    asked_of,
    mismatch_lines,
    model_as_read,
    require_comparable,
    shown_settings,
)
from hsd.report.comparison_glance import comparison_badge, sets_badge
from hsd.report.comparison_page import comparison_sections, prompts_section
from hsd.report.comparison_report import (
    RunsComparison,
    compare_loaded,
    compare_runs,
    comparison_parts,
    require_each_once,
)
from hsd.report.markdown import markdown_cell
from hsd.report.numbers import SCHEMA
from hsd.report.page import Lines, Page, Section, render_page
from hsd.report.predictions import Run, data_file_of, find_runs, load_run
from hsd.report.set_section import by_set_markdown, by_set_numbers, by_set_section


@dataclass(frozen=True, slots=True)
class SetsComparison:
    """Models on several sets. `sets` has the comparison on each; None where one model stands."""

    by_set: BySet
    sets: Mapping[str, RunsComparison | None]
    asked: Mapping[str, RunSettings]

    def prompt_lines(self) -> list[str]:
        """Return one line a model: its prompt and how it was read; then what is not alike."""
        return [
            *(f"prompt of {name}: {asked.words()}" for name, asked in self.asked.items()),
            *mismatch_lines(self.asked),
            *self.groups_notes,
        ]

    @property
    def groups_notes(self) -> list[str]:
        """Return which groups were compared on each set, where runs had different ones."""
        return [
            f"{of}: {found.groups_note}"
            for of, found in self.sets.items()
            if found and found.groups_note
        ]

    def numbers(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "schema": SCHEMA,
            "by_set": by_set_numbers(self.by_set),
            "asked": {name: asdict(asked) for name, asked in self.asked.items()},
            "sets": {of: found and found.numbers() for of, found in self.sets.items()},
        }

    def page(self) -> str:
        """Return it as one self-contained HTML page."""
        unlike = mismatch_lines(self.asked)
        first = [Section("Not read alike", [Lines(unlike, "danger")])] if unlike else []
        if notes := self.groups_notes:
            first.append(Section("Not counted in the same groups", [Lines(notes, "danger")]))
        each = [
            replace(section, title=f"{of}: {section.title}")
            for of, found in self.sets.items()
            if found
            for section in comparison_sections(found.comparisons, found.said(), found.board)
        ]
        subtitle = f"{len(self.by_set.rows)} models on {len(self.by_set.sets)} sets of posts."
        sections = [*first, by_set_section(self.by_set), *each, prompts_section(self.asked)]
        badges = {
            of: comparison_badge(found.comparisons, found.said()) if found else None
            for of, found in self.sets.items()
        }
        return render_page(Page("Evaluations by set", sections, subtitle, sets_badge(badges)))

    def markdown(self) -> str:
        """Return it as a Markdown page."""
        prompts = "\n".join(f"- {markdown_cell(line)}" for line in self.prompt_lines())
        parts = ["# Evaluations by set", prompts, by_set_markdown(self.by_set)]
        for of, found in self.sets.items():
            if found:
                parts.append(f"## On {markdown_cell(of)}")
                parts += [re.sub("^## ", "### ", part) for part in comparison_parts(found)]
        return "\n\n".join(parts) + "\n"


def compare_folders(
    folders: Sequence[Path],
    metric: str | None = None,
    rules: GateRules | None = None,
    *,
    ignore_mode_mismatch: bool = False,
    groups: GroupSet | None = None,
) -> RunsComparison | SetsComparison:
    """Return evaluations side by side: on one set against the first, on several by set.

    A folder may hold a run, or the runs of several sets. Raises EvaluationError as `compare_runs`
    and `compare_sets` do.
    """
    found = [run for folder in folders for run in find_runs(folder)]
    if len(found) == len(folders) and _on_one_set(found):
        return compare_runs(
            folders, metric, rules, ignore_mode_mismatch=ignore_mode_mismatch, groups=groups
        )
    return compare_sets(
        found, metric, rules, ignore_mode_mismatch=ignore_mode_mismatch, groups=groups
    )


def compare_sets(
    folders: Sequence[Path],
    metric: str | None = None,
    rules: GateRules | None = None,
    *,
    ignore_mode_mismatch: bool = False,
    groups: GroupSet | None = None,
) -> SetsComparison:
    """Return runs, in any order, as models by sets; the first run's model is the reference.

    Raises EvaluationError where a model stands twice on a set, where a set's name is that of
    different posts, where no two of several models share a set, and, unless
    `ignore_mode_mismatch`, where models were read in different ways.
    """
    require_each_once(folders)
    runs = [load_run(folder, groups) for folder in folders]
    names = _named(runs)
    sets = _by_set(runs, names)
    first = {names[at]: run for at, run in reversed(list(enumerate(runs)))}
    asked = {name: asked_of(first[name].folder) for name in dict.fromkeys(names)}
    if not ignore_mode_mismatch:
        require_comparable(asked)
    compared = {
        of: compare_loaded(_in_order(found, asked), metric, rules, ignore_mode_mismatch=True)
        if len(found) > 1
        else None
        for of, found in sets.items()
    }
    if len(asked) > 1 and not any(compared.values()):
        said = "; ".join(f"{name} on {of}" for of, found in sets.items() for name in found)
        raise EvaluationError(
            f"no two of {len(asked)} models were evaluated on the same posts ({said}). Evaluate "
            "them on the same data_file, max_samples and seed."
        )
    answered = {
        of: {name: run.predictions for name, run in found.items()} for of, found in sets.items()
    }
    changes = {of: found.comparisons if found else [] for of, found in compared.items()}
    return SetsComparison(by_set(answered, changes, list(asked)), compared, asked)


def _on_one_set(folders: Sequence[Path]) -> bool:
    """Whether all runs name one set, as a relative and an absolute path to one file may too."""
    if len({data_file_of(run) for run in folders}) == 1:
        return True
    return len({_posts(load_run(run)) for run in folders}) == 1


def _posts(run: Run) -> str:
    return sha256_json(sorted([p.id, p.text, p.true_label] for p in run.predictions))


def _in_order(found: Mapping[str, Run], models: Mapping[str, RunSettings]) -> dict[str, Run]:
    return {name: found[name] for name in models if name in found}


def _by_set(runs: Sequence[Run], names: Sequence[str]) -> dict[str, dict[str, Run]]:
    """Return the runs by set and model; a set is named as its first run names it."""
    called: dict[str, str] = {}
    sets: dict[str, dict[str, Run]] = {}
    for run, name in zip(runs, names, strict=True):
        posts = _posts(run)
        if posts not in called:
            called[posts] = data_file_of(run.folder) or shown_settings(run.folder)
            if called[posts] in sets:
                _refuse_other_posts(next(iter(sets[called[posts]].values())), run, called[posts])
        models = sets.setdefault(called[posts], {})
        if name in models:
            raise EvaluationError(
                f"{models[name].folder} and {run.folder} are both of {name} on {called[posts]}; "
                "name one of them."
            )
        models[name] = run
    return sets


def _refuse_other_posts(one: Run, other: Run, of: str) -> None:
    """Raise EvaluationError, saying which posts of two runs on a set of one name differ."""
    paired(one.predictions, other.predictions, (str(one.folder), str(other.folder)))
    raise AssertionError(of)  # their digests differ, so their pairs do


def _named(runs: Sequence[Run]) -> list[str]:
    """Return the name of each run's model: its first run's word for it.

    Where two models have one name, what they differ in stands behind it.
    """
    facts = [_model(run) for run in runs]
    keys = [sha256_json(one) for one in facts]
    models = {key: facts[at] for at, key in reversed(list(enumerate(keys)))}
    plain = {key: _name(runs[keys.index(key)]) for key in models}
    rivals = {key: [models[k] for k in models if plain[k] == plain[key]] for key in models}
    named = {key: _distinct_name(plain[key], models[key], rivals[key]) for key in models}
    return [named[key] for key in keys]


def _distinct_name(name: str, own: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]]) -> str:
    keys = dict.fromkeys(key for other in rivals for key in other)
    apart = [key for key in keys if any(other.get(key) != own.get(key) for other in rivals)]
    said = ", ".join(f"{key} {str(own.get(key))[:12]}" for key in apart)
    return f"{name} ({said})" if said else name


def _name(run: Run) -> str:
    model = run.manifest.get("model") or {}
    named = model.get("adapter") or model.get("name") or run.manifest.get("detector")
    if not named:
        return shown_settings(run.folder)
    return shown_settings(Path(named)) if Path(named).is_absolute() else str(named)


def _model(run: Run) -> dict[str, Any]:
    """Return what tells the model of a run from others, and how it was asked."""
    identity = identity_of(run.folder) or {}
    model = model_as_read(identity)
    if not identity.get("model"):
        said = {key: identity[key] for key in sorted(identity) if key != "rows_sha256"}
        return said or {"run": str(run.folder)}
    if model.get("revision"):
        model.pop("files", None)  # by their times, which another machine's copies do not have
    return {**model, **asdict(asked_of(run.folder))}
