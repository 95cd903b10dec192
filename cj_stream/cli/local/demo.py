"""``cj-stream demo``: from essays to rankings in a minute, with everything real but the judges."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import click
from aiokafka.errors import KafkaError

from cj_stream.cli.batches import live_progress, new_request
from cj_stream.cli.batches.ended import Ended
from cj_stream.cli.batches.new_request import Wishes
from cj_stream.cli.local.demo_batches import DemoBatch, demo_batches, find_examples
from cj_stream.cli.local.demo_outcomes import PublishedOutcome, read_outcomes
from cj_stream.cli.shared.options import load_settings, program
from cj_stream.cli.shared.output import console, end_with_error
from cj_stream.cli.shared.rendering import plain, result_csv, rows_table
from cj_stream.cli.shared.views_client import ViewError, ViewsClient
from cj_stream.content.errors import ContentError
from cj_stream.devkit.endings import of_system
from cj_stream.devkit.processes import Interrupted, run_until_signal
from cj_stream.devkit.stack import Stack, StackError, own_bootstrap, prepare
from cj_stream.gateway.gateway_service import topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

OUTPUT = Path("var/demo")
LATENCY_SECONDS = 0.6
MONITOR_MINUTES = 1 / 60
OUTCOME_SECONDS = 15.0

NEXT = {
    "dev": "the same in the foreground, with a dashboard",
    "submit examples/essays --wait": "in another terminal: rank a folder of texts",
    "list": "and: watch, results, explain, cancel, retry, finalize",
    "gateway --help": "other judges: models, recorded, simulated",
}

_EPILOG = """\b
Example:
  cj-stream demo --keep
"""


class DemoError(Exception):
    """The demo did not come out as it has to; the text says what."""


@click.command(epilog=_EPILOG)
@click.option("--keep", is_flag=True, help="Keep the temporary folder with the broker's data and all logs.")
@click.option(
    "--timeout", default=240.0, show_default=True, type=click.FloatRange(min=1), help="Seconds for all of it."
)
def demo(*, keep: bool, timeout: float) -> None:
    """Judge three batches at once with two workers on a real broker, and check what comes out.

    The rankings are written to var/demo as CSV and JSON. Exit code 0 only if everything came out as expected.
    """
    load_settings()  # says at once what is wrong with them
    began = time.monotonic()
    folder = _own_folders()  # at once, and not when everything is done
    try:
        batches = demo_batches(find_examples())
        prepare(_say)
        run_until_signal(_run(batches, folder, timeout))
    except (DemoError, StackError, ViewError, KafkaError, ContentError, OSError, ValueError) as error:
        _save_logs(folder)
        end_with_error(f"the demo failed: {str(error) or type(error).__name__}")
    except Interrupted as interrupted:
        _say("interrupted; everything has ended")
        sys.exit(interrupted.exit_code)
    finally:
        _clean_up(folder, keep=keep)
    _say(f"Everything came out as expected, in {time.monotonic() - began:.0f} s.\n\nWhat to try next:")
    for command, what in NEXT.items():
        _say(f"  {program()} {command:<32} {what}")


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)


async def _run(batches: Sequence[DemoBatch], folder: Path, timeout: float) -> None:  # noqa: ASYNC109 -- of all of it
    stack = Stack(
        folder,
        workers=2,
        judges=[f"{batch.name}={batch.judge}" for batch in batches],
        latency_seconds=LATENCY_SECONDS,
        changes={
            "batch_monitor_interval_minutes": MONITOR_MINUTES,
            **_own_names(),
        },
        say=_say,
    )
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        # The limit lies inside: ending the stack must not be cut short.
        async with stack, asyncio.timeout_at(deadline):
            _say("ready: " + " ".join(stack.worker_urls))
            await stack.run(_judge(stack, batches))
    except TimeoutError as error:
        raise DemoError(f"it took longer than {timeout:g} s (--timeout)") from error
    finally:
        if own_bootstrap():
            await _delete_topics(stack)


def _own_names() -> dict[str, str]:
    """Return names of our own for group and topics where the broker may be somebody else's."""
    if own_bootstrap() is None:
        return {}
    prefix = f"cj-demo-{uuid4().hex[:8]}"
    topics = [name for name in Settings.model_fields if name.endswith("_topic")]
    return {"app_id": prefix} | {name: f"{prefix}.{Settings.model_fields[name].default}" for name in topics}


