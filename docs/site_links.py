"""A hook of mkdocs: on the site, files outside docs/ are links to the repository.

The pages link to such files by relative paths, which work in a checkout and on GitHub.
"""

import re
from typing import Any

_OUTSIDE = re.compile(r"\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, /, *, config: Any, **_: Any) -> str:
    """Return the page with its links out of docs/ made absolute."""
    return with_absolute_links(markdown, f"{config.repo_url}/blob/main")


def with_absolute_links(markdown: str, root: str) -> str:
    """Return Markdown whose links `../FILE` are `root/FILE`."""
    return _OUTSIDE.sub(lambda link: f"]({root}/{link[1]})", markdown)
