"""`hsd`: all commands. Each is imported when it is used, so that `hsd --help` is instant."""

from importlib import import_module

import click

import hsd as package
from hsd.errors import did_you_mean
from jobs.terminal.entry import run
from jobs.terminal.options import CONTEXT

SECTIONS = {
    "Data": {
        "prepare": ("jobs.prepare:prepare", "Build train, validation and test files from posts."),
        "data": ("jobs.data:data", "Check data before training, or swap the groups in posts."),
        "groups": ("jobs.group_sets:groups", "Show groups to count posts in, and check own ones."),
    },
    "Train": {
        "demo": ("jobs.demo:demo", "Train and evaluate a small real model on this CPU."),
        "plan": ("jobs.memory_plan:plan", "Plan the memory, disk and time of a training."),
        "train": ("jobs.train:train", "Train a LoRA adapter."),
        "convergence": ("jobs.convergence:convergence", "Say whether a training converged."),
        "merge": ("jobs.merge:merge", "Merge an adapter into its base model."),
        "card": ("jobs.card:card", "Write the model card of an adapter."),
        "config": ("jobs.config:config", "Show presets and configs."),
    },
    "Evaluate": {
        "evaluate": ("jobs.evaluate:evaluate", "Evaluate a base model, an adapter or a merge."),
        "import": (
            "jobs.import_predictions:import_predictions",
            "Evaluate predictions that another program made.",
        ),
        "predict": ("jobs.predict:predict", "Label posts that have no labels."),
        "compare": ("jobs.compare:compare", "Compare evaluations of the same posts."),
        "gate": ("jobs.gate:gate", "Decide whether a run may replace a reference."),
        "threshold": ("jobs.threshold:threshold", "Choose a threshold on validation posts."),
        "report": ("jobs.report:report", "Write the reports of an evaluation again."),
    },
    "Cluster": {
        "run": ("jobs.run:run", "Run a sweep: train, evaluate and compare several models."),
        "status": ("jobs.status:status", "Show the state of a run, and what to do next."),
        "logs": ("jobs.logs:logs", "Show the logs of a run."),
        "cancel": ("jobs.cancel:cancel", "Cancel the jobs of a run."),
        "resubmit": ("jobs.resubmit:resubmit", "Submit again what failed."),
        "submit": ("jobs.submit:submit", "Submit one training, merge, evaluation or gate."),
        "cost": ("jobs.cost:cost", "Count the GPU-hours of a run."),
        "sweep": ("jobs.sweep:sweep", "List and show sweeps."),
    },
    "Setup": {
        "doctor": ("jobs.doctor:doctor", "Check this machine or a cluster."),
        "fetch": ("jobs.fetch:fetch", "Download a sweep's models for jobs without internet."),
        "cluster": ("jobs.cluster:cluster", "Write, show and list cluster profiles."),
        "container": ("jobs.container:container", "Run hsd inside a container."),
    },
}
"""Section of the help -> command -> where the command is, and its line in the help."""
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
OLD_NAMES = {"stage": "fetch"}
"""Names that scripts still use; they work, and no help shows them."""


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
        name = OLD_NAMES.get(args[0], args[0])
        if name not in COMMANDS and not ctx.resilient_parsing:
            hint = did_you_mean(name, COMMANDS)
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, [name, *args[1:]])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write a section for each part of the work, without importing a command."""
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                lines = [(name.ljust(width), line) for name, (_, line) in commands.items()]
                formatter.write_dl(lines)


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package.__version__, prog_name="hsd")
def hsd() -> None:
    """Fine-tune language models to detect hate speech, and evaluate them by group.

    `hsd COMMAND --help` explains a command and shows examples. Start with `hsd demo`.
    """


def main() -> None:
    """Run `hsd`."""
    run(hsd, "hsd")


if __name__ == "__main__":
    main()
