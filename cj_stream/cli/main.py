"""``cj-stream``: the root of the command line. Each command's module is imported only when that command runs."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import NamedTuple

import click


class CommandEntry(NamedTuple):
    """Where a command is in this package (``module:attribute``), and its line in the list of commands."""

    target: str
    summary: str


COMMANDS: dict[str, CommandEntry] = {
    "demo": CommandEntry("local.demo:demo", "See it work: broker, workers and three batches, end to end."),
    "dev": CommandEntry("local.dev:dev", "Run everything on this machine until interrupted."),
    "submit": CommandEntry("batches.submit:submit", "Request the ranking of a batch of essays."),
    "watch": CommandEntry("batches.watch:watch", "Follow batches until they have ended."),
    "results": CommandEntry("batches.results:results", "Show the ranking of a batch."),
    "list": CommandEntry("batches.list:list_batches", "List the batches."),
    "explain": CommandEntry("batches.explain:explain", "Tell what a batch is waiting for, and what happens next."),
    "cancel": CommandEntry("batches.operate:cancel", "Cancel a batch."),
    "retry": CommandEntry("batches.operate:retry", "Submit the failed comparisons of a batch again."),
    "finalize": CommandEntry("batches.operate:finalize", "End a batch with the verdicts that there are."),
    "forget": CommandEntry("operations.forget:forget", "Delete what is kept of a batch, of an essay or of a user."),
    "dlq": CommandEntry("dead_letters.dlq:dlq", "Look at refused input, send it again, or delete it."),
    "score": CommandEntry("judgements.score:score", "Score a file of judgements from anywhere, without a worker."),
    "simulate": CommandEntry("judgements.simulate:simulate", "Tell what accuracy to expect before you judge anything."),
    "report": CommandEntry("judgements.report:report", "Write an HTML page about a batch or a file of judgements."),
    "gateway": CommandEntry("local.gateway:gateway", "Serve the LLM provider's API with judges that need no LLM."),
    "partitions": CommandEntry(
        "operations.partitions:partitions", "Show partitions that cannot be read on, and go on."
    ),
    "kafka": CommandEntry("local.kafka:kafka", "Start and stop an Apache Kafka for development."),
    "topics": CommandEntry("operations.topics:topics", "Create, check and list the topics."),
    "changelog": CommandEntry(
        "operations.changelog:changelog", "Write the changelog anew from what workers hold of it."
    ),
    "settings": CommandEntry("operations.settings:settings", "List the settings, their values and their meaning."),
}
"""Every command, in the order of ``--help``."""


class LazyGroup(click.Group):
    """The commands of `COMMANDS`: the list is printed from the table, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command; None for a name that is not one."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].target.split(":")
        command: click.Command = getattr(import_module(f"cj_stream.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog="Example:  cj-stream demo    Help on a command:  cj-stream submit --help",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="cj-stream")
def main() -> None:
    """Rank essays by comparative judgement, on Faust and Kafka."""
    # What is written may hold texts and judgements of people: it is the user's own, and of what the user starts.
    os.umask(0o077)
    # The commands tell failures in their own words; the client's remarks on the way there would only confuse.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
