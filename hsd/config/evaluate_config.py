"""Everything that decides what an evaluation does."""

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from hsd.config.model_config import ModelConfig
from hsd.config.server_config import ServerConfig
from hsd.config.strict import Folder, GroupsName, TemplateName, Text
from hsd.config.table_config import TableConfig
from hsd.config.vllm_config import VllmConfig


class EvalConfig(TableConfig):
    """One evaluation of one model on one set of rows."""

    model: ModelConfig = ModelConfig()
    """The base. When `adapter` is set its name comes from the adapter unless given."""
    engine: Literal["hsd", "vllm", "openai"] = "hsd"
    """What answers: a model that `hsd` loads, the same model in `vllm`, or an OpenAI-compatible
    server (`server.base_url`), which is asked for the model of that name."""
    server: ServerConfig = ServerConfig()
    """The server, with `engine=openai`."""
    vllm: VllmConfig = VllmConfig()
    """vLLM, with `engine=vllm`."""
    adapter: Folder | None = None
    """Folder of a trained adapter; None evaluates the base or a merged folder."""
    data_file: Text = "canned_50_quick"
    """`unified`, `canned_50_quick`, `canned_100_stratified`, `embedded`, or a JSONL/CSV path."""
    output_dir: Folder = Path("runs/evaluate")
    """A run folder `run_YYYYMMDD_HHMMSS` is made in it, unless it is one itself."""
    prompt_template: TemplateName | None = None
    """Template to ask with; None takes the adapter's prompt.json, else the default template."""
    strategy: Text | None = None
    """Strategy in that template; None takes the adapter's, else the template's first."""
    ignore_prompt_mismatch: bool = False
    """Evaluate an adapter with another prompt than it was trained with."""
    only_sources: tuple[Text, ...] = ()
    """Evaluate only the rows of these sources (`source_dataset`), such as a source that `hsd train`
    left out with `data.without_sources`. Default: all."""
    groups: GroupsName | None = None
    """Groups that error rates are counted for: a shipped set (`hsd groups list`) or a group file;
    None: `three`."""
    intersections: tuple[Text, ...] = ()
    """Groups that are also counted together, such as `lgbtq & middle_east`."""
    max_samples: PositiveInt | None = None
    """Take a seeded sample of this many rows, stratified by group and label; None takes all."""
    max_length: PositiveInt = 1024
    """Longest prompt in tokens; longer posts are truncated and counted."""
    max_new_tokens: PositiveInt = 128
    """Longest generated reply; a reply whose JSON is not closed by then is `truncated`."""
    temperature: NonNegativeFloat = 0.0
    """Sampling temperature for generated replies; 0 is greedy. Sampling is seeded per row."""
    batch_size: PositiveInt = 16
    """Rows per batch; halved when memory runs out."""
    prefix_sharing: Literal["auto", "on", "off"] = "auto"
    """Compute what all prompts begin with once, instead of once a row; replies stay the same.
    `auto` does so where it pays and a self-test on a few rows passes; `on` fails where it cannot;
    `off` computes each prompt whole."""
    seed: NonNegativeInt = 42
    """Of the sample and of sampling at temperature > 0."""
    mode: Literal["generate", "score"] = "score"
    """How the model is read: `score` forces the answer's opening and compares the probabilities of
    the labels, which gives P(hate) and cannot be unreadable; `generate` is the reply it writes."""
