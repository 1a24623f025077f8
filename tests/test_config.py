"""How configs are read: presets, files, extends, ${VAR}, --set, errors, redaction."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsd.config import EvalConfig, TrainConfig
from hsd.config.fields import field_at, leaf_paths, path_fields
from hsd.config.loading import (
    load_eval_config,
    load_train_config,
    preset_folder,
    preset_names,
    resolve_train_config,
    train_schema,
)
from hsd.config.redaction import redacted
from hsd.config.settings import flatten, merged, nested
from hsd.config.train_config import LoraConfig
from hsd.config.view import annotated_yaml, differing
from hsd.errors import ConfigError

PRESETS = (
    "default",
    "cpu_small",
    "demo",
    "detector",
    "high_capacity",
    "memory_efficient",
    "quick_test",
)
LORA_KEYS = (
    "Known: alpha, alpha_pattern, dropout, loraplus_lr_ratio, rank, rank_pattern, target_modules, "
    "target_parameters, use_dora, use_rslora."
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def refusal(source: str = "default", *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_train_config(source, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Presets


def test_seven_presets_are_shipped() -> None:
    assert tuple(preset_names()) == PRESETS


@pytest.mark.parametrize(
    ("preset", "rank", "alpha", "learning_rate", "epochs"),
    [
        ("default", 32, 32, 2e-4, 3),
        ("high_capacity", 64, 64, 1e-4, 3),
        ("memory_efficient", 16, 16, 3e-4, 3),
        ("quick_test", 8, 8, 2e-4, 1),
    ],
)
def test_a_preset_has_the_promised_values(
    preset: str, rank: int, alpha: int, learning_rate: float, epochs: float
) -> None:
    config = load_train_config(preset)
    training = config.training
    assert (config.lora.rank, config.lora.alpha) == (rank, alpha)
    assert (training.learning_rate, training.epochs) == (learning_rate, epochs)
    assert (config.lora.dropout, config.lora.target_modules) == (0.05, ("q_proj", "v_proj"))
    assert (training.weight_decay, training.scheduler) == (0.01, "cosine")
    assert training.batch_size * training.accumulation == 16
    assert training.warmup_ratio > 0
    assert config.model.quantization == "auto"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_holds_only_what_differs_from_the_defaults(preset: str) -> None:
    resolved = resolve_train_config(preset)
    written = {".".join(path) for path in resolved.settings} - {"description"}
    assert written == set(differing(resolved))
    assert resolved.config.description


@pytest.mark.parametrize("preset", PRESETS)
def test_an_unknown_key_in_a_preset_is_refused(preset: str, tmp_path: Path) -> None:
    tree = json.loads((preset_folder() / f"{preset}.json").read_text())
    tree.pop("extends", None)
    tree.setdefault("lora", {})["rnak"] = 3
    write(f"presets/{preset}.json", tree)
    with pytest.raises(ConfigError) as caught:
        resolve_train_config(preset, presets=tmp_path / "presets")
    assert str(caught.value) == (
        f"{preset}.json: lora: unknown key 'rnak'. Did you mean 'rank'? {LORA_KEYS}"
    )


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    assert refusal("high_capacty") == (
        "unknown preset 'high_capacty'. Did you mean 'high_capacity'? "
        "Known: cpu_small, default, demo, detector, high_capacity, memory_efficient, quick_test. "
        "A file's path works."
    )


def test_a_missing_file_is_answered_with_the_nearest() -> None:
    write("mine.json", {})
    assert refusal("mien.json").startswith("mien.json: no such file. Did you mean 'mine.json'?")


# A config reloads to itself


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_config_reloads_to_an_equal_one(preset: str) -> None:
    config = load_train_config(preset, ["early_stopping.patience=3", "model.cache_dir=cache"])
    text = config.model_dump_json()
    assert load_train_config(write("config.json", text)) == config
    assert TrainConfig.model_validate_json(text, strict=True) == config


def test_the_defaults_are_valid_themselves() -> None:
    for default in (TrainConfig(), EvalConfig()):
        assert type(default).model_validate_json(default.model_dump_json(), strict=True) == default


WORDS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1).filter(
    lambda text: "${" not in text
)


@given(
    description=WORDS,
    modules=st.lists(WORDS, min_size=1, max_size=3),
    learning_rate=st.floats(min_value=1e-12, max_value=1e3),
    seed=st.integers(0, 2**63),
)
def test_any_config_reloads_from_its_json_and_from_what_is_shown(
    description: str,
    modules: list[str],
    learning_rate: float,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = {
        "description": description,
        "lora": {"target_modules": modules},
        "training": {"learning_rate": learning_rate},
        "seed": seed,
    }
    resolved = resolve_train_config(write(str(folder / "any.json"), source))
    again = write(str(folder / "config.json"), resolved.config.model_dump_json())
    shown = write(str(folder / "shown.yaml"), annotated_yaml(resolved))
    assert load_train_config(again) == load_train_config(shown) == resolved.config


# Layers

TREES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text(min_size=1), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), TREES))
def test_flat_settings_nest_to_the_tree_they_came_from(tree: dict[str, object]) -> None:
    assert nested(flatten(tree, "here")) == tree


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
        ({"a": None}, {"a": {}}, {"a": {}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
)
def test_the_upper_layer_wins(
    lower: dict[str, object], upper: dict[str, object], result: dict[str, object]
) -> None:
    assert nested(merged(flatten(lower, "lower"), flatten(upper, "upper"))) == result


def test_set_wins_over_the_file_which_wins_over_what_it_extends() -> None:
    write("base.json", {"extends": "high_capacity", "seed": 1, "lora": {"alpha": 1}})
    write("sub/mine.json", {"extends": "../base.json", "seed": 2, "lora": {"dropout": 0}})
    config = load_train_config("sub/mine.json", ["lora.dropout=0.5"])
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (64, 1, 0.5)
    assert (config.seed, config.training.learning_rate) == (2, 1e-4)


def test_a_circle_of_extends_is_refused() -> None:
    write("a.json", {"extends": "b.json"})
    write("b.json", {"extends": "a.json"})
    assert refusal("a.json") == "a.json: extends goes in a circle: a.json -> b.json -> a.json."


def test_an_unknown_parent_is_refused_in_the_name_of_the_child() -> None:
    write("a.json", {"extends": "defualt"})
    assert refusal("a.json").startswith("a.json: extends: unknown preset 'defualt'. Did you mean")


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("lora.rank=8", "rank", 8),
        ("lora.dropout=1e-1", "dropout", 0.1),
        ("lora.target_modules=all-linear", "target_modules", "all-linear"),
        ('lora.target_modules=["k_proj"]', "target_modules", ("k_proj",)),
        ("lora.target_modules=qv", "target_modules", "qv"),
        ('lora={"rank": 9}', "rank", 9),
        ("lora.alpha=2.5", "alpha", 2.5),
        ('lora.rank_pattern={"layers.1.v_proj": 8}', "rank_pattern", {"layers.1.v_proj": 8}),
        ("lora.alpha_pattern.v_proj=3", "alpha_pattern", {"v_proj": 3}),
    ],
)
def test_set_reads_json_and_takes_anything_else_as_text(
    override: str, field: str, value: object
) -> None:
    assert getattr(load_train_config("default", [override]).lora, field) == value


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_train_config("default", ["output_dir=~/x"]).output_dir == Path("/somewhere/x")


# Errors


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "lora.rnak=3",
            f"--set: lora: unknown key 'rnak'. Did you mean 'rank'? {LORA_KEYS}",
        ),
        ("lora.rank=0", "--set: lora.rank: 0 is not accepted (expected a whole number"),
        ('lora.rank="8"', '--set: lora.rank: "8" is not accepted (expected a whole number'),
        ("lora.rank=8.5", "--set: lora.rank: 8.5 is not accepted (expected a whole number"),
        ("lora.rank=true", "--set: lora.rank: true is not accepted (expected a whole number"),
        (
            "lora.dropout=1",
            "--set: lora.dropout: 1 is not accepted "
            "(expected a number of at least 0 and less than 1).",
        ),
        ("training.epochs=NaN", "--set: training.epochs: NaN is not accepted"),
        (
            "model.quantization=fp4",
            '--set: model.quantization: "fp4" is not accepted '
            "(expected one of 'auto', 'none', 'nf4', 'nf4_experts').",
        ),
        (
            "lora.target_modules=[1, 2]",
            "--set: lora.target_modules: [1, 2] is not accepted "
            "(expected a list of at least one text or one of 'qv', 'attention', 'all-linear', "
            "'experts').",
        ),
        ("lora.alpha=0", "--set: lora.alpha: 0 is not accepted (expected a number greater than 0)"),
        (
            'lora.rank_pattern={"v_proj": 0}',
            "--set: lora.rank_pattern.v_proj: 0 is not accepted (expected a section of names, each "
            'with a whole number greater than 0 or null, such as {"v_proj": 64}).',
        ),
        (
            'lora.alpha_pattern={"a(": 1}',
            "--set: lora: alpha_pattern 'a(' is no regular expression",
        ),
        (
            "lora.target_modules=experts",
            "--set: lora: an adapter on fused experts has no inputs to drop; set lora.dropout=0 "
            "(it is 0.05)",
        ),
        (
            'lora={"target_parameters": ["experts.down_proj"], "dropout": 0, "use_dora": true}',
            "--set: lora: DoRA does not work on fused experts; set lora.use_dora=false",
        ),
        (
            "lora.loraplus_lr_ratio=0.5",
            "--set: lora.loraplus_lr_ratio: 0.5 is not accepted (expected a number of at least 1).",
        ),
        ("lora=5", "--set: lora: 5 is not accepted (expected a section with alpha, alpha_pat"),
        ("epochs=1", "--set: unknown key 'epochs'. Did you mean 'training.epochs'? Known: data,"),
        ("lora.rank", "--set lora.rank: expected NAME=VALUE, such as lora.rank=8."),
        ("=3", "--set =3: expected NAME=VALUE"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(override: str, message: str) -> None:
    assert refusal("default", override).startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("selection.max_gap=0.1", "--set: selection: max_gap goes with metric f1_within_gap, and"),
        ("training.labels=share", "--set: training: labels share goes with objective label; set "),
    ],
)
def test_settings_that_do_not_go_together_say_why(override: str, message: str) -> None:
    assert refusal("default", override).startswith(message)


def test_settings_of_two_places_that_do_not_go_together_name_both() -> None:
    said = refusal("quick_test", "lora.target_modules=experts")
    assert said.startswith("quick_test.json with --set: lora: an adapter on fused experts has no")


def test_all_errors_are_listed_each_with_its_own_place() -> None:
    write("base.json", {"lora": {"rank": 0}})
    write("mine.json", {"extends": "base.json", "sede": 1})
    parts = refusal("mine.json", "training.epochs=-1").split("; ")
    assert [part.split(": ")[0] for part in sorted(parts)] == ["--set", "base.json", "mine.json"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{\n"seed": 1,\n', "a.json:3: not JSON ("),
        ("a.json", '{"seed": 1, "seed": 2}', "a.json: key 'seed' is written twice in one section."),
        ("a.json", "", "a.json: expected keys and values at the top, found an empty file."),
        ("a.json", "[1]", "a.json: expected keys and values at the top, found a list."),
        ("a.yaml", "seed: 1\nlora: {rank: 8\n", "a.yaml:3: not YAML ("),
        ("a.yaml", "seed: 1\nlora:\n  rank: 1\n  rank: 2\n", "a.yaml:4: key 'rank' is written"),
        ("a.yaml", "seed: 1\n\x07", "a.yaml:2: not YAML ("),
        ("a.toml", "seed = 1\n[lora]\nrank = \n", "a.toml:3: not TOML (Invalid value)"),
        ("a.toml", "seed = 1\nseed = 2\n", "a.toml:2: not TOML (Cannot overwrite a value)"),
        ("a.toml", '[lora]\nx = """', "a.toml:2: not TOML ("),
        ("a.ini", "", "a.ini: unknown kind of file; expected .json, .yaml, .yml, .toml."),
    ],
)
def test_a_broken_file_is_named_with_its_line(name: str, text: str, message: str) -> None:
    assert refusal(write(name, text)).startswith(message)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"description": "\xe9"}')
    assert refusal("a.json") == "a.json: not UTF-8 text (byte 17)."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"lora": {"rank": 8}, "training": {"learning_rate": 2e-5}}'),
        ("a.yaml", "lora:\n  rank: 8\ntraining:\n  learning_rate: 2e-5\n"),
        ("a.toml", "[lora]\nrank = 8\n[training]\nlearning_rate = 2e-5\n"),
    ],
)
def test_json_yaml_and_toml_say_the_same(name: str, text: str) -> None:
    config = load_train_config(write(name, text))
    assert (config.lora.rank, config.training.learning_rate) == (8, 2e-5)


