"""A setting that the chosen engine would ignore is refused where it was given."""

import chat_service
import pytest
from chat_service import Asked, config, posts
from click.testing import CliRunner

from hsd.config.evaluate_config import EvalConfig
from hsd.config.loading import load_eval_config
from hsd.config.model_config import ModelConfig
from hsd.errors import ConfigError, HsdError
from hsd.evaluation.ignored_settings import BY_SERVER
from hsd.evaluation.served_plan import served_model_plan
from hsd.evaluation.vllm_limits import require_vllm_settings
from jobs.cli import hsd

asked = chat_service.asked
TAKEN = {
    "engine", "model", "server", "prompt_template", "strategy", "max_new_tokens", "temperature",
    "seed", "mode",
}  # fmt: skip
"""What a server is asked with."""
ROWS = {
    "data_file", "output_dir", "only_sources", "groups", "intersections", "max_samples",
    "text_column", "label_column", "group_column", "id_column", "share_column", "labels", "cut",
    "votes",
}  # fmt: skip
"""What decides the rows and the report, whatever answers."""
REFUSED_ELSEWHERE = {"adapter", "vllm"}


def test_every_field_is_one_that_a_server_is_asked_with_or_is_refused() -> None:
    ignored = {name for name in BY_SERVER if "." not in name}
    assert TAKEN | ROWS | REFUSED_ELSEWHERE | ignored == set(EvalConfig.model_fields)
    loaded = {f"model.{name}" for name in ModelConfig.model_fields if name != "name"}
    assert loaded == {name for name in BY_SERVER if name.startswith("model.")}


@pytest.mark.parametrize("field", sorted(BY_SERVER))
def test_what_a_server_would_ignore_is_refused_with_the_reason(field: str) -> None:
    values = {
        "model.device": "cpu", "model.dtype": "float16", "model.quantization": "nf4",
        "model.attention": "eager", "model.double_quantization": "false", "model.cache_dir": "here",
        "model.revision": "main", "max_length": "64", "batch_size": "2", "prefix_sharing": "off",
        "ignore_prompt_mismatch": "true",
    }  # fmt: skip
    given = [f"{field}={values[field]}"]
    server = {"base_url": "http://localhost:8000/v1"}
    wanted = load_eval_config(given, engine="openai", server=server, model={"name": "served"})
    with pytest.raises(ConfigError) as refused:
        served_model_plan(wanted)
    assert str(refused.value).endswith(f": {BY_SERVER[field]}; leave it out.")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-length", "64"], "--max-length: hsd cuts no post for a server; leave it out."),
        (["--cache-dir", "models"], "--cache-dir: the server loads the model; leave it out."),
        (["--set", "model.quantization=nf4"],
         "model.quantization: the server loads the model; leave it out."),
        (["--set", "vllm.tensor_parallel=2"], "vllm.tensor_parallel needs --engine vllm."),
    ],
)  # fmt: skip
def test_an_ignored_option_is_named_as_it_was_typed(
    asked: Asked, command: str, options: list[str], said: str
) -> None:
    server = ["--engine", "openai", "--base-url", asked.url, "--model-name", "served"]
    place = ["--data-file", posts()] if command == "evaluate" else [posts(), "--output", "out.csv"]
    error = CliRunner().invoke(hsd, [command, *place, *server, *options]).exception
    assert isinstance(error, HsdError)
    assert str(error) == said
    assert asked.requests == []


def test_defaults_are_refused_by_no_engine(asked: Asked) -> None:
    served_model_plan(config(asked))
    require_vllm_settings(load_eval_config(engine="vllm"))
    for whole in (config(asked), load_eval_config(engine="vllm")):  # a run's own config.json
        again = EvalConfig.model_validate(whole.model_dump(mode="json"))
        served_model_plan(again) if again.engine == "openai" else require_vllm_settings(again)


@pytest.mark.parametrize("given", ["prefix_sharing=off", "model.double_quantization=false"])
def test_what_vllm_would_ignore_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r": vLLM .*; leave it out\."):
        require_vllm_settings(load_eval_config([given], engine="vllm"))
