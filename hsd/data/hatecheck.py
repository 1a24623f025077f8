"""HateCheck as published (Röttger et al., ACL 2021): functional tests, by functionality and target.

Columns: functionality, case_id, test_case, label_gold, target_ident, direction, focus_words,
focus_lemma, ref_case_id, ref_templ_id, templ_id. A case with a reference is its contrast: a small
change that turns the label, or keeps it.
"""

from hsd.data import cell_values
from hsd.data.label_names import parse_label, unknown_label
from hsd.data.loaded_file import Bad, Converted
from hsd.data.read_rows import Row
from hsd.example import Example
from hsd.groups.group_set import spelled_persona

COLUMNS = {"functionality", "test_case", "label_gold"}


def convert(row: Row) -> Converted:
    """Return the example of a test case; cases of one template are a cluster."""
    values = row.values
    text = cell_values.post(values, "test_case")
    if isinstance(text, Bad):
        return text
    label = parse_label(values.get("label_gold"))
    if label is None:
        return Bad(unknown_label(values.get("label_gold"), "label_gold"))
    target = cell_values.names(values, "target_ident")
    if isinstance(target, Bad):
        return target
    template = _number(row, "templ_id")
    return Example(
        id=_id(_number(row, "case_id")),
        text=text,
        label=label,
        named=cell_values.named(target),
        persona_tag=spelled_persona(cell_values.named(target)),
        source_dataset="hatecheck",
        label_multiclass=cell_values.string(values, "label_gold"),
        is_synthetic=True,
        original_id=_number(row, "case_id"),
        split="test",
        functionality=cell_values.string(values, "functionality"),
        case_id=_number(row, "case_id"),
        reference_id=_id(_number(row, "ref_case_id")),
        cluster=f"template {template}" if template else "",
    )


def _number(row: Row, column: str) -> str:
    """Return a number as it was written; a column with gaps reads as 12.0 for 12."""
    return cell_values.string(row.values, column).removesuffix(".0")


def _id(number: str) -> str:
    return f"hatecheck-{number}" if number else ""
