"""``cj-stream changelog``: what is written into the table's changelog by hand, when it has lost what workers hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from cj_stream.cli.shared.options import load_settings
from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, progress, reporting
from cj_stream.engine.changelog import (
    Changelog,
    ChangelogError,
    best_copies,
    describe_changelog,
    group_members,
    write_rows,
)
from cj_stream.engine.local_copies import Copies, LocalCopy, UnreadableCopyError
from cj_stream.engine.local_store import FolderError, LocalStore
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.tables.codec import ROW_KEYS


@click.group(epilog="Example:  cj-stream changelog rebuild var/worker")
def changelog() -> None:
    """Write the table's changelog anew from what workers hold of it."""


@changelog.command(epilog="Example:  cj-stream changelog rebuild worker-1/data worker-2/data --yes")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def rebuild(*, folders: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Write the rows of workers' FOLDERS (CJ_DATA_DIR by default) into the changelog.

    For a changelog that was deleted or has lost its end: a worker that finds it so stops with exit code 78. All
    workers must be stopped. Each partition is written from the copy that goes furthest, so name the folders of all
    workers. The topic must exist (cj-stream topics create). Afterwards the copies are moved aside, and the workers
    read theirs from the changelog.
    """
    settings = load_settings()
    with (
        reporting(ChangelogError, FolderError, UnreadableCopyError),
        _locked(folders or (settings.data_dir,)) as stores,
    ):
        _check_group(settings)
        there = asyncio.run(describe_changelog(settings.kafka, settings.changelog_topic))
        copies_of = Copies(settings.table, ROW_KEYS)
        copies = best_copies({store.folder: copies_of.of(store.databases()) for store in stores})
        _check_copies(copies, there)
        if not yes:
            _ask(copies, there)
        written = _write(settings, copies)
        kept = [moved for store in stores if (moved := store.put_aside(_stamp())) is not None]
    if as_json:
        echo_json({"topic": there.topic, "written": written, "kept": kept})
        return
    console.print(f"Wrote {sum(written.values())} rows to {there.topic}.", highlight=False)
    for path in kept:
        console.print(f"The copy is kept in {path}: delete it when all is well.", highlight=False, soft_wrap=True)


@contextmanager
def _locked(folders: Sequence[Path]) -> Iterator[list[LocalStore]]:
    stores = [LocalStore(folder, NAMES) for folder in folders]
    try:
        for store in stores:
            store.lock()
        yield stores
    finally:
        for store in stores:
            store.close(clean=False)


def _check_group(settings: Settings) -> None:
    with progress("asking for the workers"):
        members = asyncio.run(group_members(settings.kafka, settings.app_id))
    if members:
        end_with_error(
            f"{members} worker(s) are in the group {settings.app_id}: stop all workers first. One that was killed "
            f"counts until its session is over, {settings.session_timeout_seconds:g} s later"
        )


def _check_copies(copies: Mapping[int, LocalCopy], there: Changelog) -> None:
    if not copies:
        end_with_error("there is no copy of the table in the folders named")
    unknown = sorted(copies.keys() - there.ends.keys())
    if unknown:
        end_with_error(
            f"{there.topic} has no partitions {unknown}: make it with the CJ_PARTITIONS that the copies were made with"
        )


def _ask(copies: Mapping[int, LocalCopy], there: Changelog) -> None:
    for partition, end in sorted(there.ends.items()):
        copy = copies.get(partition)
        source = f"{copy.path}, a copy up to offset {copy.offset}" if copy else "nothing, there is no copy of it"
        click.echo(f"partition {partition}, which ends at {end} now: from {source}", err=True)
    click.confirm(f"Append the rows of these copies to {there.topic}?", abort=True, err=True)


def _write(settings: Settings, copies: Mapping[int, LocalCopy]) -> dict[int, int]:
    written: dict[int, int] = {}
    with progress("writing") as say:
        for partition, copy in copies.items():

            def told(rows: int, partition: int = partition) -> None:
                say(f"partition {partition}, {len(written)} of {len(copies)} done: {rows} rows written")

            topic = settings.changelog_topic
            written[partition] = asyncio.run(write_rows(settings.kafka, topic, partition, copy.rows(), told))
    return written


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
