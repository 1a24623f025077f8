"""`hsd`: all commands. Each is imported when it is used, so that `hsd --help` is instant."""

from importlib import import_module

import click

import hsd as package
from hsd.errors import did_you_mean
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT

COMMANDS = {
    "prepare": ("jobs.prepare:prepare", "Unify sources into train, validation and test files."),
    "train": ("jobs.train:train", "Train a LoRA adapter on a base."),
    "merge": ("jobs.merge:merge", "Merge an adapter into its base, and verify the result."),
    "evaluate": ("jobs.evaluate:evaluate", "Evaluate a base, an adapter or a merged folder."),
    "compare": ("jobs.compare:compare", "Put evaluations of the same rows side by side."),
    "gate": (
        "jobs.gate:gate",
        "Let a run pass, or say for whom it fails or is undecided.",
    ),
    "threshold": ("jobs.threshold:threshold", "Choose a threshold on validation rows; freeze it."),
    "report": ("jobs.report:report", "Write an evaluation's reports again."),
    "card": ("jobs.card:card", "Write the model card of an adapter."),
    "data": ("jobs.data:data", "Check data for what spoils a result; make identity swaps."),
    "convergence": ("jobs.convergence:convergence", "Say whether a training run converged."),
    "run": ("jobs.run:run", "Train, evaluate and compare a sweep's cells, on a cluster or here."),
    "status": ("jobs.status:status", "Say how a sweep stands, why, and what to type next."),
    "logs": ("jobs.logs:logs", "Show what a cell's jobs wrote."),
    "cancel": ("jobs.cancel:cancel", "Cancel a sweep's jobs, from the last stage to the first."),
    "resubmit": ("jobs.resubmit:resubmit", "Submit again what failed."),
    "submit": ("jobs.submit:submit", "Submit one training, merge or evaluation."),
    "cost": ("jobs.cost:cost", "Count the GPU-hours of every attempt."),
    "stage": ("jobs.fetch:stage", "Fetch a sweep's models before jobs need them offline."),
    "sweep": ("jobs.sweep:sweep", "List and show sweeps."),
    "cluster": ("jobs.cluster:cluster", "Write, show and list profiles of clusters."),
    "container": ("jobs.container:container", "Run hsd inside a container."),
    "doctor": ("jobs.doctor:doctor", "Check this machine, or a cluster before a submission."),
    "demo": ("jobs.demo:demo", "Train and judge a small real model on this CPU."),
    "config": ("jobs.config:config", "Show, list and describe configs."),
}
"""Name -> where the command is, and its line in the help."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the nearest name."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the names and lines of the table, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package.__version__, prog_name="hsd")
def hsd() -> None:
    """Fine-tune language models to detect hate speech, and judge them by group.

    Every option may be written with dashes or underscores. `hsd COMMAND --help` has examples.
    """


def main() -> None:
    """Run `hsd`."""
    run(hsd, "hsd")


if __name__ == "__main__":
    main()
