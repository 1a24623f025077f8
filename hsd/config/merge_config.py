"""Everything that decides what a merge does."""

from typing import Literal

from hsd.config.strict import Folder, Strict, Text

Onto = Literal["trained", "original"]
Experts = Literal["auto", "packed", "unpacked"]


class MergeConfig(Strict):
    """One adapter, merged into its base."""

    adapter_path: Folder
    """Folder of a trained adapter."""
    output_dir: Folder
    """The merged model's folder; nothing may be in it but the same finished merge."""
    base_model: Text | None = None
    """Where the base is now; None is where the adapter says."""
    cache_dir: Folder | None = None
    """Where downloads and converted weights go; None is the Hugging Face cache."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU when the base fits on it in float32."""
    onto: Onto = "trained"
    """The weights that a run on a 4-bit base is merged into: `trained` is the 4-bit base,
    dequantised, which is what was trained; `original` the 16-bit base, which is not quite."""
    experts: Experts = "auto"
    """How experts in MXFP4 (gpt-oss) are written: `packed` leaves them as they are and replaces
    only what the adapter changed (14 GB for gpt-oss-20b); `unpacked` writes all weights in 16 bit
    (42 GB). `auto` is packed, except for an adapter that changed experts."""
