"""What several commands share: where the workers are, and how their answers and errors reach the user."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import click
from pydantic import SecretStr

from cj_stream.cli.shared.output import end_with_error, note, reporting, warn
from cj_stream.cli.shared.views_client import ViewError, ViewsClient
from cj_stream.devkit.stack_file import stack_runs, stack_variables
from cj_stream.operations.environment import BadSettingsError, read_settings, unknown_variables
from cj_stream.operations.settings import Settings

Result = TypeVar("Result")

PROGRAM = "cj-stream"
DEFAULT_URL = "http://127.0.0.1:6066"


url_option = click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    help="Address of a worker; may be repeated.  [default: CJ_WEB_URL, what `cj-stream dev` runs, or "
    + DEFAULT_URL
    + "]",
)


def program() -> str:
    """Return what this program is called by where the user is now: by its name if that is found, else by its path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == PROGRAM and shutil.which(PROGRAM) is None else PROGRAM


def start_advice(setting: str) -> str:
    """Return what to do when something that ``setting`` is the address of does not answer."""
    if stack_runs():
        return "`cj-stream dev` runs in this folder, and starts what has ended again: see what it says in its terminal"
    return f"start everything on this machine with {program()} dev, or set {setting} to the address of one that runs"


def load_settings() -> Settings:
    """Return the settings of the environment, completed by those of a running ``cj-stream dev``."""
    _warn_of_unknown_variables()
    variables = {name.lower().removeprefix("cj_"): value for name, value in _running().items()}
    with reporting(BadSettingsError):
        return read_settings({name: value for name, value in variables.items() if name in Settings.model_fields})


@cache
def _warn_of_unknown_variables() -> None:
    for sentence in unknown_variables():
        warn(sentence)


def worker_urls(urls: tuple[str, ...]) -> list[str]:
    """Return the addresses to ask: those given, else CJ_WEB_URL (separated by commas), else the default."""
    known = os.environ.get("CJ_WEB_URL") or _running().get("CJ_WEB_URL") or DEFAULT_URL
    return list(urls) or known.split(",")


def _running() -> dict[str, str]:
    with reporting(ValueError):
        return stack_variables()


def secret(setting: SecretStr | None) -> str | None:
    """Return what a setting hides, None when it is not set."""
    return None if setting is None else setting.get_secret_value()


def ask(urls: tuple[str, ...], question: Callable[[ViewsClient], Awaitable[Result]]) -> Result:
    """Return the answer to ``question``; an error of the views ends the command with its message."""
    settings = load_settings()
    token, reader = secret(settings.operator_token), secret(settings.reader_token)

    async def answer() -> Result:
        async with ViewsClient(worker_urls(urls), token=token, reader=reader, say=note) as client:
            return await question(client)

    try:
        return asyncio.run(answer())
    except ViewError as error:
        end_with_error(str(error))
