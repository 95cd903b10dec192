"""What several commands share: where the workers are, and how their answers and errors reach the user."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cj_stream.cli.client import ViewError, ViewsClient
from cj_stream.cli.output import describe_settings_error, fail, note
from cj_stream.operations.settings import Settings

Result = TypeVar("Result")

STACK_FILE = Path("var/dev/stack.env")
"""Written by ``cj-stream dev``: how to reach what it runs, as variables. The environment wins over it."""
PROGRAM = "cj-stream"
DEFAULT_URL = "http://127.0.0.1:6066"


class _WebSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CJ_", env_file=STACK_FILE, extra="ignore")

    web_url: str = DEFAULT_URL


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
    if STACK_FILE.exists():
        return "`cj-stream dev` runs in this folder, and starts what has ended again: see what it says in its terminal"
    return f"start everything on this machine with {program()} dev, or set {setting} to the address of one that runs"


def load_settings() -> Settings:
    """Return the settings of the environment, completed by those of a running ``cj-stream dev``."""
    try:
        return Settings(_env_file=STACK_FILE)
    except ValidationError as error:
        fail(describe_settings_error(error))


def worker_urls(urls: tuple[str, ...]) -> list[str]:
    """Return the addresses to ask: those given, else CJ_WEB_URL (separated by commas), else the default."""
    return list(urls) or _WebSettings().web_url.split(",")


def ask(urls: tuple[str, ...], question: Callable[[ViewsClient], Awaitable[Result]]) -> Result:
    """Return the answer to ``question``; an error of the views ends the command with its message."""
    secret = load_settings().operator_token
    token = None if secret is None else secret.get_secret_value()

    async def answer() -> Result:
        async with ViewsClient(worker_urls(urls), token=token, say=note) as client:
            return await question(client)

    try:
        return asyncio.run(answer())
    except ViewError as error:
        fail(str(error))
