"""Where a run's rows come from: a file of posts or of chats, or a name; and which are taken."""

import logging
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hsd.config.train_config import OtherSplits, TrainConfig
from hsd.data.chat_rows import ChatRow, holds_chats, stream_chats, unread_in_chats
from hsd.data.data_files import is_one_table
from hsd.data.data_sets import STEMS, load_named, require_own_file, resolve_path
from hsd.data.loaded_file import Loaded, left_out_said
from hsd.data.sampling import label_balanced
from hsd.data.table_columns import Columns, columns_in
from hsd.errors import DataError
from hsd.example import Example
from hsd.groups.group_names import NamesError
from hsd.groups.group_set import DEFAULT, GroupSet, default_groups, load_groups
from hsd.prompts.chat import make_chat, written_with
from hsd.prompts.contract import Contract, load_contract, make_contract, require_no_analysis
from hsd.prompts.template import Strategy, load_template
from hsd.training.lesson import Lesson
from hsd.training.row_facts import Row, Split, left_out_by_source, of_split, with_labels_told

log = logging.getLogger(__name__)

_OPTION = re.compile(r"--(\w+-column|labels|cut|votes)\b")
"""Options of other commands, in messages about a table."""

HELD_OUT = frozenset({*STEMS, "embedded:test"})
"""Names that evaluation uses; a model must not learn from them."""


@dataclass(frozen=True)
class RowSource:
    """A file or name of rows, and which of its rows are taken; `notes` fill as rows are read."""

    name: str
    split: Split
    limit: int | None
    seed: int
    other_splits: OtherSplits | None
    """None takes rows whatever split they say."""
    without: tuple[str, ...] = ()
    """Sources whose rows are left out."""
    columns: Columns | None = None
    """Those of a table of a person's own."""
    groups: GroupSet = field(default_factory=default_groups)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, config: TrainConfig, split: Split, *, takes_all: bool = False) -> "RowSource":
        """Return the source that a config names for a split.

        `takes_all` takes what a finished run learned from: where other splits are refused, it had
        none of them, or is older than the refusal.
        """
        data = config.data
        name, limit = {
            "train": (data.train_file, data.max_train_rows),
            "validation": (data.validation_file or "", data.max_validation_rows),
        }[split]
        policy = None if takes_all and data.other_splits == "fail" else data.other_splits
        groups, columns = load_groups(data.groups or DEFAULT), columns_in(data)
        require_own_file(filter(None, (data.train_file, data.validation_file)), columns)
        return cls(name, split, limit, config.seed, policy, data.without_sources, columns, groups)

    def lessons(self, contract: Contract) -> Iterator[Lesson]:
        """Yield the rows as they are asked. Raises DataError."""
        self._require_not_held_out()
        path = Path(self.name)
        if self.columns is None and is_one_table(path) and holds_chats(path):
            found = self._written(path, contract)
        else:
            found = self._posts(contract)
        return with_labels_told(found, self.name, self.split, self.notes)

    def require_found(self) -> None:
        """Raise DataError where there are no rows of this name to learn from; nothing is read."""
        self._require_not_held_out()
        self._require_there(self._named)

    @property
    def _named(self) -> str:
        return f"embedded:{self.split}" if self.name == "embedded" else self.name

    def _require_not_held_out(self) -> None:
        if self.name in HELD_OUT:
            raise DataError(
                f"data: '{self.name}' is held out for evaluation; learn from other rows."
            )

    def _own(self, rows: Iterable[Row]) -> Iterable[Row]:
        if self.other_splits is not None:
            rows = of_split(rows, self.name, self.split, self.other_splits, self.notes)
        if self.without:
            rows = left_out_by_source(rows, self.name, self.split, self.without, self.notes)
        return rows

    def _told_unread(self, columns: Iterable[str]) -> None:
        self.notes.extend(f"{self.name}: a column is not read: {said}." for said in columns)

    def _posts(self, contract: Contract) -> Iterator[Lesson]:
        named = self._named
        loaded = self._loaded(named)
        self._told_unread(loaded.unread)
        self.notes.extend([*loaded.notes, *left_out_said(loaded, self.name)])
        strategy_of: dict[str, Strategy] = {}
        examples = []
        for example in self._own(loaded.examples):
            for id, strategy in contract.asks(example.id):
                strategy_of[id] = strategy
                examples.append(replace(example, id=id))
        if self.limit is not None:
            examples = label_balanced(examples, self.limit, self.seed)
        _warn_of_no_rationale(named, examples, strategy_of)
        for e in examples:
            strategy = strategy_of[e.id]
            chat = make_chat(strategy, e.id, e.text, e.label, e.rationale)
            yield Lesson(chat, e.label, strategy.parameters.rationale, e.groups, e.hate_share)

    def _require_there(self, named: str) -> None:
        field = f"data.{self.split}_file"
        try:
            resolve_path(named)
        except DataError as error:
            without = ", or null to train without one" if self.split == "validation" else ""
            raise DataError(f"{field}: {error} Give --set {field}=FILE{without}.") from None

    def _loaded(self, named: str) -> Loaded:
        self._require_there(named)
        try:
            return load_named(named, groups=self.groups, columns=self.columns)
        except DataError as error:
            if (option := _OPTION.search(str(error))) is None:
                raise
            field = option[1].replace("-", "_")
            raise DataError(
                f"{error} For `hsd train` {option[0]} VALUE is --set data.{field}=VALUE, and so on."
            ) from None

    def _written(self, path: Path, contract: Contract) -> Iterator[Lesson]:
        self._told_unread(unread_in_chats(path))
        rows = self._own(stream_chats(path))
        drawn = None if self.limit is None else _drawn(rows, self.limit, self.seed)
        for row in self._own(stream_chats(path)):
            if drawn is None or row.id in drawn:
                yield _as_asked(row, contract, self.groups)


