"""``cj-stream topics``: the topics of the registry on the broker of CJ_KAFKA_BOOTSTRAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table

from cj_stream.cli.shared.broker import ask_kafka, reporting_kafka
from cj_stream.cli.shared.options import load_settings
from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, progress, warn
from cj_stream.engine import provisioning
from cj_stream.engine.topics import TopicSpec
from cj_stream.operations.topic_registry import registry


@click.group(epilog="Example:  CJ_KAFKA_BOOTSTRAP=localhost:9092 cj-stream topics create")
def topics() -> None:
    """Create, check and list the topics.

    Their names and partition counts come from the settings (cj-stream settings).
    """


@topics.command(epilog="Example:  CJ_REPLICATION_FACTOR=3 CJ_PARTITIONS=24 cj-stream topics create")
@json_option
def create(*, as_json: bool) -> None:
    """Create the missing topics and check the others."""
    settings = load_settings()
    bootstrap, kafka, specs = settings.kafka_bootstrap, settings.kafka, registry(settings)
    with reporting_kafka(), progress("creating topics"):
        created = ask_kafka(bootstrap, provisioning.create_topics(kafka, specs, settings.replication_factor))
        problems = ask_kafka(bootstrap, provisioning.topic_problems(kafka, specs))
    if as_json:
        echo_json({"created": created, "problems": problems})
    else:
        console.print("\n".join(f"created {name}" for name in created) or "All topics exist already.", highlight=False)
    _end_with(problems)


@topics.command(epilog="Example:  cj-stream topics check && echo ready")
@json_option
def check(*, as_json: bool) -> None:
    """Tell what is wrong with the topics.

    The exit code is 0 only if nothing is.
    """
    settings = load_settings()
    bootstrap, kafka, specs = settings.kafka_bootstrap, settings.kafka, registry(settings)
    with reporting_kafka(), progress("asking Kafka"):
        problems = ask_kafka(bootstrap, provisioning.topic_problems(kafka, specs))
    if as_json:
        echo_json({"problems": problems})
    elif not problems:
        console.print(f"All {len(specs)} topics are as they must be.", highlight=False)
    _end_with(problems)


@topics.command(name="list", epilog="Example:  cj-stream topics list --json")
@json_option
def list_topics(*, as_json: bool) -> None:
    """List the topics with their partitions, keys and purpose."""
    settings = load_settings()
    bootstrap = settings.kafka_bootstrap
    with reporting_kafka(), progress("asking Kafka"):
        found = ask_kafka(bootstrap, provisioning.partition_counts(settings.kafka))
    rows = [_row(spec, found.get(spec.name)) for spec in registry(settings)]
    if as_json:
        echo_json(rows)
    else:
        console.print(_table(rows))


def _end_with(problems: Sequence[str]) -> None:
    for problem in problems:
        warn(problem)
    if problems:
        end_with_error("the topics are not as the service needs them")


def _row(spec: TopicSpec, found: int | None) -> dict[str, Any]:
    return {
        "topic": spec.name,
        "owner": "platform" if spec.external else "cj-stream",
        "exists": found is not None,
        "partitions": found,
        "partitions_expected": None if spec.external else spec.partitions,
        "key": spec.key,
        "cleanup": spec.cleanup,
        "purpose": spec.purpose,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("topic", no_wrap=True)
    for title in ("partitions", "key", "cleanup", "purpose"):
        table.add_column(title)
    for row in rows:
        partitions = str(row["partitions"]) if row["exists"] else "missing"
        table.add_row(row["topic"], partitions, row["key"], row["cleanup"], row["purpose"])
    return table
