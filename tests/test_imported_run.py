"""A run of imported predictions is an evaluation as any other, and claims no model of hsd's."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hsd.config.loading import load_import_config
from hsd.errors import DataError, EvaluationError, PreflightError
from hsd.evaluation.imported_run import Imported, import_predictions
from hsd.io.manifest import DONE, manifest_of, update_manifest
from hsd.metrics.thresholds import Rule
from hsd.report.baseline_runs import BASELINES
from hsd.report.compare_sets import SetsComparison, compare_folders
from hsd.report.comparison_report import compare_runs
from hsd.report.model_card import write_card
from hsd.report.predictions import load_run
from hsd.report.report_file import read_report
from hsd.report.rewriting import freeze, rewrite
from jobs.cli import hsd

GROUPS = ("lgbtq", "mexican", "")


def posts(name: str, count: int = 24, first: int = 0) -> str:
    """Write invented posts, every second one hate."""
    rows = [
        {
            "id": f"p{n}",
            "text": f"{chr(97 + n % 26)}{chr(97 + n // 26)} "
            + ("should leave" if n % 2 else "bakes bread"),
            "label": "hate" if n % 2 else "normal",
            "target_group": GROUPS[n % 3],
        }
        for n in range(first, first + count)
    ]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def scores(name: str, count: int = 24, first: int = 0, scale: float = 1.0) -> str:
    """Write scores of which every sixth is on the wrong side of the middle."""
    lines = [f"p{n},{scale * score_of(n):g}" for n in range(first, first + count)]
    Path(name).write_text("\n".join(["id,score", *lines]) + "\n", encoding="utf-8")
    return name


def score_of(n: int) -> float:
    is_high = (n % 2 == 1) != (n % 6 == 0)
    return (0.6 if is_high else 0.1) + (n % 10) / 50


def imported(predictions: str, data_file: str, **options: Any) -> Imported:
    fields = {"output_dir": "runs/other"} | options
    return import_predictions(
        load_import_config(predictions=predictions, data_file=data_file, **fields)
    )


def command(*arguments: str) -> Result:
    return CliRunner().invoke(hsd, arguments, catch_exceptions=True)


def test_a_run_has_the_files_of_an_evaluation_and_no_model() -> None:
    made = imported(scores("scores.csv"), posts("posts.jsonl"), name="perspective")
    run, manifest = load_run(Path("runs/other")), manifest_of(made.folder)
    assert len(run.predictions) == 24
    assert (made.folder / "report.html").is_file()
    assert manifest["engine"] == "imported"
    assert manifest["detector"] == "perspective"
    assert manifest["source"]["file"] == "scores.csv"
    assert len(manifest["source"]["sha256"]) == 64
    assert not {"model", "prompt", "answering"} & manifest.keys()


def test_a_report_claims_nothing_that_hsd_does_not_know() -> None:
    made = imported(scores("scores.csv"), posts("posts.jsonl"), name="perspective")
    report = read_report(made.folder)
    page = (made.folder / "report.html").read_text("utf-8")
    (text,) = made.folder.glob("evaluation_report_*.txt")
    assert report.truncated_posts is None
    assert report.mean_response_time_s is None
    assert report.seen_in_training is None
    assert "Evaluation of perspective" in page
    assert "hsd did not run this detector" in page
    for words in (page, text.read_text("utf-8")):
        assert "its base" not in words
        assert "untouched base" not in words
        assert "Strategy imported" not in words
        assert "torch" not in words
        assert "likelier label" not in words
        assert "this model" not in words.lower()
        assert "strategy" not in words.lower()
    assert "This detector and baselines" in page
    (table,) = made.folder.glob("validation_results_*.csv")
    header, first = table.read_text("utf-8").splitlines()[:2]
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    assert (cells["response_time"], cells["truncated_post"], cells["status"]) == ("", "", "success")


def test_a_report_that_is_written_again_claims_no_more() -> None:
    made = imported(scores("scores.csv"), posts("posts.jsonl"))
    before = read_report(made.folder)
    run = load_run(made.folder)
    from hsd.training.training_posts import training_posts_of_run

    rewrite(run, *training_posts_of_run(run.manifest))
    assert read_report(made.folder) == before


def test_the_same_import_is_found_finished_and_another_has_a_folder_of_its_own() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    first = imported(given, data)
    again = imported(given, data)
    assert (again.folder, again.skipped) == (first.folder, True)
    other = imported(given, data, cut=0.3)
    assert other.folder != first.folder


def test_an_import_that_was_killed_is_made_whole_by_the_same_command() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    first = imported(given, data)
    (first.folder / DONE).unlink()
    again = imported(given, data)
    assert (again.folder, again.skipped) == (first.folder, False)
    assert (first.folder / DONE).is_file()


def test_the_folder_of_another_run_is_refused_and_a_refused_import_leaves_nothing() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    first = imported(given, data)
    with pytest.raises(PreflightError, match="belongs to another run"):
        imported(given, data, output_dir=str(first.folder), name="elsewhere")
    with pytest.raises(DataError, match="have no prediction"):
        imported(scores("few.csv", 3), data, output_dir="runs/few")
    assert not Path("runs/few").exists()


def test_a_changed_file_of_predictions_is_another_import() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    first = imported(given, data)
    Path(given).write_text(Path(given).read_text().replace("p0,0.6", "p0,0.61"))
    assert imported(given, data).folder != first.folder


def test_an_imported_run_is_compared_with_a_run_of_hsd_whatever_its_mode() -> None:
    data = posts("posts.jsonl")
    one = imported(scores("scores.csv"), data, output_dir="runs/one").folder
    two = imported(scores("scores.csv"), data, output_dir="runs/two", cut=0.2).folder
    identity = json.loads((two / "identity.json").read_text()) | {"mode": "score"}
    (two / "identity.json").write_text(json.dumps(identity))
    update_manifest(two, engine=None)
    compared = compare_runs([one, two])
    assert compared.prompt_lines() == [
        f"prompt of {one}: imported; how the detector was asked is not known",
        f"prompt of {two}: unknown; mode score",
    ]


def test_a_table_by_set_names_detectors_and_joins_their_sets() -> None:
    data = {"first": posts("first.jsonl"), "second": posts("second.jsonl", first=50)}
    for detector, cut in (("perspective", None), ("strict", 0.2)):
        for at, (name, file) in enumerate(data.items()):
            given = scores(f"{name}.csv", first=50 * at)
            imported(given, file, output_dir=f"runs/{detector}/{name}", name=detector, cut=cut)
    folders = [Path(f"runs/{d}/{n}") for d in ("perspective", "strict") for n in data]
    compared = compare_folders(folders)
    assert isinstance(compared, SetsComparison)
    assert [row.name for row in compared.by_set.rows] == ["perspective", "strict"]
    assert [len(row.cells) for row in compared.by_set.rows] == [2, 2]


def test_a_threshold_is_chosen_on_another_import_of_the_same_detector_alone() -> None:
    test = imported(scores("test.csv"), posts("test.jsonl"), name="one", output_dir="runs/test")
    validation = posts("validation.jsonl", first=100)
    given = scores("validation.csv", first=100)
    options = {"output_dir": "runs/validation"}
    chosen = imported(given, validation, name="one", **options)
    other = imported(given, validation, name="two", **options)
    rule = Rule("max_f1")
    with pytest.raises(EvaluationError, match=r"detector two and runs/test.*detector one: a thr"):
        freeze(load_run(other.folder), load_run(test.folder), rule)
    update_manifest(other.folder, engine=None)
    with pytest.raises(EvaluationError, match=r"is of a model that hsd asked and .*detector one: "):
        freeze(load_run(other.folder), load_run(test.folder), rule)
    point = freeze(load_run(chosen.folder), load_run(test.folder), rule)
    assert 0.2 < point.threshold < 0.7


def test_ranks_have_an_area_and_no_calibration_not_even_at_a_threshold() -> None:
    options: dict[str, Any] = {"name": "one", "scores": "rank", "cut": 30}
    test = imported(
        scores("test.csv", scale=60), posts("test.jsonl"), output_dir="runs/test", **options
    )
    validation = imported(
        scores("validation.csv", first=100, scale=60),
        posts("validation.jsonl", first=100),
        output_dir="runs/validation",
        **options,
    )
    point = freeze(load_run(validation.folder), load_run(test.folder), Rule("max_f1"))
    assert point.temperature == 1.0
    run = load_run(test.folder)
    rewrite(run, None, "nobody knows")
    report = read_report(test.folder)
    assert report.headline.auroc is not None
    assert report.calibration is None
    assert report.calibration_by_group == {}
    assert report.operating_point is not None
    assert report.operating_point.calibration is None
    assert any("ranks, and no probabilities" in said for said in report.not_measured)


def test_a_threshold_is_said_in_the_scale_of_the_file() -> None:
    options: dict[str, Any] = {"name": "one", "scores": "rank", "cut": 30}
    for name, first in (("test", 0), ("validation", 100)):
        given = scores(f"{name}.csv", first=first, scale=60)
        data = posts(f"{name}.jsonl", first=first)
        imported(given, data, output_dir=f"runs/{name}", **options)
    said = command("threshold", "runs/validation", "runs/test")
    assert said.exit_code == 0, said.output
    test = load_run(Path("runs/test")).folder
    own = json.loads((test / "operating_point.json").read_text())["own_scale"]
    cut = float(own.removeprefix("hate from ").removesuffix(" on"))
    assert 12 < cut < 47  # scores of the validation posts, in the file, are 6 to 16.8, 36 to 46.8
    assert f"In the file's own scale: {own}." in said.output
    assert own in (test / "report.html").read_text("utf-8")
    again = command("threshold", "runs/validation", "runs/test")
    assert again.exit_code == 0, again.output


def test_missing_predictions_take_the_area_away_and_count_as_wrong() -> None:
    given = Path(scores("scores.csv"))
    given.write_text(given.read_text().replace(f"p5,{score_of(5):g}\n", ""))
    made = imported(str(given), posts("posts.jsonl"), missing="unreadable")
    report = read_report(made.folder)
    assert (report.headline.n, report.headline.auroc) == (24, None)
    assert report.outcomes.invalid == 1
    assert any("not all imported predictions have one" in said for said in report.not_measured)


def test_a_card_is_not_written_from_imported_predictions(tmp_path: Path) -> None:
    made = imported(scores("scores.csv"), posts("posts.jsonl"))
    (tmp_path / "manifest.json").write_text("{}")
    for adapter in (tmp_path, made.folder):
        with pytest.raises(EvaluationError, match="a card is of an adapter; this run is imported"):
            write_card(adapter, made.folder)


def test_an_imported_run_has_no_base_and_is_none() -> None:
    data = posts("posts.jsonl")
    one = imported(scores("scores.csv"), data, output_dir="runs/one").folder
    two = imported(scores("scores.csv"), data, output_dir="runs/two", cut=0.2).folder
    said = command("report", str(one), "--base", str(two))
    assert isinstance(said.exception, EvaluationError)
    assert "is imported, and has no base; `hsd compare" in str(said.exception)
    update_manifest(one, engine=None)
    said = command("report", str(one), "--base", str(two))
    assert "is imported, and a base is the original model of" in str(said.exception)
    assert f"hsd gate {one} --reference {two}" in str(said.exception)


@pytest.mark.parametrize("name", ["report", "gate"])
def test_a_baseline_of_an_imported_run_learns_the_posts_that_are_named(name: str) -> None:
    made = imported(scores("scores.csv"), posts("posts.jsonl"))
    asked = (name, str(made.folder), "--baseline", "tfidf")
    refused = command(*asked)
    assert "a baseline learns the run's training posts" in str(refused.exception)
    assert str(refused.exception).endswith("If you have these posts, add --train-file FILE.")
    said = command(*asked, "--train-file", posts("learned.jsonl", first=24))
    assert said.exit_code in (0, 20, 21), said.exception
    assert (made.folder / BASELINES / "tfidf" / "manifest.json").exists()


def test_the_command_says_how_the_file_was_read_and_where_the_run_is() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    arguments = ("import", given, "--data-file", data, "--output-dir", "runs/other")
    said = command(*arguments, "--name", "perspective")
    assert said.exit_code == 0, said.output
    assert "perspective" in said.output.splitlines()[0]
    assert "Note: scores.csv: read as a table: id in 'id', score in 'score'" in said.output
    assert "Written: runs/other/run_" in said.output
    assert "Was finished before: " in command(*arguments, "--name", "perspective").output


def test_a_second_file_of_posts_is_refused_and_not_dropped() -> None:
    given, data = scores("scores.csv"), posts("posts.jsonl")
    said = command("import", given, "--data-file", "other.jsonl", "--data-file", data)
    assert said.exit_code == 2
    assert "given 2 times; one import is of one file of posts" in said.output


def test_labels_of_posts_and_of_predictions_each_have_their_own_meanings() -> None:
    Path("posts.csv").write_text(
        "key,body,kind\n" + "".join(f"{n},post {chr(97 + n)},{'bg'[n % 2]}\n" for n in range(6))
    )
    Path("labels.csv").write_text(
        "key,said\n" + "".join(f"{n},{'yn'[n in (1, 2, 3)]}\n" for n in range(6))
    )
    said = command(
        "import", "labels.csv", "--data-file", "posts.csv", "--output-dir", "runs/other",
        "--id-column", "key", "--label-column", "said", "--labels", "hate=y", "normal=n",
        "--data-id-column", "key", "--data-text-column", "body", "--data-label-column", "kind",
        "--data-labels", "hate=b", "normal=g",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    run = load_run(Path("runs/other"))
    assert "".join(p.true_label[0] for p in run.predictions) == "hnhnhn"
    assert "".join((p.label or "-")[0] for p in run.predictions) == "hnnnhh"


def test_an_intersection_asked_of_a_finished_run_is_not_dropped_in_silence() -> None:
    data, given = posts("posts.jsonl"), scores("scores.csv")
    first = imported(given, data)
    again = imported(given, data)
    assert (again.skipped, again.notes) == (True, first.notes)
    other = imported(given, data, intersections=["lgbtq & mexican"])
    assert other.skipped
    assert [note for note in other.notes if note not in first.notes] == [
        f"{first.folder} was finished with other groups or intersections, and was not counted "
        "again; give --groups or --intersection to hsd report."
    ]
