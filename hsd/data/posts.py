"""The rows of files of posts and of chats in one form: a post, and the chat that it was in."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hsd.data.chat_rows import ChatRow, chat_row, holds_chats, unread_in_chats
from hsd.data.data_files import stem
from hsd.data.loaded_file import in_groups, left_out_said
from hsd.data.post_in_chat import Located, locate, user_words
from hsd.data.read_rows import BadRow, Row, stream_rows
from hsd.data.source_formats import load_posts
from hsd.data.split_names import split_of
from hsd.data.table_columns import Columns
from hsd.example import SPLITS, Example
from hsd.groups.group_file import spelled_groups
from hsd.groups.group_names import NamesError
from hsd.groups.group_set import GroupSet, default_groups
from hsd.prompts.contract import load_contract


@dataclass(frozen=True, slots=True)
class Post:
    """One row: what it says and of whom, its file, and the turns of the chat that it was in."""

    example: Example
    file: Path
    messages: tuple[Mapping[str, str], ...] = ()
    """() for a row that is a post alone."""
    is_asked_again: bool = False
    """Another row of the file asks about this very post, with another strategy."""


@dataclass(frozen=True, slots=True)
class Posts:
    """The rows that can be used, and the places of what is wrong with others."""

    posts: list[Post] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_chats: list[BadRow] = field(default_factory=list)
    left_out: list[BadRow] = field(default_factory=list)
    naming: list[str] = field(default_factory=list)
    """Prompts that name the group."""
    astray: list[str] = field(default_factory=list)
    """Chats that the prompt.json beside them did not ask."""
    unread: list[str] = field(default_factory=list)
    """Columns that a person may believe to be read."""
    misplaced: list[str] = field(default_factory=list)
    """Rows whose own split is not the one in their file's name."""
    notes: list[str] = field(default_factory=list)
    """How the rows were read, where that is not plain."""

    @property
    def rows(self) -> int:
        """How many rows were read, of every kind."""
        return len(self.posts) + len(self.bad) + len(self.bad_chats) + len(self.left_out)

    @property
    def examples(self) -> list[Example]:
        """Each post once, in however many ways it is asked about."""
        return [post.example for post in self.posts if not post.is_asked_again]


def read_posts(
    files: Sequence[Path], groups: GroupSet | None = None, columns: Columns | None = None
) -> Posts:
    """Return the rows of files of posts or of chats; a file's name tells the split of its rows.

    `groups` are those that rows are counted in; None are the default ones. Where `columns` are
    named, all files are tables with these.
    """
    groups = groups or default_groups()
    found = Posts()
    for file in files:
        before = len(found.posts)
        if columns is None and holds_chats(file):
            _add_chats(found, file, groups)
            unread = unread_in_chats(file)
        else:
            part = load_posts(file, columns, groups)
            found.posts.extend(Post(_in_split(example, file), file) for example in part.examples)
            found.bad.extend(part.bad)
            found.left_out.extend(part.left_out)
            found.notes.extend([*part.notes, *left_out_said(part, str(file))])
            unread = part.unread
        found.unread.extend(f"{file.name}: {column}" for column in unread)
        found.misplaced.extend(_misplaced(found.posts[before:], file))
    return found


def _misplaced(posts: Sequence[Post], file: Path) -> list[str]:
    """Return the rows of another split than the one that their file is named after."""
    split = split_of(stem(file))
    if split not in SPLITS:
        return []
    return [
        f"{post.example.place} is of {post.example.split}"
        for post in posts
        if post.example.split != split
    ]


def _in_split(example: Example, file: Path) -> Example:
    """Return an example with a split; a row that names none is in its file's."""
    return example if example.split else replace(example, split=split_of(stem(file)))


def _add_chats(found: Posts, file: Path, groups: GroupSet) -> None:
    rows = [
        chat_row(row, position) if isinstance(row, Row) else row
        for position, row in enumerate(stream_rows(file))
    ]
    chats = [row for row in rows if isinstance(row, ChatRow)]
    contract = load_contract(file.parent)
    located = locate(chats, contract)
    pattern = _named_by(groups)
    pairs = list(zip(chats, located, strict=True))
    examples = [_example(chat, where, groups) for chat, where in pairs]
    posts = _posts(file, pairs, examples)
    found.posts.extend(posts)
    found.bad_chats.extend(row for row in (*rows, *examples) if isinstance(row, BadRow))
    found.naming.extend(
        chat.place for chat, where in pairs if _names_group(chat, where.text, pattern)
    )
    found.astray.extend(c.place for c, where in pairs if contract and not where.is_own)
    found.notes.extend(_notes(file, chats, located))
    if again := sum(post.is_asked_again for post in posts):
        found.notes.append(f"{file.name}: {again} chats ask again about a post, which counts once.")


def _posts(
    file: Path, pairs: Sequence[tuple[ChatRow, Located]], examples: Sequence[Example | BadRow]
) -> list[Post]:
    posts = []
    asked: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for (chat, where), example in zip(pairs, examples, strict=True):
        if isinstance(example, BadRow):
            continue
        ways = asked[example.id, example.text, example.label]
        is_again = bool(ways) and where.strategy not in ways
        ways.add(where.strategy)
        posts.append(Post(_in_split(example, file), file, chat.messages, is_again))
    return posts


def _example(chat: ChatRow, where: Located, groups: GroupSet) -> Example | BadRow:
    try:
        return in_groups(_plain_example(chat, where), groups)
    except NamesError as error:
        return BadRow(chat.place, str(error))


def _plain_example(chat: ChatRow, where: Located) -> Example:
    return Example(
        # As Contract.asks names the rows of one post that several strategies ask about.
        id=chat.id.removesuffix(f":{where.strategy}") if where.strategy else chat.id,
        text=where.text,
        label=chat.label,
        hate_share=chat.hate_share,
        named=(chat.target_group,),
        source_dataset=chat.source_dataset,
        split=split_of(chat.split),
        place=chat.place,
    )


def _names_group(chat: ChatRow, post: str, pattern: re.Pattern[str]) -> bool:
    """Return whether the words around the post name the group; a post may say what it likes.

    A whole turn that is taken for the post may hold such words too.
    """
    is_told_apart = bool(post) and post != user_words(chat)
    turns = [
        turn["content"].replace(post, " ") if is_told_apart else turn["content"]
        for turn in chat.messages
        if turn["role"] != "assistant"
    ]
    return any(pattern.search(turn.replace("_", " ")) or pattern.search(turn) for turn in turns)


def _named_by(groups: GroupSet) -> re.Pattern[str]:
    """Return what finds `target group: women` in a prompt, of the default names and the asked."""
    every = {*spelled_groups(default_groups().file), *spelled_groups(groups.file)}
    spelled = {form for name in every for form in (name, name.replace("_", " "))}
    names = "|".join(sorted(map(re.escape, spelled), key=len, reverse=True))
    return re.compile(
        r"(?:target|persona|group|community)(?:[ _](?:group|tag|norm))*\s*[:=]\s*[\"']?"
        rf"({names})s?\b",
        re.IGNORECASE,
    )


def _notes(file: Path, chats: Sequence[ChatRow], located: Sequence[Located]) -> list[str]:
    unknown = [
        where.text == user_words(chat)
        for chat, where in zip(chats, located, strict=True)
        if not where.strategy
    ]
    if not unknown:
        return []
    how = "what their user turns share counts as the words around the post"
    if all(unknown):
        how = "their whole user turn counts as the post"
    return [
        f"{file.name}: {len(unknown)} of {len(chats)} chats were written with no strategy that "
        f"hsd knows; {how}. A prompt.json beside the file would tell."
    ]
