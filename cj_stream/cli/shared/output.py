"""How every command speaks: tables and texts on standard output, JSON for machines, errors as one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from rich.console import Console

SLOW_SECONDS = 3.0
"""How long nothing may be said while somebody is waited for."""

console = Console()
"""For people, on standard output."""
error_console = Console(stderr=True)
"""For what is going on meanwhile, on standard error."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
"""Adds ``--json``; the command receives it as ``as_json``."""


def echo_json(value: Any) -> None:
    """Print a value, dataclasses and dates included, as indented JSON on standard output."""
    encoded = msgspec.json.encode(value, enc_hook=_encode_path)
    click.echo(msgspec.json.format(encoded, indent=2))


def _encode_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form here")


def end_with_error(message: str) -> NoReturn:
    """End the command with exit code 1 and ``Error: message`` on standard error."""
    raise click.ClickException(message)


def warn(message: str) -> None:
    """Print ``Warning: message`` on standard error, and go on."""
    click.echo(f"Warning: {message}", err=True)


def note(message: str) -> None:
    """Print ``message`` on standard error: what is waited for, or is good to know."""
    click.echo(message, err=True)


@contextmanager
def telling_when_slow(who: str) -> Iterator[None]:
    """Say that ``who`` is waited for when the block, in a running event loop, takes long."""
    telling = asyncio.get_running_loop().call_later(SLOW_SECONDS, note, f"No answer yet from {who}: waiting for it.")
    try:
        yield
    finally:
        telling.cancel()


@contextmanager
def reporting(*expected: type[Exception]) -> Iterator[None]:
    """End the command in the words of the error when one of the ``expected`` errors is raised inside."""
    try:
        yield
    except expected as error:
        end_with_error(str(error))


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal's standard error what is going on; call the value with each new text."""
    with error_console.status(text) as status:
        yield status.update