def test_yaml_words_and_digits_are_not_reinterpreted() -> None:
    write("a.yaml", "description: no\nmodel:\n  revision: 010\n  name: 1:30\n")
    config = load_train_config("a.yaml")
    assert (config.description, config.model.revision, config.model.name) == ("no", "010", "1:30")


# ${VAR}


def test_a_variable_is_put_in_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me")
    write("a.json", {"output_dir": "runs/${WHO}/${NOT_SET:-x}", "model": {"name": "${WHO}"}})
    config = load_train_config("a.json", ['lora.target_modules=["${WHO}"]'])
    assert (config.output_dir, config.model.name) == (Path("runs/me/x"), "me")
    assert config.lora.target_modules == ("me",)


def test_a_value_that_is_one_variable_takes_the_type_of_its_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"RANK_": "8", "RATE": "1e-4", "ON": "true", "NUMBER": "17"}.items():
        monkeypatch.setenv(name, value)
    write(
        "a.json",
        {
            "description": "${NUMBER}",
            "lora": {"rank": "${RANK_}"},
            "training": {"learning_rate": "${RATE}", "gradient_checkpointing": "${ON}"},
        },
    )
    config = load_train_config("a.json")
    assert (config.description, config.lora.rank) == ("17", 8)
    assert (config.training.learning_rate, config.training.gradient_checkpointing) == (1e-4, True)


