"""Baselines that learn a run's own training posts, and stand beside it as runs of their own."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import tiny
from posts import predictions
from small_runs import posts

from hsd.errors import EvaluationError, InUseError, ModelError, PreflightError
from hsd.evaluation.baseline_run import Kind, baseline_run
from hsd.evaluation.encoder_scores import encoder_scores
from hsd.example import Label
from hsd.hub.cache import cache
from hsd.io.files import write_jsonl
from hsd.io.json_reader import read_json
from hsd.io.lease import hold_lease
from hsd.metrics.baselines import Training
from hsd.report.baseline_runs import baselines_of, name_of
from hsd.report.predictions import Run, load_run
from hsd.report.rewriting import rewrite
from hsd.training import sentence_encoder
from hsd.training.sentence_encoder import EncoderSettings, encoder_digest

pytestmark = pytest.mark.model

LEARNED = posts(40)
TRAINING = Training(
    [row["text"] for row in LEARNED],
    [row["label"] for row in LEARNED],
    "train.jsonl, 40 posts",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EncoderSettings:
    folder = tiny.encoder(tmp_path_factory.mktemp("encoder"))
    return EncoderSettings(str(folder), epochs=6, batch_size=8, learning_rate=3e-3)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An evaluation that got every second post wrong."""
    judged = [
        replace(p, text=f"today {row['text']}", true_label=row["label"])
        for p, row in zip(
            predictions("lgbtq n n .4\nlgbtq h n .4\n" * 12), posts(24, 100), strict=True
        )
    ]
    folder = tmp_path / "run_20260102_030405"
    write_jsonl(folder / "predictions.jsonl", map(asdict, judged))
    return load_run(folder)


def test_an_encoder_learns_the_training_posts_and_is_kept_as_a_run(
    run: Run, settings: EncoderSettings
) -> None:
    folder = baseline_run(run, "encoder", TRAINING, "", settings)
    found = load_run(folder)
    assert [p.id for p in found.predictions] == [p.id for p in run.predictions]
    assert sum(p.is_right for p in found.predictions) > 20  # a word tells these posts apart
    manifest = read_json(folder / "manifest.json")
    assert manifest["cost"]["train_seconds"] > 0
    assert "40 training rows" in manifest["model"]["name"]
    before = (folder / "predictions.jsonl").stat().st_mtime_ns
    assert baseline_run(run, "encoder", TRAINING, "", settings) == folder
    assert (folder / "predictions.jsonl").stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_encoder(settings: EncoderSettings) -> None:
    texts = [row["text"] for row in posts(5, 200)]
    first = encoder_scores(TRAINING, texts, settings).scores
    shutil.rmtree(cache("encoders"))
    assert encoder_scores(TRAINING, texts, settings).scores == first
    assert encoder_scores(TRAINING, texts[::-1], settings).scores[::-1] == pytest.approx(first)


def test_an_encoder_learns_the_same_posts_once(settings: EncoderSettings) -> None:
    texts = [row["text"] for row in posts(5, 200)]
    first = encoder_scores(TRAINING, texts, settings)
    again = encoder_scores(TRAINING, texts, settings)
    assert (again.scores, again.train_seconds) == (first.scores, first.train_seconds)
    flipped: list[Label] = ["normal" if label == "hate" else "hate" for label in TRAINING.labels]
    other = encoder_scores(replace(TRAINING, labels=flipped), texts, settings)
    assert other.scores != first.scores
    assert len(list(cache("encoders").iterdir())) == 2


def test_an_encoder_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [row["text"] for row in posts(12, 300)]
    whole = encoder_scores(TRAINING, texts, settings).scores
    shutil.rmtree(cache("encoders"))
    monkeypatch.setattr(sentence_encoder, "KEEP_EVERY_S", 0.0)
    steps: list[int] = []

    def stop(done: int, total: int, what: str) -> None:  # noqa: ARG001
        steps.append(done)
        if len(steps) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder_scores(TRAINING, texts, settings, stop)
    (half,) = cache("encoders").glob(f"{sentence_encoder.HALF}*")
    assert [folder.name for folder in half.glob("checkpoint-*")] == ["checkpoint-6"]
    found = encoder_scores(TRAINING, texts, settings, stop)
    assert steps[:9] == [*range(1, 8), 7, 8], "goes on behind the checkpoint"
    assert found.scores == whole
    assert found.train_seconds > 0
    assert not list(cache("encoders").glob(f"{sentence_encoder.HALF}*"))


