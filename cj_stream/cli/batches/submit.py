"""``cj-stream submit``: texts in, batch id out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

import click
from aiokafka.errors import KafkaError
from msgspec import structs
from rich.console import Console

from cj_stream.cli.batches import estimating, live_progress, new_request
from cj_stream.cli.batches.ended import Ended
from cj_stream.cli.batches.new_request import EssayText, Wishes, read_texts
from cj_stream.cli.batches.request_fate import Fate, Foreseen, foreseen
from cj_stream.cli.shared.broker import ask_kafka
from cj_stream.cli.shared.options import ask, load_settings, program, secret, start_advice, url_option, worker_urls
from cj_stream.cli.shared.output import console, echo_json, end_with_error, json_option, note
from cj_stream.cli.shared.views_client import ViewError, ViewsClient
from cj_stream.content.errors import ContentError
from cj_stream.contracts.knobs import MOST_DOLLARS, PRIORITIES
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest

_OPENING_SECONDS = 2.0

_EPILOG = """\b
A CSV names in its first line the columns essay_id and text, or essay_id and storage_id.

\b
Examples:
  cj-stream submit examples/essays --task examples/essays/task.md --wait
  cj-stream submit essays.csv --batch-id spring-2026 --max-comparisons 400
  cj-stream submit examples/essays --model mine --budget 2.50 --priority 3
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
    "--budget",
    "max_cost",
    type=click.FloatRange(min=0, min_open=True, max=MOST_DOLLARS),
    help="US dollars that the verdicts may cost; needs a judge whose price is known.",
)
@click.option(
    "--priority",
    type=click.IntRange(-PRIORITIES, PRIORITIES),
    default=0,
    show_default=True,
    help="Of its comparisons at the provider: the highest goes first.",
)
@click.option(
    "--reuse-judgements",
    metavar="BATCH",
    help="Take over the verdicts of this batch on the same texts, asked with the same task, rubric and model.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.5, 1.0),
    help="Share of an iteration's verdicts at which it closes.  [default: CJ_COMPLETION_THRESHOLD_PCT]",
)
@click.option("--language", default="en", show_default=True)
@click.option("--course", default="ENG6", show_default=True, help="Course code.")
@click.option("--estimate", is_flag=True, help="Only say what it will cost; nothing is stored, sent or paid.")
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
    max_cost: float | None,
    priority: int,
    reuse_judgements: str | None,
    threshold: float | None,
    language: str,
    course: str,
    estimate: bool,
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
        end_with_error(str(error))
    wishes = Wishes(
        batch_id=batch_id or str(uuid4()),
        correlation_id=correlation_id or uuid4(),
        language=language,
        course=course,
        task=task_text,
        model=model,
        max_comparisons=max_comparisons,
        max_cost=max_cost,
        priority=priority,
        reuse_judgements=reuse_judgements,
        threshold=threshold,
    )
    if estimate:
        _estimate(texts, wishes, as_json=as_json)
        return
    request, what_becomes = _send(texts, wishes, urls)
    if wait:
        _wait(request, what_becomes.run, urls, as_json=as_json)
    elif as_json:
        echo_json({**_sent(request), "fate": what_becomes.fate, "run": what_becomes.run})
    else:
        click.echo(request.batch_id)
        note(f"Next: {program()} watch {request.batch_id}")


def _estimate(texts: list[EssayText], wishes: Wishes, *, as_json: bool) -> None:
    try:
        found = asyncio.run(estimating.estimated(load_settings(), texts, wishes))
    except Refused as refused:
        end_with_error(f"the service would refuse this request: {refused.detail}")
    except (estimating.NoTermsError, ContentError, ValueError) as error:
        end_with_error(str(error))
    if as_json:
        echo_json({**found._asdict(), "terms": structs.asdict(found.terms)})
    else:
        click.echo("\n".join(estimating.told(found)))


def _send(texts: list[EssayText], wishes: Wishes, urls: tuple[str, ...]) -> tuple[AssessmentRequest, Foreseen]:
    settings = load_settings()
    try:
        request = asyncio.run(new_request.store(settings, texts, wishes))
        what_becomes = asyncio.run(_foresee(request, urls, secret(settings.reader_token)))
        ask_kafka(settings.kafka_bootstrap, new_request.send(settings, request))
    except Refused as refused:
        end_with_error(f"the service would refuse this request: {refused.detail}")
    except (ContentError, ValueError) as error:
        advice = start_advice("CJ_CONTENT_SERVICE_URL")
        end_with_error(f"the texts could not be stored at {settings.content_service_url} ({error}): {advice}")
    except KafkaError as error:
        why, advice = str(error) or type(error).__name__, start_advice("CJ_KAFKA_BOOTSTRAP")
        end_with_error(
            f"Kafka at {settings.kafka_bootstrap} did not take the request ({why}): {advice}. "
            f"Its topics come from {program()} topics create"
        )
    return request, what_becomes


async def _foresee(request: AssessmentRequest, urls: tuple[str, ...], reader: str | None) -> Foreseen:
    """Say what will become of the request; end the command when it would be refused."""
    try:
        async with ViewsClient(worker_urls(urls), reader=reader, opening_seconds=_OPENING_SECONDS) as client:
            found = foreseen(request, await client.batch(request.batch_id))
    except ViewError as error:
        found = foreseen(request, None)
        if not error.is_unknown_batch:
            note(f"Whether this batch id is known cannot be asked: {error}. The request waits until a worker runs.")
    if found.fate is Fate.REFUSED:
        end_with_error(found.told)
    note(f"{found.told}.")
    return found


def _sent(request: AssessmentRequest) -> dict[str, object]:
    return {
        "batch_id": request.batch_id,
        "correlation_id": str(request.correlation_id),
        "essays": len(request.essays),
    }


def _wait(request: AssessmentRequest, run: int, urls: tuple[str, ...], *, as_json: bool) -> None:
    progress = Console(stderr=True)

    async def ended(client: ViewsClient) -> Ended:
        (detail,) = await live_progress.show_until_ended(client, [request.batch_id], progress, first_run=run)
        return await Ended.of(client, detail)

    outcome = ask(urls, ended)
    if as_json:
        echo_json({**_sent(request), "batch": outcome.detail, "result": outcome.result})
    else:
        outcome.show(console)
    if outcome.result is None:
        sys.exit(1)
