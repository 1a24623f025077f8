"""Labels are scored by a server's log-probabilities, or the server is refused."""

from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, config, served
from click.testing import CliRunner
from completions import completion, scored_completion

from hsd.errors import ConfigError, ModelError
from hsd.io.json_reader import read_objects
from hsd.io.manifest import manifest_of
from hsd.predict.predict_file import predict_file
from hsd.predict.predict_job import PredictJob
from hsd.report.comparability import asked_of, provenance_of
from hsd.report.predictions import load_run
from hsd.report.report_file import read_report
from jobs.cli import hsd

asked = chat_service.asked
ONE = {"concurrency": 1}
OUT = Path("scores.jsonl")


def scoring(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Answer with P(hate) .9 for posts that hold `leave`, else .2."""
    return 200, {}, scored_completion(0.9 if "leave" in chat_service.post_of(request) else 0.2)


def test_every_row_has_a_score_and_the_likelier_label(asked: Asked) -> None:
    asked.answer = scoring
    folder = served(asked, mode="score")
    rows = load_run(folder).predictions
    assert [p.score for p in rows] == pytest.approx([0.2, 0.9] * 3)
    assert [p.label for p in rows] == ["normal", "hate"] * 3
    assert read_report(folder).headline.auroc is not None
    assert {(r["logprobs"], r["top_logprobs"]) for r in asked.requests} == {(True, 20)}


def test_the_report_says_where_the_scores_come_from(asked: Asked) -> None:
    asked.answer = scoring
    folder = served(asked, mode="score", server={"top_logprobs": 5})
    said = (
        "the 5 likeliest tokens at the label's first token, behind the opening that the model "
        "wrote itself"
    )
    assert provenance_of(folder)["scores_from"] == said
    assert asked_of(folder).words().endswith("mode score, temperature 0, answered by a server")
    assert said.replace("'", "&#39;") in (folder / "report.html").read_text()


def test_a_server_without_log_probabilities_is_refused_after_one_question(asked: Asked) -> None:
    with pytest.raises(ConfigError) as refused:
        served(asked, mode="score")
    assert str(refused.value) == (
        f"mode: {asked.url}: the server sent no log-probabilities, so nothing can be scored; leave "
        "--mode score out."
    )
    assert len(asked.requests) == 1
    assert not Path("runs").exists()


NAN = scored_completion(0.9)
NAN["choices"][0]["logprobs"]["content"][1]["top_logprobs"][1]["logprob"] = "nan"
ALONE = scored_completion(0.9, z=0.1)
ALONE["choices"][0]["logprobs"]["content"][1]["top_logprobs"].pop()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (scored_completion(0.9, z=0.1), "'normal' does not begin one of the 2 likeliest tokens"),
        (ALONE, "'normal' does not begin the one token that the server sent"),
        (NAN, "the server's log-probabilities are no numbers"),
    ],
)
def test_log_probabilities_without_both_labels_are_refused_after_one_question(
    asked: Asked, answer: dict[str, Any], why: str
) -> None:
    asked.answer = lambda _: (200, {}, answer)
    with pytest.raises(ConfigError, match=why) as refused:
        served(asked, mode="score")
    assert str(refused.value).endswith(
        "; raise server.top_logprobs (it is 20), if the server can send more tokens, or leave "
        "--mode score out."
    )
    assert len(asked.requests) == 1


def test_a_server_that_refuses_log_probabilities_is_refused_in_its_turn(asked: Asked) -> None:
    def strict(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        for name in ("logprobs", "top_logprobs"):
            if name in request:
                return 400, {}, {"error": {"message": f"{name} is not supported"}}
        return chat_service.honest(request)

    asked.answer = strict
    with pytest.raises(ConfigError, match="sent no log-probabilities"):
        served(asked, mode="score")


def test_more_likely_tokens_than_a_server_allows_are_refused_in_its_words(asked: Asked) -> None:
    said = "Requested sample top_logprobs of 50, which is greater than max allowed: 20"
    asked.answer = lambda _: (400, {}, {"error": {"message": said}})
    with pytest.raises(ModelError, match="greater than max allowed: 20"):
        served(asked, mode="score", server={"top_logprobs": 50})


def test_a_row_without_a_score_holds_no_label_and_is_counted(asked: Asked) -> None:
    asked.answer = scoring
    alone: Any = (200, {}, scored_completion(0.9, z=0.1))
    asked.script = [scoring, alone, (200, {}, completion("no idea"))]
    folder = served(asked, mode="score", server=ONE)
    first, second, *_ = load_run(folder).predictions
    assert (first.outcome, first.label, first.score) == ("invalid", None, None)
    assert first.reply == '{"classification": "hate"}'
    assert (second.outcome, second.score) == ("invalid", None)
    reason = "no score: 'normal' does not begin one of the 2 likeliest tokens of the label"
    assert manifest_of(folder)["answering"]["unscored"] == {reason: 1}
    assert reason in provenance_of(folder)["notes"]
    report = read_report(folder)
    assert (report.outcomes.invalid, report.headline.auroc) == (2, None)


def test_the_terminal_and_the_reports_say_why_there_is_no_auroc(asked: Asked) -> None:
    asked.answer = scoring
    asked.script = [scoring, (200, {}, completion("no idea"))]
    flags = ["--engine", "openai", "--base-url", asked.url, "--model-name", "served"]
    flags += ["--data-file", chat_service.posts(), "--mode", "score", "--concurrency", "1"]
    shown = CliRunner().invoke(hsd, ["evaluate", *flags, "--output-dir", "runs/served"])
    said = "they need a score for every post, and 1 of 6 posts has none."
    assert f"Not measured: AUROC, calibration and thresholds: {said}" in " ".join(
        shown.output.split()
    )
    (text,) = Path("runs/served").rglob("evaluation_report_*.txt")
    (page,) = Path("runs/served").rglob("report.html")
    for file in (text, page):
        assert said in " ".join(file.read_text().split())


def test_a_table_has_scores_and_its_threshold_cuts_them(asked: Asked) -> None:
    asked.answer = scoring
    job = PredictJob(config=config(asked, mode="score"), output=str(OUT), threshold=0.95)
    predict_file(job)
    rows = read_objects(OUT)
    assert [row["hsd_score"] for row in rows] == pytest.approx([0.2, 0.9] * 3)
    assert {row["hsd_label"] for row in rows} == {"normal"}


def test_a_scored_reply_may_have_its_rationale_in_the_table(asked: Asked) -> None:
    asked.answer = scoring
    wanted = config(asked, mode="score")
    predict_file(PredictJob(config=wanted, output=str(OUT), rationale=True))
    assert "hsd_rationale" in read_objects(OUT)[0]


def test_a_refused_table_leaves_no_folder_so_that_replies_can_be_asked_for(asked: Asked) -> None:
    with pytest.raises(ConfigError, match="sent no log-probabilities"):
        predict_file(PredictJob(config=config(asked, mode="score"), output=str(OUT)))
    predict_file(PredictJob(config=config(asked), output=str(OUT)))
    assert len(read_objects(OUT)) == 6


def test_a_table_says_why_a_row_has_no_score(asked: Asked) -> None:
    asked.answer = scoring
    asked.script = [scoring, (200, {}, scored_completion(0.9, z=0.1))]
    predict_file(PredictJob(config=config(asked, mode="score", server=ONE), output=str(OUT)))
    first = read_objects(OUT)[0]
    assert (first["hsd_outcome"], first["hsd_label"]) == ("invalid", None)
    assert first["hsd_reason"].startswith("no score: 'normal' does not begin")