def test_an_encoder_that_did_not_learn_to_the_end_is_not_kept(settings: EncoderSettings) -> None:
    def stop(done: int, total: int, what: str) -> None:  # noqa: ARG001
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder_scores(TRAINING, ["a"], settings, stop)
    assert not [*cache("encoders").glob("*"), *cache("encoders").glob(".*")]


def test_a_baseline_of_the_run_stands_in_its_report(run: Run) -> None:
    folder = baseline_run(run, "tfidf", TRAINING, "")
    assert list(baselines_of(run)) == [name_of(folder)]
    rewrite(run, TRAINING, "")
    names = [b["name"] for b in json.loads((run.folder / "report.json").read_text())["baselines"]]
    assert names == ["always hate", "majority of training rows (normal)", name_of(folder)]


def test_a_baseline_that_another_process_makes_is_not_made_twice(run: Run) -> None:
    folder = run.folder / "baselines" / "tfidf"
    with (
        hold_lease(folder, "hsd report"),
        pytest.raises(InUseError, match="is in use: hsd report "),
    ):
        baseline_run(run, "tfidf", TRAINING, "")
    assert baseline_run(run, "tfidf", TRAINING, "") == folder
    assert not list(folder.glob(".lease*"))
    with hold_lease(run.folder, "hsd evaluate"), hold_lease(folder, "hsd report"):
        rewrite(run, TRAINING, "")
        assert baseline_run(run, "tfidf", TRAINING, "") == folder, "it is finished"


def test_without_training_posts_there_is_no_baseline(run: Run) -> None:
    with pytest.raises(
        EvaluationError, match=r"training posts; the file is gone\. If .+ --train-file"
    ):
        baseline_run(run, "encoder", None, "the file is gone")
    assert not (run.folder / "baselines").exists()


def test_a_baseline_that_learned_other_posts_is_not_taken_for_this_one(run: Run) -> None:
    folder = baseline_run(run, "tfidf", TRAINING, "")
    other = replace(TRAINING, texts=TRAINING.texts[::-1], origin="other.jsonl (as named)")
    with pytest.raises(PreflightError) as refused:
        baseline_run(run, "tfidf", other, "")
    assert str(refused.value) == (
        f"{folder}: this baseline was trained on other posts (train.jsonl, 40 posts) than those of "
        f"other.jsonl (as named). To train it on these, remove {folder} first."
    )
    shutil.rmtree(folder)
    assert baseline_run(run, "tfidf", other, "") == folder


@pytest.mark.parametrize("kind", ["tfidf", "encoder"])
def test_a_baseline_does_not_learn_the_posts_that_it_is_judged_on(run: Run, kind: Kind) -> None:
    judged = [p.text.upper() for p in run.predictions]
    learned = Training(judged, [p.true_label for p in run.predictions], "test.jsonl (as named)")
    with pytest.raises(EvaluationError, match=r"24 of 24 evaluated posts .+ \(test\.jsonl"):
        baseline_run(run, kind, learned, "")
    assert not (run.folder / "baselines").exists()


def test_the_name_of_a_baseline_says_how_many_evaluated_posts_it_learned(run: Run) -> None:
    texts = [*TRAINING.texts[:-3], *(p.text for p in run.predictions[:3])]
    named = name_of(baseline_run(run, "tfidf", replace(TRAINING, texts=texts), ""))
    assert named.endswith("(40 training rows, 12 of 24 evaluated posts among them)")


def test_a_launchers_environment_changes_no_score(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [row["text"] for row in posts(5, 200)]
    alone = encoder_scores(TRAINING, texts, settings).scores
    shutil.rmtree(cache("encoders"))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert encoder_scores(TRAINING, texts, settings).scores == alone


def test_an_encoder_that_changed_under_its_name_is_another_baseline(
    settings: EncoderSettings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(settings.name, tmp_path / "own"))
    before = encoder_digest(str(folder))
    assert before == encoder_digest(settings.name)
    tiny.encoder(folder, seed=1)
    assert encoder_digest(str(folder)) != before


@pytest.mark.parametrize("name", ["no/such/folder/here", "pypi:no-such-package"])
def test_an_encoder_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}'"):
        encoder_scores(TRAINING, ["a"], EncoderSettings(name))


def test_a_language_model_is_no_sentence_encoder(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="llama is no sentence encoder"):
        encoder_scores(TRAINING, ["a"], EncoderSettings(str(tiny_llama)))
