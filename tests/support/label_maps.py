"""What the options for labels say, without a table."""

from typing import Any

from hsd.data.table_columns import Meaning, columns_of


def labels_of(**options: Any) -> dict[str, Meaning]:
    """Return the meaning of each label that `labels` or `label` names."""
    columns = columns_of(**options)
    return dict(columns.labels) if columns else {}
