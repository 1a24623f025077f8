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
    hsd merge --adapter_path runs/default --output_dir runs/default-merged
    hsd merge --adapter_path runs/default --output_dir merged --onto original
    hsd merge --adapter_path my-adapter --base_model models/llama --output_dir merged
    """,
)
@click.option("--adapter_path", type=PATH, required=True, help="Folder of a trained adapter.")
@click.option("--output_dir", type=PATH, required=True, help="Where the merged model goes.")
@click.option("--base_model", help="Where the base is now; default: where the adapter says.")
@click.option("--cache_dir", type=PATH, help="Where downloaded models are kept.")
@click.option(
    "--device_map",
    "device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto takes a GPU when the base fits on it in float32 (4 bytes a parameter).",
)
@click.option(
    "--onto",
    type=click.Choice(["trained", "original"]),
    default="trained",
    show_default=True,
    help="A run on a 4-bit base: into that base, dequantised, or into the original weights.",
)
def merge(**options: Any) -> None:
    """Merge an adapter into its base, read the result back, and verify that it answers the same.

    Never in place into 4-bit weights. Whatever fails, nothing half-written is left.
    """
    from hsd.config.merge_config import MergeConfig

    config = MergeConfig(**options)
    with ended_by_signal("stopped; nothing half-written is left. Run the same command again."):
        say_host()
        from hsd.model.merge import merge as merge_adapter
        from jobs.terminal.progress_bar import progress_bars

        with progress_bars() as progress:
            merged = merge_adapter(config, progress)
    echo(*merged.sentences())


if __name__ == "__main__":
    run(merge)
