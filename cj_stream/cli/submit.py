"""``cj-stream submit``: texts in, batch id out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

import click
from aiokafka.errors import KafkaError
from rich.console import Console

from cj_stream.cli import submission, watching
from cj_stream.cli.client import ViewsClient
from cj_stream.cli.ended import Ended
from cj_stream.cli.options import ask, load_settings, program, url_option
from cj_stream.cli.output import console, echo_json, fail, json_option
from cj_stream.cli.submission import Text, Wishes, read_texts
from cj_stream.content.errors import ContentError
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.requests import AssessmentRequest

_EPILOG = """\b
A CSV names in its first line the columns essay_id and text, or essay_id and storage_id.

\b
Examples:
  cj-stream submit examples/essays --task examples/essays/task.md --wait
  cj-stream submit essays.csv --batch-id spring-2026 --max-comparisons 400
"""


@click.command(epilog=_EPILOG)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--batch-id", help="Name of the batch.  [default: a new UUID]")
@click.option("--correlation-id", type=click.UUID, help="Comes back in the outcome events.  [default: a new UUID]")
@click.option(
    "--task", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What the students were asked."
)
@click.option("--model", help="Model that judges; with `cj-stream gateway`, the name of a judge.")
@click.option("--max-comparisons", type=click.IntRange(min=1), help="Budget of comparisons.")
@click.option(
    "--threshold",
    type=click.FloatRange(0.5, 1.0),
    help="Share of an iteration's verdicts at which it closes.  [default: CJ_COMPLETION_THRESHOLD_PCT]",
)
@click.option("--language", default="en", show_default=True)
@click.option("--course", default="ENG6", show_default=True, help="Course code.")
@click.option("--wait", is_flag=True, help="Watch until the batch ends, then show what came of it.")
@url_option
@json_option
def submit(  # noqa: PLR0913 -- one parameter per option
    *,
    path: Path,
    batch_id: str | None,
    correlation_id: UUID | None,
    task: Path | None,
    model: str | None,
    max_comparisons: int | None,
    threshold: float | None,
    language: str,
    course: str,
    wait: bool,
    urls: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask for a ranking of the essays in PATH: a folder of .txt files, or a CSV.

    Stores the texts, sends the request, and prints the batch id. With --wait the exit code is 0 only when the batch
    was COMPLETED.
    """
    try:
        texts = read_texts(path)
        task_text = task.read_text("utf-8-sig") if task else None
    except (ValueError, OSError) as error:
        fail(str(error))
    wishes = Wishes(
        batch_id=batch_id or str(uuid4()),
        correlation_id=correlation_id or uuid4(),
        language=language,
        course=course,
        task=task_text,
        model=model,
        max_comparisons=max_comparisons,
        threshold=threshold,
    )
    request = _send(texts, wishes)
    if wait:
        _wait(request, urls, as_json=as_json)
    elif as_json:
        echo_json(_sent(request))
    else:
        click.echo(request.batch_id)
        click.echo(f"{len(texts)} essays are on their way; next: {program()} watch {request.batch_id}", err=True)


def _send(texts: list[Text], wishes: Wishes) -> AssessmentRequest:
    settings = load_settings()
    try:
        return asyncio.run(submission.submit(settings, texts, wishes))
    except Refused as refused:
        fail(f"the service would refuse this request: {refused.detail}")
    except (ContentError, ValueError) as error:
        fail(f"the texts could not be stored at {settings.content_service_url}: {error}")
    except KafkaError as error:
        fail(
            f"the broker at {settings.kafka_bootstrap} did not take the request ({error or type(error).__name__}): "
            "start one (cj-stream dev), or set CJ_KAFKA_BOOTSTRAP; its topics come from cj-stream topics create"
        )


def _sent(request: AssessmentRequest) -> dict[str, object]:
    return {
        "batch_id": request.batch_id,
        "correlation_id": str(request.correlation_id),
        "essays": len(request.essays),
    }


def _wait(request: AssessmentRequest, urls: tuple[str, ...], *, as_json: bool) -> None:
    progress = Console(stderr=True)

    async def ended(client: ViewsClient) -> Ended:
        (detail,) = await watching.watch(client, [request.batch_id], progress)
        return await Ended.of(client, detail)

    outcome = ask(urls, ended)
    if as_json:
        echo_json({**_sent(request), "batch": outcome.detail, "result": outcome.result})
    else:
        outcome.show(console)
    if outcome.result is None:
        sys.exit(1)
