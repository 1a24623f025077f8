import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from posts import predictions
from test_report_page import SCORED, everything

from hsd.errors import EvaluationError
from hsd.metrics.evaluation import summarize
from hsd.prediction import Prediction
from hsd.report.comparability import RunSettings
from hsd.report.context import ReportContext
from hsd.report.evaluation_files import csv_text, guarded, write_evaluation
from hsd.report.evaluation_report import evaluation_report
from hsd.report.text_report import text_report

TIMES = 5
TABLE = """
    lgbtq          n n .2
    lgbtq          n h .6
    lgbtq          h h .9
    lgbtq+mexican  h n .4
    mexican        h refusal .8
    mexican        n n .1
    -              n invalid .3
    -              h h .7
"""
ROWS = predictions(TABLE.rstrip() * TIMES)
PROVENANCE = {
    "model": {"name": "tiny", "adapter": None},
    "data": {"file": "invented.jsonl", "rows": 40},
    "prompt_hash": "0123456789ab",
}
STAMP = "20260102_030405"
PROMISED = {
    "validation_results": "strategy,input_text,true_label,predicted_label,response_time,rationale,"
    "target_group_norm,persona_tag,source_dataset,status",
    "performance_metrics": "strategy,accuracy,precision,recall,f1_score,true_positive,"
    "true_negative,false_positive,false_negative,lgbtq_fpr,lgbtq_fnr,lgbtq_samples,"
    "middle_east_fpr,middle_east_fnr,middle_east_samples,mexican_fpr,mexican_fnr,mexican_samples",
    "bias_metrics": "strategy,persona_tag,sample_count,false_positive_rate,false_negative_rate,"
    "true_positive,true_negative,false_positive,false_negative",
    "test_samples": "text",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_evaluation(tmp_path / "run", ROWS, PROVENANCE, STAMP)
    return tmp_path / "run"


def report_of(rows: list[Prediction], provenance: dict[str, Any] | None = None) -> str:
    return text_report(evaluation_report(summarize(rows), provenance or {}, ReportContext()))


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}_{STAMP}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_evaluation_is_exactly_the_promised_files_and_ours(folder: Path) -> None:
    names = {f"{name}_{STAMP}.csv" for name in PROMISED}
    assert {p.name for p in folder.iterdir()} == {
        *names,
        f"evaluation_report_{STAMP}.txt",
        "report.html",
        "report.json",
    }


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_columns_come_first_and_in_order(folder: Path, name: str) -> None:
    header = (folder / f"{name}_{STAMP}.csv").read_text().splitlines()[0]
    assert header == PROMISED[name] or header.startswith(PROMISED[name] + ",")


def test_validation_results_have_a_row_a_post(folder: Path) -> None:
    rows = table(folder, "validation_results")
    assert [row["id"] for row in rows] == [p.id for p in ROWS]
    assert rows[3]["target_group_norm"] == "lgbtq|mexican"
    assert rows[3]["response_time"] == "0.25"
    unread = rows[4]
    assert (unread["predicted_label"], unread["status"]) == ("", "error")
    assert unread["outcome"] == "refusal"
    assert rows[0]["status"] == "success"


def test_performance_metrics_hold_hand_computed_numbers(folder: Path) -> None:
    (row,) = table(folder, "performance_metrics")
    assert row["strategy"] == "standard"
    # tp 10, tn 10; fp: five called hate, five unread; fn: five called normal, five unread.
    cells = ("true_positive", "true_negative", "false_positive", "false_negative")
    assert [row[cell] for cell in cells] == ["10", "10", "10", "10"]
    assert float(row["accuracy"]) == float(row["f1_score"]) == 0.5
    assert (row["lgbtq_fpr"], row["lgbtq_fnr"], row["lgbtq_samples"]) == ("0.5", "0.5", "20")
    assert (row["mexican_fpr"], row["mexican_fnr"], row["mexican_samples"]) == ("0.0", "1.0", "15")
    assert (row["none_fpr"], row["none_samples"]) == ("1.0", "10")
    assert (row["drop_samples"], row["replies_refusal"], row["replies_valid"]) == ("30", "5", "30")


def test_a_group_that_does_not_occur_has_empty_rates_and_no_samples(folder: Path) -> None:
    (row,) = table(folder, "performance_metrics")
    assert (row["other_fpr"], row["other_fnr"], row["other_samples"]) == ("", "", "0")


def test_bias_metrics_are_by_persona_and_add_up(folder: Path) -> None:
    rows = {row["persona_tag"]: row for row in table(folder, "bias_metrics")}
    assert rows.keys() == {"lgbtq_persona", "mexican_persona", "none"}
    assert sum(int(row["sample_count"]) for row in rows.values()) == len(ROWS)
    lgbtq = rows["lgbtq_persona"]
    assert (lgbtq["sample_count"], lgbtq["false_positive_rate"]) == ("20", "0.5")
    assert float(lgbtq["false_positive_rate_low"]) < 0.5 < float(lgbtq["false_positive_rate_high"])


def test_every_evaluation_has_the_same_performance_columns(tmp_path: Path, folder: Path) -> None:
    write_evaluation(tmp_path / "small", predictions("lgbtq n n"), {}, STAMP)
    small, full = (table(f, "performance_metrics")[0] for f in (tmp_path / "small", folder))
    assert set(full) - set(small) == {"none_fpr", "none_fnr", "none_samples"}
    assert set(small) <= set(full)


