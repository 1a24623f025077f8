"""Groups are data: shipped sets and group files, what falls where, and counting a run anew."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from posts import predictions

from hsd.data.hatexplain import converter as hatexplain
from hsd.data.identity_swap import SwapTerms, swaps
from hsd.data.loaded_file import example_of
from hsd.data.read_rows import Row
from hsd.data.unified import convert, to_row
from hsd.errors import ConfigError, DataError
from hsd.example import Example
from hsd.groups.group_set import (
    GroupSet,
    default_groups,
    load_groups,
    recorded_groups,
    shipped_groups,
    spelled_persona,
    text_of,
)
from hsd.groups.name_counts import name_counts
from hsd.io.files import write_json, write_jsonl
from hsd.prediction import Prediction
from hsd.report.comparison_report import compare_runs
from hsd.report.predictions import counted_in, load_run
from hsd.report.regrouping import on_shared_groups, regrouped
from hsd.report.rewriting import rewrite
from jobs.cli import hsd

OWN = """
[groups.religion]
title = "Religion"

[groups.muslim]
parent = "religion"
names = ["islam", "moslem"]
swaps.adjective = ["muslim"]

[groups.gamers]
title = "People who play games"
names = ["gaymers"]
swaps.adjective = ["gaming"]
"""


def own(text: str = OWN) -> GroupSet:
    Path("own.toml").write_text(text, encoding="utf-8")
    return load_groups("own.toml")


def row(groups: GroupSet, **values: str) -> Example:
    made = example_of(convert, Row({"text": "a", "label": "hate", **values}, "f:1"), groups)
    assert isinstance(made, Example), made
    return made


def test_the_default_is_the_three_groups_that_hsd_always_had() -> None:
    assert default_groups().names == ("lgbtq", "middle_east", "mexican")
    assert shipped_groups()[0] == "three"


@pytest.mark.parametrize(
    ("name", "groups"), [("hatexplain", 10), ("hatecheck", 7), ("toxigen", 13), ("broad", 33)]
)
def test_a_shipped_set_reads_each_of_its_own_names(name: str, groups: int) -> None:
    loaded = load_groups(name)
    assert len(loaded.names) == groups
    for group, entry in loaded.file.groups.items():
        for spelling in (group, *entry.names):
            assert group in loaded.groups_of([spelling]), spelling
        for word in (word for words in entry.swaps.values() for word in words):
            assert group in loaded.groups_of([word]), word


def test_each_published_name_has_its_own_group() -> None:
    published = {
        "hatexplain": "African|Islam|Jewish|Homosexual|Women|Refugee|Arab|Caucasian|Asian|Hispanic",
        "hatecheck": "women|trans people|gay people|black people|disabled people|Muslims|"
        "immigrants",
        "toxigen": "asian|black|chinese|jewish|latino|lgbtq|mental_dis|mexican|middle_east|muslim|"
        "native_american|physical_dis|women",
    }
    for name, names in published.items():
        groups = load_groups(name)
        found = [groups.groups_of([one]) for one in names.split("|")]
        assert sorted(group for (group,) in found) == sorted(groups.names)


def test_a_part_of_a_group_counts_in_both_and_the_wider_one_stands_first() -> None:
    groups = own()
    assert groups.groups_of(["Islam"]) == ("religion", "muslim")
    assert groups.groups_of(["religion"]) == ("religion",)
    assert groups.names == ("religion", "muslim", "gamers")


def test_a_name_that_the_default_groups_would_refuse_is_read_by_the_group_that_has_it() -> None:
    assert row(own(), target_group="Gaymers").groups == ("gamers",)


def test_a_group_file_called_three_is_read_as_any_other_file() -> None:
    Path("three.toml").write_text(OWN, encoding="utf-8")
    made = row(load_groups("three.toml"), target_group="middle_east", persona_tag="muslim")
    assert made.groups == ("religion", "muslim")
    kept = recorded_groups({"name": "three", **load_groups("three.toml").record()})
    assert row(kept, target_group="middle_east", persona_tag="muslim").groups == made.groups


def test_a_prepared_row_is_read_by_the_names_behind_its_group() -> None:
    groups = load_groups("broad")
    made = row(groups, target_group="middle_east", persona_tag="muslim")
    assert made.groups == ("religion", "muslim"), "the stored group is no name for Arabs"
    assert row(groups, target_group="other", persona_tag="Jewish|Women").groups == (
        "religion",
        "jewish",
        "gender",
        "women",
    )
    assert row(default_groups(), target_group="lgbtq", persona_tag="gay|black").groups == ("lgbtq",)


def test_every_format_reads_the_groups_that_were_asked_for() -> None:
    votes = [{"label": "hatespeech", "target": ["Women", "African"]}] * 3
    values = {"post_id": "1", "annotators": votes, "post_tokens": ["a"]}
    made = example_of(hatexplain(), Row(values, "f:1"), load_groups("hatexplain"))
    assert isinstance(made, Example)
    assert made.groups == ("african", "women"), "in the order of the set"


def test_a_spelling_is_read_in_any_case_number_and_punctuation() -> None:
    groups = own('[groups.immigrants]\n[groups.queer]\nnames = ["LGBTQ+", "Same-Sex couple"]\n')
    assert groups.groups_of(["An Immigrant"]) == ("immigrants",)
    assert groups.groups_of(["immigrants"]) == ("immigrants",)
    assert groups.groups_of(["lgbtq+ people"]) == ("queer",)
    assert groups.groups_of(["same sex couples"]) == ("queer",)


def test_a_name_of_no_group_is_other_and_listed() -> None:
    groups = own()
    made = row(groups, target_group="klingons")
    assert (made.groups, made.unknown_groups) == (("other",), ("klingons",))
    counts = name_counts([(("islam",), ""), (("klingons",), ""), ((), "")], groups)
    assert [(one.name, one.posts, one.groups) for one in counts.names] == [
        ("islam", 1, ("religion", "muslim")),
        ("klingons", 1, ("other",)),
    ]
    assert counts.sentences(groups) == [
        "3 posts: religion 1, muslim 1; other 1; about nobody 1.",
        "No post is about: gamers.",
        "1 name falls into no group, which counts as other. Put a name that you follow into a "
        "group's `names`.",
    ]


WRONG = {
    '[groups.muslim]\nparent = "religon"\n[groups.religion]\n': (
        "own.toml: groups.muslim.parent: 'religon' is no group here. Did you mean 'religion'?"
    ),
    '[groups.a]\nparent = "b"\n[groups.b]\nparent = "a"\n': "goes in a circle: a -> b -> a",
    '[groups.a]\nnames = ["x"]\n[groups.b]\nnames = ["X"]\n': (
        "groups a and b both have the spelling 'X'"
    ),
    'other = ["x"]\n[groups.a]\nnames = ["x"]\n': "groups a and other both have the spelling 'x'",
    "[groups.Women]\n": "own.toml: group 'Women': expected a name of small letters",
    "[groups.none]\n": "group 'none': this word has a meaning of its own",
    '[groups.a]\nname = ["x"]\n': "own.toml: groups.a: unknown key 'name'. Did you mean 'names'?",
    "description = 'x'\n": "own.toml: ",
    'intersections = ["a & c"]\n[groups.a]\n[groups.b]\n': "intersection 'a & c': 'c' is no group",
    '[groups.a]\nnames = ["deaf and blind"]\n': "'deaf and blind' is never read as one name",
    '[groups.a]\nswaps.x = ["W"]\n[groups.b]\nswaps.x = ["w"]\n': "both have the word 'w'",
    '[groups.a]\nswaps.adjective = "x"\n': "own.toml: groups.a.swaps.adjective",
    '[groups.a]\nnames = ["+"]\n': "group a: the spelling '+' has no letter in it",
    "[groups.a": "own.toml:1: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_group_file_is_one_line_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        own(text)
    assert WRONG[text] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("hatexplan", "Did you mean 'hatexplain'?"), ("my/groups.toml", "no such file")],
)
def test_unknown_groups_are_one_line(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match="groups: ") as error:
        load_groups(name)
    assert said in str(error.value)


def test_what_a_manifest_keeps_is_the_same_set() -> None:
    groups = own().with_intersections(["gamers & muslim"])
    again = recorded_groups(json.loads(json.dumps(groups.record())))
    assert (again.digest, again.names) == (groups.digest, groups.names)
    assert recorded_groups(None) == default_groups()


def test_a_shipped_file_is_a_file_to_begin_ones_own() -> None:
    assert own(text_of("broad")).digest == load_groups("broad").digest


def test_posts_about_both_groups_are_counted_together_where_asked() -> None:
    groups = own().with_intersections(["gamers&muslim"])
    assert groups.groups_of(["gaymers", "islam"])[-1] == "gamers & muslim"
    assert "gamers & muslim" not in groups.groups_of(["islam"])
    with pytest.raises(ConfigError, match="'gamer' is no group here"):
        own().with_intersections(["gamer & muslim"])


def test_swaps_take_the_words_of_the_groups_that_have_the_form() -> None:
    groups = own()
    original, other = swaps([Example(id="a", text="A muslim club", label="normal")], groups)
    assert (original.groups, other.text, other.groups) == (
        ("religion", "muslim"),
        "A gaming club",
        ("gamers",),
    )
    assert SwapTerms(load_groups("hatexplain")).others(SwapTerms(groups).named("muslim"))


def test_words_for_swaps_that_nothing_can_be_swapped_for_are_refused() -> None:
    groups = own('[groups.a]\nswaps.adjectiv = ["b"]\n[groups.c]\nswaps.adjective = ["d"]\n')
    with pytest.raises(DataError, match="only one group has words of the form 'adjectiv"):
        list(swaps([Example(id="a", text="b", label="hate")], groups))


def run_of(folder: str, rows: str | list[Prediction], groups: GroupSet | None = None) -> Path:
    path = Path(folder) / "run_20260102_030405"
    made = predictions(rows) if isinstance(rows, str) else rows
    write_jsonl(path / "predictions.jsonl", map(asdict, made))
    write_json(path / "manifest.json", {"groups": groups.record()} if groups else {})
    return path


HALF = "lgbtq n n .2\nlgbtq h h .8\nmexican n h .7\nmexican h h .9\n" * 8


def test_a_report_counts_a_run_s_posts_in_other_groups_without_a_model() -> None:
    groups = own(
        '[groups.them]\n[groups.queer]\nparent = "them"\nnames = ["lgbtq", "lgbtq persona"]\n'
    )
    run = load_run(run_of("a", HALF))
    counted = counted_in(run, "own.toml")
    assert {p.groups for p in counted.predictions} == {("them", "queer"), ("other",)}
    rewrite(counted, None, "not known")
    report = json.loads((run.folder / "report.json").read_text())
    assert list(report["groups"]) == ["them", "queer", "other"]
    assert report["counted_in"]["parents"] == {"queer": "them"}
    assert load_run(run.folder).groups.digest == groups.digest, "kept for the next report"
    back = counted_in(load_run(run.folder), "three")
    assert [p.groups for p in back.predictions] == [p.groups for p in run.predictions]
    header = next(run.folder.glob("performance_metrics*.csv")).read_text().splitlines()[0]
    assert "queer_fpr" in header
    assert "lgbtq_fpr" not in header


def test_a_page_of_groups_with_few_posts_says_so_and_shows_no_title_s_control_letters() -> None:
    own('[groups.lgbtq]\ntitle = "L\\u001b[31mG"\n[groups.mexican]\n')
    few = counted_in(load_run(run_of("a", "lgbtq n n .2\nmexican h h .8\n" * 2)), "own.toml")
    page = rewrite(few, None, "not known").read_text()
    assert "No group has 5 posts of a label" in page
    assert "\x1b" not in page
    enough = counted_in(load_run(run_of("b", HALF)), "own.toml")
    assert "No group has 5" not in rewrite(enough, None, "not known").read_text()


def test_runs_in_different_groups_are_compared_on_those_they_share() -> None:
    other = own('[groups.lgbtq]\nnames = ["x"]\n[groups.latin]\nnames = ["mexican"]\n')
    about = {"lgbtq": "latin", "mexican": "lgbtq"}
    rows = [replace(p, groups=(about[p.groups[0]],)) for p in predictions(HALF)]
    paths = [run_of("a", HALF), run_of("b", rows, other)]
    compared = compare_runs(paths)
    assert compared.groups_note is not None
    assert (
        "groups they share: not one. Not compared: in all of them, but with other posts: lgbtq; "
        "not in all of them: latin, mexican." in compared.groups_note
    )
    shown = {change.group for change in compared.comparisons[0].rates}
    assert shown == {"all posts", "no shared group"}
    assert compared.groups_note in compared.prompt_lines()
    assert "different groups" in compared.page()


def test_a_shared_group_is_one_with_the_same_posts_in_every_run() -> None:
    three = default_groups()
    same = own(text_of("three").replace("[groups.mexican]", "[groups.latin]"))
    rows = {"a": predictions(HALF), "b": regrouped(predictions(HALF), three, same)}
    found, note = on_shared_groups(rows, {"a": three, "b": same})
    assert note is not None
    assert "share: lgbtq, middle_east. Not compared: not in all of them: mexican." in note
    assert {p.groups for p in found["a"]} == {("lgbtq",), ("no shared group",)}


NAMES = (
    "Islam", "muslim|Women", "Jewish", "Hispanic", "gay|black", "Middle Eastern", "mexican", "Arab",
    "none", "klingons", "trans women", "African|Women|Men", "non-muslim", "refugees", "lgbtq",
)  # fmt: skip


@pytest.mark.parametrize("before", shipped_groups())
@pytest.mark.parametrize("after", shipped_groups())
def test_counting_an_evaluation_anew_is_evaluating_in_those_groups(before: str, after: str) -> None:
    first, second = load_groups(before), load_groups(after)
    rows = [
        replace(predictions("- h h")[0], named=(name,), groups=first.groups_of([name], tag),
                persona_tag=tag)
        for name in NAMES
        for tag in (spelled_persona([name]),)
    ]  # fmt: skip
    expected = [second.groups_of(row.named, row.persona_tag) for row in rows]
    assert [row.groups for row in regrouped(rows, first, second)] == expected
    older = [replace(row, named=()) for row in rows]  # of an hsd that did not keep the names
    assert [set(row.groups) for row in regrouped(older, first, second)] == list(map(set, expected))


@pytest.mark.parametrize("name", shipped_groups())
@pytest.mark.parametrize("after", shipped_groups())
def test_a_prepared_row_can_be_counted_in_any_set(name: str, after: str) -> None:
    for names in NAMES:
        raw = row(load_groups(name), target_group=names, persona_tag=names)
        again = example_of(convert, Row(to_row(raw), "f:1"), load_groups(after))
        assert isinstance(again, Example)
        expected = row(load_groups(after), target_group=names, persona_tag=names)
        assert again.groups == expected.groups, names


def test_intersections_change_no_other_group() -> None:
    both = default_groups().with_intersections(["lgbtq & mexican"])
    for named, tag in (("other", "mexican|asian"), ("lgbtq", "gay|black")):
        plain = default_groups().groups_of([named], tag)
        assert [g for g in both.groups_of([named], tag) if "&" not in g] == list(plain)


def test_a_name_that_another_set_knows_is_never_a_misspelt_one() -> None:
    assert load_groups("toxigen").groups_of(["Men"]) == ("other",)


def said(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(hsd, words)
    return found.exit_code, " ".join(found.output.split())


def test_groups_can_be_listed_shown_and_checked() -> None:
    own()
    Path("rows.jsonl").write_text('{"text": "a", "label": "hate", "target_group": "islam"}\n')
    assert "hatecheck 7" in said("groups", "list")[1]
    assert "muslim islam, moslem" in said("groups", "show", "own.toml")[1]
    code, words = said("groups", "check", "own.toml", "rows.jsonl")
    assert code == 0
    assert "islam 1 religion, muslim" in words
    assert "1 post: religion 1, muslim 1" in words
    Path("own.csv").write_text("body,label,about\na,hate,gaymers\n")
    code, words = said(
        "groups", "check", "own.toml", "own.csv", "--text-column", "body", "--group-column", "about"
    )
    assert (code, "gaymers 1 gamers" in words) == (0, True)


@pytest.mark.parametrize(
    "command",
    [
        ["data", "check", "rows.jsonl"],
        ["evaluate", "--data-file", "rows.jsonl"],
        ["prepare", "--source", "unified:rows.jsonl", "--output-dir", "out"],
        ["report", "a"],
        ["compare", "a", "b"],
        ["gate", "a"],
        ["data", "swap", "rows.jsonl", "out.jsonl"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_counts_groups_takes_them(command: Sequence[str]) -> None:
    Path("rows.jsonl").write_text('{"text": "a", "label": "hate", "target_group": "islam"}\n')
    for folder in ("a", "b"):
        run_of(folder, HALF)
    found = CliRunner().invoke(hsd, [*command, "--groups", "hatexplan"])
    assert isinstance(found.exception, ConfigError), found.output
    assert "Did you mean 'hatexplain'?" in str(found.exception)
