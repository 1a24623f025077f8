"""The names of splits, as files, folders and cells have them."""

import re

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(value: str) -> str:
    """Return train, validation or test for a name that begins with a word for one of them.

    `train-00000-of-00001` is train; `train_dev`, which names two, stays as it is, as others do.
    """
    name = value.strip().lower()
    words = re.findall(r"[^\W\d_]+", name)
    named = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return named.pop() if len(named) == 1 and words[0] in SPLIT_NAMES else name