async def _delete_topics(stack: Stack) -> None:
    settings = stack.settings
    admin = settings.kafka.admin()
    try:
        await admin.start()
        await admin.delete_topics([spec.name for spec in (*registry(settings), *topics(stack.gateway_settings))])
    except KafkaError as error:
        _say(f"the topics {settings.app_id}.* could not be deleted: {error}")
    finally:
        await admin.close()


async def _judge(stack: Stack, batches: Sequence[DemoBatch]) -> None:
    for batch in batches:
        _say(f"  {batch.name:<9} {batch.about}")
    wishes = [Wishes(batch.name, uuid4(), task=batch.task, model=batch.name) for batch in batches]
    settings = stack.settings
    await asyncio.gather(
        *(new_request.request_ranking(settings, batch.texts, wish) for batch, wish in zip(batches, wishes, strict=True))
    )
    async with ViewsClient(stack.worker_urls) as client:
        details = await live_progress.show_until_ended(client, [batch.name for batch in batches], console)
        ended = [await Ended.of(client, detail) for detail in details]
    expected = {(batch.name, kind) for batch in batches for kind in batch.outcomes}
    outcomes = await read_outcomes(settings, expected, OUTCOME_SECONDS)
    _show(batches, ended, outcomes)
    _write(ended, outcomes)
    missing = expected - {(outcome.batch_id, outcome.kind) for outcome in outcomes}
    objections = [f"the {kind} event of {name} was not published" for name, kind in sorted(missing)]
    objections += [text for batch, one in zip(batches, ended, strict=True) for text in batch.objections(one)]
    if objections:
        raise DemoError("; ".join(objections))


def _show(batches: Sequence[DemoBatch], ended: Sequence[Ended], outcomes: Sequence[PublishedOutcome]) -> None:
    for batch, one in zip(batches, ended, strict=True):
        console.print()
        one.show(console)
        if batch.scale is not None and one.result is not None:
            ranks, values = batch.scale.agreement(one.result)
            _say(f"Agreement with {batch.scale.name}: Spearman {ranks:.3f}, Pearson {values:.3f}")
    rows = [{**outcome._asdict(), "at": f"{outcome.partition}/{outcome.offset}"} for outcome in outcomes]
    console.print()
    console.print(rows_table("Outcome events read back from the broker", ("batch_id", "kind", "event_id", "at"), rows))


def _own_folders() -> Path:
    """Make the folder of what is written, for us alone, and return a temporary one for all the rest."""
    try:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        OUTPUT.chmod(0o700)
        return Path(tempfile.mkdtemp(prefix="cj-stream-demo-"))
    except OSError as error:
        end_with_error(
            f"{of_system(error)}: the demo writes to {OUTPUT} of the folder where it is started, and to TMPDIR"
        )


def _write(ended: Sequence[Ended], outcomes: Sequence[PublishedOutcome]) -> None:
    for one in ended:
        name = one.detail["batch_id"]
        _write_json(name, {"batch": one.detail, "result": one.result})
        if one.result is not None:
            (OUTPUT / f"{name}.csv").write_text(result_csv(one.result), encoding="utf-8")
    _write_json("outcomes", [outcome._asdict() for outcome in outcomes])
    console.print(plain(f"Written: {OUTPUT}/ with {', '.join(sorted(path.name for path in OUTPUT.glob('*.*')))}"))


def _write_json(name: str, value: object) -> None:
    (OUTPUT / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _save_logs(folder: Path) -> None:
    logs = [*folder.glob("logs/*.log"), *folder.glob("kafka/*.log")]
    kept = OUTPUT / "logs"
    if not logs:
        return
    try:
        kept.mkdir(exist_ok=True)
        for log in logs:
            shutil.copy(log, kept)
    except OSError as error:
        _say(f"the logs could not be kept: {of_system(error)}")
    else:
        _say(f"the logs are in {kept}")


def _clean_up(folder: Path, *, keep: bool) -> None:
    if keep:
        _say(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
