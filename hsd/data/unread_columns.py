"""Columns that look like a group, label, split or share, and are not read under their names."""

import re
import shlex
from collections.abc import Collection, Iterable
from typing import Literal

_GROUP = (
    "targetgroup targetgroups targetgroupnorm target targets targetident targetidentity "
    "targetidentities targetcommunity targetcommunities targetedgroup targetedgroups "
    "targetedcommunity targetedcommunities targetedidentity targetedidentities groupstargeted "
    "hatetarget hatetargets targetofhate targetsofhate victim victims victimgroup victimgroups "
    "group groups groupname identity identities identitygroup identitygroups "
    "minority minorities minoritygroup minoritygroups community communities "
    "persona personas personatag protectedgroup protectedgroups"
)
_LABEL = (
    "label labels class classes gold goldlabel labelgold labelbinary finallabel majoritylabel "
    "hatelabel hate ishate hatespeech ishatespeech"
)
_SHARE = "hateshare sharehate shareofhate hatefraction fractionhate hateratio"
_SPLIT = "split splits subset partition fold set datasplit datasetsplit traintestsplit"


_TEXT = (
    "text texts fulltext tweet tweets tweettext comment comments commenttext body content message "
    "messagetext post posts posttext sentence sentences utterance document reply testcase"
)
_JUDGED = (
    "toxic istoxic toxicity verdict category annotation annotations judgement score rating "
    "hatescore hatespeechscore votes"
)


_PREPARE = " (`hsd prepare` needs --source table:FILE too)"


def look_alike(kind: Literal["text", "label"], columns: Iterable[str]) -> str | None:
    """Return the first column that is called as people call their posts or labels."""
    looks = (_TEXT if kind == "text" else f"{_LABEL} {_JUDGED}").split()
    return next(iter(_lookalikes([str(name) for name in columns], (), looks, once=False)), None)


def unread(columns: Iterable[str], reads: Collection[str]) -> list[str]:
    """Return a sentence for each column that a person may believe to be read; `reads` are.

    Names are compared in lower case, without signs and digits. Once a group or a split is read,
    other columns like it are somebody's notes; a second label is doubtful beside the first.
    """
    names = list(columns)
    # A table's group has no name of its own: calling it target_group would not make it read.
    call_it = "call it target_group, or " if "target_group" in reads else ""
    or_share = "call it hate_share, or " if "hate_share" in reads else ""
    return [
        *(
            f"'{name}' looks like the group that posts are about; {call_it}name it with "
            f"--group-column {shlex.quote(name)}{_PREPARE}"
            for name in _lookalikes(names, reads, _GROUP.split(), once=True)
        ),
        *(
            f"'{name}' looks like the split of a row; call it split"
            for name in _lookalikes(names, reads, _SPLIT.split(), once=True)
        ),
        *(
            f"'{name}' looks like a label; if it is the right one, name it with "
            f"--label-column {shlex.quote(name)}{_PREPARE}"
            for name in _lookalikes(names, reads, _LABEL.split(), once=False)
        ),
        *(
            f"'{name}' looks like the share of annotators who said hate; {or_share}name it with "
            f"--share-column {shlex.quote(name)}{_PREPARE}"
            for name in _lookalikes(names, reads, _SHARE.split(), once=True)
        ),
    ]


def _lookalikes(
    columns: list[str], reads: Collection[str], looks: Collection[str], *, once: bool
) -> list[str]:
    alike = [name for name in columns if re.sub(r"[^a-z]", "", name.lower()) in looks]
    if once and any(name in reads for name in alike):
        return []
    return [name for name in alike if name not in reads]