def test_an_unset_variable_is_named_with_file_and_key() -> None:
    write("a.json", {"model": {"name": "x/${NOT_SET}"}})
    assert refusal("a.json") == (
        "a.json: model.name: environment variable NOT_SET is not set; "
        "set it, or write ${NOT_SET:-default}."
    )


def test_a_variable_of_the_wrong_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_", "many")
    assert refusal("default", "lora.rank=${RANK_}") == (
        '--set: lora.rank: "many" is not accepted '
        "(expected a whole number greater than 0, from ${RANK_})."
    )


def test_an_empty_variable_is_no_file_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert "(expected a non-empty text, from ${EMPTY})" in refusal("default", "model.name=${EMPTY}")
    assert load_train_config("default", ["model.name=${EMPTY:-x}"]).model.name == "x"


@pytest.mark.parametrize("text", ["${", "${1X}", "${A:-${B}}", "a${b c}"])
def test_what_looks_like_a_reference_and_is_none_is_refused(text: str) -> None:
    assert "expected ${NAME} or ${NAME:-default}" in refusal("default", f"model.name={text}")


def test_a_variable_that_holds_a_reference_is_refused_so_that_configs_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OUTER", "${INNER}")
    assert "no reference (or one inside another)" in refusal("default", "model.name=${OUTER}")


