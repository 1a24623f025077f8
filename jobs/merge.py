"""`hsd merge`: an adapter and its base as one ordinary model folder, verified."""

from pathlib import Path
from typing import Any

import click

from hsd.io.stopping import ended_by_signal
from jobs.terminal.entry import run
from jobs.terminal.log_head import say_host
from jobs.terminal.options import Command
from jobs.terminal.output import echo

PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples="""
    hsd merge --adapter-path runs/default --output-dir runs/default-merged
    hsd merge --adapter-path runs/default --output-dir merged --onto original
    hsd merge --adapter-path runs/default --output-dir merged --experts unpacked
    hsd merge --adapter-path my-adapter --base-model models/llama --output-dir merged
    """,
)
@click.option("--adapter-path", type=PATH, required=True, help="Folder of a trained adapter.")
@click.option("--output-dir", type=PATH, required=True, help="Folder for the merged model.")
@click.option("--base-model", help="The base model. Default: the one named in the adapter.")
@click.option("--cache-dir", type=PATH, help="Folder for downloaded models.")
@click.option(
    "--device-map",
    "device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto uses a GPU if the base model fits on it in float32 (4 bytes per parameter).",
)
@click.option(
    "--onto",
    type=click.Choice(["trained", "original"]),
    default="trained",
    show_default=True,
    help="For an adapter trained on a 4-bit base: merge into that base, dequantised, or into the "
    "original weights.",
)
@click.option(
    "--experts",
    type=click.Choice(["auto", "packed", "unpacked"]),
    default="auto",
    show_default=True,
    help="For a base with experts in MXFP4 (gpt-oss): packed keeps the experts as they are and "
    "replaces only what the adapter changed (14 GB for gpt-oss-20b). unpacked writes all weights "
    "in 16 bit (42 GB). auto is packed unless the adapter changed experts.",
)
def merge(**options: Any) -> None:
    """Merge an adapter into its base model, and verify that the result answers the same.

    hsd reads the merged model back to verify it. hsd never merges in place into 4-bit weights. If
    anything fails, no incomplete model is left behind.
    """
    from hsd.config.merge_config import MergeConfig
    from hsd.hub.base_models import require_base_named
    from hsd.io.files import require_folder

    config = MergeConfig(**options)
    say_host()
    require_folder(config.adapter_path, "adapter folder")
    if config.base_model is not None:
        require_base_named(config.base_model)
    with ended_by_signal("stopped; no incomplete model is left. Run the same command again."):
        from hsd.model.merge import merge as merge_adapter
        from jobs.terminal.progress_bar import progress_bars

        with progress_bars() as progress:
            merged = merge_adapter(config, progress)
    echo(*merged.sentences())


if __name__ == "__main__":
    run(merge)
