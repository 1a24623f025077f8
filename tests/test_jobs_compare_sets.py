"""`hsd compare` over several sets: models told by what their runs say, sets by their posts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from posts import predictions

from hsd.errors import EvaluationError
from hsd.io.files import write_json
from hsd.io.run_identity import set_name
from hsd.report.predictions import append_predictions, find_runs
from jobs.compare import compare

BASE = "\n".join(["lgbtq n n .2", "lgbtq n h .7", "mexican h n .4", "mexican h h .6"] * 6)
TUNED = "\n".join(["lgbtq n n .2", "lgbtq n n .3", "mexican h h .8", "mexican h h .9"] * 6)
SETS = ("unified", "posts/hatecheck.csv", "other.jsonl")
ADAPTER = {"adapter": "d1" * 32}
BETTER = BASE.replace("lgbtq n h .7", "lgbtq n n .3")


def put(
    folder: str,
    of: str,
    table: str,
    model: dict[str, Any] | None = None,
    shared: int = 0,
    **identity: Any,
) -> Path:
    """Write a finished evaluation; its first `shared` posts are those of other sets too."""
    run = Path(folder) / "run_20260102_030405"
    rows = [
        replace(p, text=f"{'' if at < shared else of} {'x' * at}")
        for at, p in enumerate(predictions(table))
    ]
    append_predictions(run / "predictions.jsonl", rows)
    adapter = (model or {}).get("adapter")
    named = {"name": "owner/base"} | ({"adapter": f"runs/{adapter[:2]}"} if adapter else {})
    write_json(run / "manifest.json", {"model": named, "data": {"data_file": of}})
    given = {"base": "owner/base", "revision": "abc", "adapter": None} | (model or {})
    asked = {"prompt_hash": "0123456789ab", "mode": "score", "max_length": 1024}
    write_json(run / "identity.json", {"kind": "evaluate", "model": given} | asked | identity)
    return run


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a base and an adapter on three sets, and one on two in folders of any name."""
    monkeypatch.setenv("COLUMNS", "80")
    for of in SETS:
        put(f"base/{set_name(of)}", of, BASE, shared=4 * (of != "unified"))
        table = TUNED if of == "unified" else BETTER
        put(f"full/{set_name(of)}", of, table, {"adapter": "f0" * 32}, 4 * (of != "unified"))
    for folder, of in (("x/first", SETS[0]), ("y/second", SETS[1])):
        put(folder, of, TUNED, ADAPTER, shared=4 * (of != "unified"))


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(compare, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def models(*arguments: str) -> dict[str, Any]:
    found = json.loads(invoke(*arguments, "--json"))["by_set"]
    return {one["name"]: one for one in found["models"]}


@pytest.mark.usefixtures("runs")
def test_golden_models_by_sets(golden: Callable[[str, str], None]) -> None:
    lines = [line.rstrip() for line in invoke("base", "full", "x/first", "y/second").splitlines()]
    golden("compare_sets.txt", "\n".join(lines) + "\n")


@pytest.mark.usefixtures("runs")
def test_golden_page_of_models_by_sets(golden: Callable[[str, str], None]) -> None:
    invoke("base", "full", "x/first", "y/second", "--output", "page.md")
    golden("compare_sets.md", Path("page.md").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("runs")
def test_runs_of_one_model_are_one_row_whatever_their_folders_are_called() -> None:
    found = models("base", "x/first", "y/second")
    assert list(found) == ["owner/base", "runs/d1"]
    assert [of for of, cell in found["runs/d1"]["sets"].items() if cell] == [SETS[1], SETS[0]]


@pytest.mark.usefixtures("runs")
def test_an_adapter_that_was_trained_anew_in_its_folder_is_another_model() -> None:
    put("z", SETS[1], TUNED, {"adapter": "d1" + "e2" * 31}, shared=4)
    found = models("base", "x/first", "z")
    names = [f"runs/d1 (adapter {digest})" for digest in ("d1d1d1d1d1d1", "d1e2e2e2e2e2")]
    assert list(found) == ["owner/base", *names]


@pytest.mark.usefixtures("runs")
def test_a_hub_base_is_one_model_on_two_machines_and_in_another_number_format_another() -> None:
    model = {"files": "times of another machine"}
    put("there", "fourth.csv", BASE, model)
    assert list(models("base", "there")) == ["owner/base"]
    put("coarse", SETS[0], BASE, number_format={"dtype": "bfloat16"})
    assert list(models("base/unified", "base/other.jsonl", "coarse")) == [
        "owner/base (dtype None)",
        "owner/base (dtype bfloat16)",
    ]


@pytest.mark.usefixtures("runs")
def test_the_pages_hold_the_same_numbers_as_json() -> None:
    said = json.loads(invoke("base", "x/first", "y/second", "--json", "--output", "page.html"))
    page = Path("page.html").read_text(encoding="utf-8")
    for part in ("By set", "mean over sets", "hatecheck, 24 posts, 4 shared", "unified: runs/d1"):
        assert part in page
    assert said["by_set"]["overlaps"] == [
        {"first": SETS[1], "second": SETS[2], "in_first": 4, "in_second": 4}
    ]
    assert set(said["sets"]) == set(SETS)
    assert said["sets"][SETS[2]] is None, "one model alone is compared with nothing"
    assert said["sets"]["unified"]["comparisons"][0]["other"] == "runs/d1"


@pytest.mark.usefixtures("runs")
def test_one_model_on_several_sets_is_a_table_of_one_row() -> None:
    assert list(models("base")) == ["owner/base"]


@pytest.mark.usefixtures("runs")
def test_each_set_is_ranked_where_a_ranking_is_asked_for() -> None:
    said = json.loads(invoke("base", "x/first", "y/second", "--rank", "f1", "--json"))
    assert [one["name"] for one in said["sets"]["unified"]["leaderboard"]["standings"]] == [
        "runs/d1",
        "owner/base",
    ]


@pytest.mark.usefixtures("runs")
def test_one_set_under_two_paths_is_one_set() -> None:
    put("p", "posts.csv", BASE, shared=99)
    put("q", "/somewhere/posts.csv", TUNED, ADAPTER, shared=99)
    (pair,) = json.loads(invoke("p", "q", "--json"))["comparisons"]
    assert (pair["reference"], pair["other"]) == ("p", "q")


@pytest.mark.usefixtures("runs")
def test_what_cannot_stand_in_one_table_is_refused() -> None:
    put("again", SETS[0], TUNED, ADAPTER)
    put("fewer", SETS[0], "\n".join(TUNED.splitlines()[:9]), {"adapter": "c3" * 32})
    put("written", SETS[1], TUNED, {"adapter": "c3" * 32}, shared=4, mode="generate")
    for arguments, says in {
        ("base", "x/first", "again"): "are both of runs/d1 on unified; name one of them",
        ("base", "fewer"): "hold different posts: 15 ids only in",
        ("base", "written"): "were read differently: mode score and generate",
        ("base/other.jsonl", "x/first"): "no two of 2 models were evaluated on the same posts",
        ("base", "base/unified"): "named twice",
    }.items():
        with pytest.raises(EvaluationError, match=says):
            CliRunner().invoke(compare, arguments, catch_exceptions=False)


@pytest.mark.usefixtures("runs")
def test_a_folder_of_sets_gives_their_runs_and_no_bases_and_one_for_each_set() -> None:
    of_base = put("base/unified/base", SETS[0], BASE)
    alone = put("base/base", SETS[0], BASE)
    found = find_runs(Path("base"))
    assert len(found) == 3
    assert not {of_base, alone} & set(found)
    put("base", SETS[0], TUNED)
    with pytest.raises(EvaluationError, match="base holds 4 evaluations; name one of run_2026"):
        find_runs(Path("base"))