# Files that no person writes

ALIASES = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("text", [ALIASES, "a: &a [*a]\n", "a: &a\n  b: *a\n"])
def test_aliases_that_stand_for_billions_of_values_are_refused(text: str) -> None:
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert refusal("mine.yaml") == "mine.yaml: more than 10,000 values; is this a config?"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"seed": ' + "9" * 5000 + "}"])
def test_json_that_cannot_be_read_is_one_line(text: str) -> None:
    Path("mine.json").write_text(text, encoding="utf-8")
    assert refusal("mine.json").startswith("mine.json: not JSON that hsd reads (")


# Secrets


@pytest.mark.parametrize(
    ("key", "value", "is_hidden"),
    [
        ("name", "hf_abcdefghijklmnopqrst", True),
        ("name", "sk-abcdefghijklmnopqrst12", True),
        ("url", "https://me:word@host/x", True),
        ("api_key", "anything", True),
        ("my_password", "anything", True),
        ("HF_TOKEN", "anything", True),
        ("name", "contains open-sesame, whole", True),
        ("max_new_tokens", 128, False),
        ("name", "openai/gpt-oss-20b", False),
        ("train_file", "data/hf_x.jsonl", False),
        ("token", "", False),
        ("token", None, False),
    ],
)
def test_what_looks_like_a_secret_is_hidden(
    key: str, value: object, is_hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_SECRET", "open-sesame")
    shown = redacted({"section": {key: value}, "list": [{key: value}]})
    expected = "***" if is_hidden else value
    assert shown == {"section": {key: expected}, "list": [{key: expected}]}


def test_a_value_from_a_secret_variable_is_hidden_wherever_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    resolved = resolve_train_config("default", ["model.revision=${SHORT_TOKEN}"])
    assert resolved.config.model.revision == "abc"
    assert resolved.shown()["model"]["revision"] == "***"
    assert "abc" not in annotated_yaml(resolved)
    assert '"***"  ' in annotated_yaml(resolved).replace("   ", "  ")
    assert "abc" not in str(differing(resolved))


def test_an_error_does_not_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "abc")
    message = refusal("default", "lora.rank=${MY_API_KEY}", "model.device=hf_abcdefghijklmnopqrst")
    assert message.count("***") == 2
    assert "abc" not in message