@pytest.mark.parametrize("start", [*"=+-@＝＋－＠", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_run_gets_a_quote(start: str) -> None:
    assert guarded(f"{start}cmd()") == f"'{start}cmd()"


@pytest.mark.parametrize(
    "post",
    [
        "nice day;=cmd|'/c calc'!A0;bye",
        'quoted;"=cmd(1)";bye',
        "two lines\n=HYPERLINK(1)",
        "a tab\t@SUM(1)",
        "wide;＝1+1",
        "a;+1+cmd(1)",
        "a;-2+3+cmd(1)",
        "\r\n=1+1",
    ],
)
@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_no_cell_is_a_formula_where_semicolons_or_tabs_part_cells(
    post: str, delimiter: str
) -> None:
    written = csv_text([{"strategy": "s", "input_text": post, "id": "1"}])
    for row in csv.reader(io.StringIO(written, newline=""), delimiter=delimiter):
        assert not [cell for cell in row if cell.lstrip('"').startswith(tuple("=+-@＝＋－＠"))]


@pytest.mark.parametrize("post", ["fine ;-) today", "well;-P", "a list:\n- one\n- two", "a;b=c"])
def test_faces_and_lists_stay_as_they_are(post: str) -> None:
    assert guarded(post) == post


def test_numbers_and_harmless_text_stay_as_they_are() -> None:
    assert [guarded(v) for v in (-0.5, 3, None, "a = b", "")] == [-0.5, 3, None, "a = b", ""]


def test_an_attackers_post_is_one_guarded_cell_in_every_csv(tmp_path: Path) -> None:
    post = '=cmd()|"x",\n<script>y</script>'
    rows = [replace(ROWS[0], text=post, reply="@x", rationale="+1", groups=("=g",))]
    write_evaluation(tmp_path, rows, {}, STAMP)
    row = table(tmp_path, "validation_results")[0]
    assert (row["input_text"], row["reply"], row["rationale"]) == (f"'{post}", "'@x", "'+1")
    assert row["target_group_norm"] == "'=g"
    assert "'=g_fpr" in table(tmp_path, "performance_metrics")[0]
    assert table(tmp_path, "test_samples")[0]["text"] == f"'{post}"


def test_csv_text_writes_absent_values_as_empty_cells() -> None:
    assert csv_text([{"a": None, "b": 0.0}]) == "a,b\n,0.0\n"


@given(
    st.lists(
        st.text(st.sampled_from("=-@'\", \t\r\nab;\0\x0b\u2028"), min_size=1),
        min_size=1,
        max_size=4,
    )
)
@example(["hello\r=HYPERLINK(1)"])
@example(["a\n=b", "\r\n=c", "\r"])
def test_a_post_is_one_whole_cell_for_csv_and_pandas_whatever_ends_its_lines(
    posts: list[str],
) -> None:
    written = csv_text([{"post": post, "id": str(n)} for n, post in enumerate(posts)])
    cells = [str(guarded(post)) for post in posts]
    assert [row["post"] for row in csv.DictReader(io.StringIO(written, newline=""))] == cells
    table = pd.read_csv(io.BytesIO(written.encode()), dtype=str, keep_default_na=False)
    assert table["post"].tolist() == cells
    assert table["id"].tolist() == [str(n) for n in range(len(posts))]


def test_report_json_is_what_was_returned_and_holds_the_numbers_of_the_csv(tmp_path: Path) -> None:
    returned = write_evaluation(tmp_path, ROWS, PROVENANCE, STAMP)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == returned.model_dump(mode="json", by_alias=True)
    assert written["schema"] == 3
    unknown = "the evaluation does not know what the model was trained on"
    assert written["provenance"] == {**PROVENANCE, "training_rows": unknown}
    (row,) = table(tmp_path, "performance_metrics")
    assert written["headline"]["accuracy"] == float(row["accuracy"])
    assert written["headline"]["auroc"] == float(row["auroc"])
    assert written["intervals"]["f1"] == [float(row["f1_low"]), float(row["f1_high"])]
    assert written["groups"]["lgbtq"]["false_positive_rate"]["value"] == float(row["lgbtq_fpr"])
    assert sum(written["outcomes"].values()) == written["headline"]["n"] == len(ROWS)


def test_golden_text_report(golden: Callable[[str, str], None]) -> None:
    golden("evaluation_report.txt", report_of(ROWS, PROVENANCE))


def test_golden_text_report_with_everything(golden: Callable[[str, str], None]) -> None:
    beside = everything(SCORED)
    beside = replace(beside, base_asked=RunSettings("0123456789abcdef", "score", 1024, 0.0))
    found = summarize(SCORED, beside.training, beside.point, beside.base)
    golden("evaluation_report_whole.txt", text_report(evaluation_report(found, {}, beside)))


def test_the_text_report_quotes_no_post_and_keeps_provenance_on_its_line() -> None:
    report = report_of(ROWS, {"model": {"name": "two\nlines"}})
    assert "model.name        two lines\n" in report
    for post in ROWS:
        assert post.text not in report


def test_the_order_of_rows_changes_no_report() -> None:
    backwards = list(reversed(ROWS))
    assert report_of(backwards) == report_of(ROWS)


def test_an_evaluation_of_no_rows_or_two_strategies_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no predictions at all"):
        summarize([])
    mixed = [ROWS[0], replace(ROWS[1], strategy="conservative")]
    with pytest.raises(EvaluationError, match="these rows hold: conservative, standard"):
        summarize(mixed)
