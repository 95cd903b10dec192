"""``cj-stream dev``: everything that a batch needs, on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cj_stream.cli.shared.options import load_settings, program
from cj_stream.cli.shared.output import console, end_with_error
from cj_stream.cli.shared.rendering import plain
from cj_stream.devkit.processes import Interrupted, run_until_signal
from cj_stream.devkit.stack import Stack, StackError, prepare
from cj_stream.devkit.stack_file import STACK_FILE, write_stack_file
from cj_stream.domain.verdict_sources import MOCK_PROVIDER
from cj_stream.gateway.specs import Judges, read_judges

GATEWAY_PORT, FIRST_WEB_PORT = 8090, 6066

_EPILOG = """\b
Example (then, in another terminal: cj-stream submit examples/essays --model essays --wait):
  cj-stream dev --judge essays=simulated:qualities=examples/essays/qualities.csv,seed=7 --latency 2
"""


@click.command(epilog=_EPILOG)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 16))
@click.option(
    "--folder",
    default=STACK_FILE.parent,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Data, texts and logs; kept for the next time.",
)
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="NAME=SPEC",
    help="A judge of the gateway; see cj-stream gateway --help.",
)
@click.option(
    "--latency", default=1.0, show_default=True, type=click.FloatRange(min=0), help="Median seconds of a verdict."
)
@click.option(
    "--content",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that texts are read from and stored in.  [default: FOLDER/content]",
)
def dev(*, workers: int, folder: Path, judges: tuple[str, ...], latency: float, content: Path | None) -> None:
    """Run a broker with its topics, a judge gateway and workers in the foreground; Ctrl-C ends all.

    CJ_KAFKA_BOOTSTRAP uses another broker. While it runs, the other commands find it by themselves, from this folder.
    """
    load_settings()  # says at once what is wrong with them
    try:
        known = read_judges(judges, seed=0)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    changes = {"operator_token": os.environ.get("CJ_OPERATOR_TOKEN") or secrets.token_urlsafe(16)}
    if content is not None:
        changes["content_service_url"] = f"file:{content.resolve()}"
    stack = Stack(
        folder,
        workers=workers,
        judges=judges,
        latency_seconds=latency,
        changes=changes,
        ports=(GATEWAY_PORT, *range(FIRST_WEB_PORT, FIRST_WEB_PORT + workers)),
        say=_say,
    )
    try:
        prepare(_say)
        run_until_signal(_run(stack, known))
    except StackError as error:
        end_with_error(str(error))
    except Interrupted as interrupted:
        _say("everything has ended")
        # Ctrl-C is how this command is meant to end.
        sys.exit(0 if interrupted.is_ctrl_c else interrupted.exit_code)


def _say(text: str) -> None:
    console.print(plain(text), soft_wrap=True)


async def _run(stack: Stack, known: Judges) -> None:
    async with stack:
        with _stack_file(stack):
            _tell(stack, known)
            await stack.run(_for_ever())


async def _for_ever() -> None:
    await asyncio.Event().wait()


@contextmanager
def _stack_file(stack: Stack) -> Iterator[None]:
    """Say in a file, while the stack runs, how other commands reach it."""
    path = stack.folder / STACK_FILE.name
    write_stack_file(path, {**stack.environment, "CJ_WEB_URL": ",".join(stack.worker_urls)})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _tell(stack: Stack, known: Judges) -> None:
    first, *_ = stack.worker_urls
    facts = {
        "dashboard": f"{first}/",
        "workers": " ".join(stack.worker_urls),
        "gateway": stack.gateway_url,
        "judges": ", ".join(f"{name} ({judge.scope})" for name, judge in known.named.items()),
        "broker": stack.settings.kafka_bootstrap,
        "texts": stack.settings.content_service_url,
        "logs": f"{stack.folder / 'logs'}",
    }
    for name, value in facts.items():
        _say(f"  {name:<10} {value}")
    if any(judge.scope.startswith(f"{MOCK_PROVIDER}/") for judge in known.named.values()):
        _say(f"Behind {MOCK_PROVIDER} is no model: such verdicts are simulated or recorded, and results say so.")
    if stack.folder != STACK_FILE.parent.resolve():
        _say(f"In another terminal, first: set -a; . {shlex.quote(str(stack.folder / STACK_FILE.name))}; set +a")
    _say(f"Ready. In another terminal, for example: {program()} submit examples/essays --wait")
    _say("Ctrl-C ends everything.")
