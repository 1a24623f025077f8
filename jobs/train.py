"""`hsd train`: train one LoRA adapter from a preset and changes to the preset."""

from pathlib import Path

import click

from hsd.io.stopping import stop_request
from jobs.terminal.entry import run
from jobs.terminal.log_head import say_host
from jobs.terminal.options import Command, config_option, is_first_process, set_option, train_config
from jobs.terminal.output import echo


@click.command(
    cls=Command,
    examples="""
    hsd train --config quick_test --set data.train_file=data/prepared/train.jsonl
    hsd train --config-file my.json --set lora.rank=64 --output-dir runs/r64
    accelerate launch --num_processes 4 -m jobs.train --config-file my.json
    """,
)
@config_option
@set_option
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Folder of the run (output_dir).",
)
def train(source: str, overrides: tuple[str, ...], output_dir: Path | None) -> None:
    """Train a LoRA adapter, or resume a training that was stopped.

    The same command with the same output folder resumes. A finished run is left as it is. Ctrl-C,
    SIGTERM and SIGUSR2 stop the training after the current step, with a checkpoint and exit
    code 75.
    """
    folder = (f"output_dir={output_dir}",) if output_dir else ()
    config = train_config(source, (*overrides, *folder))
    from hsd.training.names_found import require_names_found

    say_host()
    require_names_found(config)
    with stop_request():
        from hsd.training.training_run import train as train_run
        from jobs.terminal.progress_bar import progress_bars, say

        with progress_bars() as progress:
            trained = train_run(config, progress, say)
    if is_first_process():
        for line in trained.sentences():
            echo(line)


if __name__ == "__main__":
    run(train)