def contract_asked(config: TrainConfig) -> Contract:
    """Return the prompt.json beside prepared rows, else what the config names."""
    beside = Path(config.data.train_file).parent
    found = load_contract(beside) if is_one_table(Path(config.data.train_file)) else None
    if found is not None:
        return found
    asked = make_contract(load_template(config.prompt.template), config.prompt.strategy)
    return require_no_analysis(asked)


def require_apart(
    learned: Iterable[tuple[str, Hashable]], validation: Iterable[tuple[str, Hashable]]
) -> None:
    """Raise DataError for a validation row that is learned: it says nothing, whatever its id.

    Both are ids with what is the same for rows of one post.
    """
    known = {post: id for id, post in learned}
    for id, post in validation:
        if (same := known.get(post)) is not None:
            raise DataError(
                f"validation row {id} has the same post as training row {same}; "
                "`hsd prepare` makes splits without leaks."
            )


def _warn_of_no_rationale(
    source: str, examples: Sequence[Example], strategy_of: Mapping[str, Strategy]
) -> None:
    reasoned = [e for e in examples if strategy_of[e.id].parameters.rationale]
    bare = sum(not e.rationale.strip() for e in reasoned)
    if bare:
        log.warning(
            "%s: %d of %d rows have no rationale, though their strategy asks for one; they teach "
            "an answer without it", source, bare, len(reasoned)
        )  # fmt: skip


def _drawn(rows: Iterable[ChatRow], limit: int, seed: int) -> set[str]:
    labels = [Example(id=row.id, text="", label=row.label) for row in rows]
    return {example.id for example in label_balanced(labels, limit, seed)}


def _as_asked(row: ChatRow, contract: Contract, follow: GroupSet) -> Lesson:
    """Refuse a row asked otherwise: evaluation would then ask what training never saw."""
    written = written_with(row.id, row.messages, contract.strategies)
    if written is None:
        known = "' or '".join(contract.strategies)
        raise DataError(
            f"{row.place}: this row was not written with strategy '{known}' of "
            f"template '{contract.template}'; set prompt.template and prompt.strategy to the "
            "ones it was written with, or keep the prompt.json of `hsd prepare` beside it."
        )
    forms = [answer.removesuffix("}") for answer in contract.answers]
    if not (row.messages[-1]["content"]).startswith(tuple(forms)):
        # The label is looked for at one place of all answers, in validation and in score mode.
        raise DataError(
            f"{row.place}: the answer is written in another form; expected it to start with "
            f"{' or '.join(forms)}, as `hsd prepare` writes it."
        )
    strategy, chat = written
    rationale = contract.strategies[strategy].parameters.rationale
    try:
        groups = follow.groups_of([row.target_group])
    except NamesError as error:
        raise DataError(f"{row.place}: {error}") from None
    return Lesson(chat, row.label, rationale, groups, row.hate_share)