# What is shown


def test_each_value_is_shown_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "disk")
    write("mine.json", {"extends": "quick_test", "output_dir": "${SCRATCH}/x"})
    lines = annotated_yaml(resolve_train_config("mine.json", ["seed=1"])).splitlines()
    places = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in lines}
    assert places["rank"] == "quick_test.json"
    assert places["validation_file"] == "default.json"
    assert places["seed"] == "--set"
    assert places["output_dir"] == "mine.json, ${SCRATCH}"
    assert places["dropout"] == "default"


def test_the_schema_describes_every_field_and_knows_extends() -> None:
    schema = train_schema()
    assert "trainable parameters grow" in json.dumps(schema["$defs"]["LoraConfig"])
    assert set(schema["properties"]) == {*TrainConfig.model_fields, "extends"}


# Evaluation


def test_flags_that_were_not_given_leave_the_defaults() -> None:
    config = load_eval_config(data_file="x.csv", max_samples=None, model={"name": "m"})
    assert config == EvalConfig.model_validate({"data_file": "x.csv", "model": {"name": "m"}})


def test_set_wins_over_flags() -> None:
    assert load_eval_config(["seed=2"], seed=1, output_dir=Path("x")).seed == 2


def test_a_wrong_flag_has_the_same_form_of_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load_eval_config(max_samples=0)
    assert str(caught.value) == (
        "--max-samples: 0 is not accepted (expected a whole number greater than 0)."
    )


def test_every_field_that_is_a_path_is_marked_so_that_jobs_find_it_from_another_folder() -> None:
    marked = path_fields(TrainConfig)
    for path in leaf_paths(TrainConfig):
        field = field_at(TrainConfig, path)
        assert field is not None
        if Path in (field.annotation, *get_args(field.annotation)) or "file" in path[-1]:
            assert ".".join(path) in marked
    assert marked["model.name"] == "base"
    assert marked["prompt.template"] == "template"


def test_patterns_stand_in_the_order_in_which_peft_writes_them() -> None:
    lora = LoraConfig(rank_pattern={"v_proj": 2, "q_proj": 4}, alpha_pattern={"b": 1, "a": 2})
    assert list(lora.rank_pattern or ()) == ["q_proj", "v_proj"]
    assert list(lora.alpha_pattern or ()) == ["a", "b"]
