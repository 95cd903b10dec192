"""``cj-stream kafka``: a real Apache Kafka on this machine for development."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import click

from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, progress, reporting
from cj_stream.devkit.jars import JarError
from cj_stream.devkit.kafka import LocalKafka, LocalKafkaError

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/kafka"),
    show_default=True,
    help="Where its data, log and configuration are.",
)


@click.group(epilog="Example:  cj-stream kafka start && cj-stream topics create")
def kafka() -> None:
    """Start and stop an Apache Kafka for development.

    One broker on 127.0.0.1, in a folder, without Docker or a system Java. The first start fetches 44 MB.
    """


@kafka.command(epilog="Example:  cj-stream kafka start --port 9192")
@folder_option
@click.option("--port", type=click.IntRange(1, 65535), help="[default: the one it had, else 9092, else a free one]")
@json_option
def start(*, folder: Path, port: int | None, as_json: bool) -> None:
    """Start the broker and wait until it answers.

    One that runs already is left alone.
    """
    local = LocalKafka(folder)
    with reporting(JarError, LocalKafkaError), progress("starting Kafka") as report:
        bootstrap = local.start(port, report=report)
    status = local.status()
    if as_json:
        echo_json(status)
        return
    console.print(f"Kafka {status.version} runs at {bootstrap} (process {status.pid}, log {status.log_path}).")
    console.print(f"Use it:   export CJ_KAFKA_BOOTSTRAP={bootstrap}", highlight=False)
    console.print("Stop it:  cj-stream kafka stop", highlight=False)


@kafka.command(epilog="Example:  cj-stream kafka stop")
@folder_option
@json_option
def stop(*, folder: Path, as_json: bool) -> None:
    """Stop the broker.

    Its data stays for the next start.
    """
    local = LocalKafka(folder)
    with reporting(LocalKafkaError), progress("stopping Kafka"):
        stopped = local.stop()
    if as_json:
        echo_json({"stopped": stopped, "folder": local.folder})
    else:
        console.print("Kafka is stopped." if stopped else f"No broker runs in {local.folder}.")


@kafka.command(epilog="Example:  cj-stream kafka status --json")
@folder_option
@json_option
def status(*, folder: Path, as_json: bool) -> None:
    """Tell whether the broker runs, and where.

    The exit code is 0 only if it does.
    """
    local = LocalKafka(folder)
    found = local.status()
    if as_json:
        echo_json(found)
    elif found.running:
        console.print(f"Kafka {found.version} runs at {found.bootstrap} (process {found.pid}, log {found.log_path}).")
    if not found.running:
        end_with_error(f"no broker runs in {found.folder}: start it with cj-stream kafka start")


@kafka.command(epilog="Example:  cj-stream kafka logs --lines 200")
@folder_option
@click.option("--lines", default=50, show_default=True, type=click.IntRange(min=1), help="How many of the last lines.")
@json_option
def logs(*, folder: Path, lines: int, as_json: bool) -> None:
    """Print the end of the broker's log."""
    path = LocalKafka(folder).log_path
    if not path.exists():
        end_with_error(f"there is no log at {path}: no broker was started in that folder")
    with path.open(errors="replace") as log:
        last = [line.rstrip("\n") for line in deque(log, maxlen=lines)]
    if as_json:
        echo_json({"log_path": path, "lines": last})
    else:
        click.echo("\n".join(last))
