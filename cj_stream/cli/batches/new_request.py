"""Asking for a ranking: texts from a folder or a CSV into the content store, and the request to its topic."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from cj_stream.content.client import ContentClient
from cj_stream.content.stores import MAX_TEXT_BYTES
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides, read_request
from cj_stream.contracts.request_writer import write_request
from cj_stream.operations.settings import Settings

USER = "cj-stream"
NOT_STORED = "0" * 32
_STOP_SECONDS = 3.0
_UPLOADS_AT_ONCE = 8


class EssayText(NamedTuple):
    """An essay to be submitted: with its text, or with the storage id under which the text already lies."""

    essay_id: str
    text: str | None = None
    storage_id: str | None = None


class Wishes(NamedTuple):
    """What a request may say besides its essays: ``threshold`` as a share, ``task`` as text."""

    batch_id: str
    correlation_id: UUID
    language: str = "en"
    course: str = "ENG6"
    task: str | None = None
    model: str | None = None
    max_comparisons: int | None = None
    threshold: float | None = None
    max_cost: float | None = None
    priority: int = 0
    reuse_judgements: str | None = None


def read_texts(path: Path) -> list[EssayText]:
    """Return the essays of a folder (each ``*.txt``, named by its file) or of a CSV.

    The CSV's first line names the columns ``essay_id`` and ``text`` or ``storage_id``. Raises ValueError naming the
    place of what is wrong, OSError when something cannot be read.
    """
    texts = list(_texts_of_folder(path) if path.is_dir() else _texts_of_csv(path))
    if not texts:
        raise ValueError(f"{path} holds no essays: give a folder of .txt files, or a CSV with essay_id and text")
    blank = next((text.essay_id for text in texts if text.text is not None and not text.text.strip()), None)
    if blank is not None:
        raise ValueError(f"the text of {blank!r} in {path} is blank: fill it in, or leave the essay out")
    return texts


def _texts_of_folder(folder: Path) -> Iterator[EssayText]:
    for path in sorted(folder.glob("*.txt")):
        yield EssayText(path.stem, text=_decoded(path))


def _decoded(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from error


def _texts_of_csv(path: Path) -> Iterator[EssayText]:
    csv.field_size_limit(MAX_TEXT_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            columns = set(rows.fieldnames or ())
            if "essay_id" not in columns or len(columns & {"text", "storage_id"}) != 1:
                raise ValueError(f"{path}: the first line must name the columns essay_id and either text or storage_id")
            for row in rows:
                if not row["essay_id"] or (row.get("text") is None and row.get("storage_id") is None):
                    raise ValueError(f"{path}, line {rows.line_num}: a column is empty or missing")
                yield EssayText(row["essay_id"], row.get("text"), row.get("storage_id"))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV in UTF-8: {error}") from error


async def request_ranking(settings: Settings, texts: Sequence[EssayText], wishes: Wishes) -> AssessmentRequest:
    """Store the texts, send the request, and return it once the broker has it. Raises what `store` and `send` raise."""
    request = await store(settings, texts, wishes)
    await send(settings, request)
    return request


async def store(settings: Settings, texts: Sequence[EssayText], wishes: Wishes) -> AssessmentRequest:
    """Store the texts and return the request for their ranking, checked as the service will check it.

    Raises Refused for a request that the service would not take, ContentError when a text cannot be stored.
    """
    async with ContentClient(settings) as content:
        request = _request(wishes, await _stored(content, texts), wishes.task and await content.store(wishes.task))
    read_request(write_request(request, uuid4()), max_essays=settings.max_essays)
    return request


def not_stored(settings: Settings, texts: Sequence[EssayText], wishes: Wishes) -> AssessmentRequest:
    """Return the request for a ranking of texts that are not stored. Raises Refused as the service would."""
    essays = tuple(RequestedEssay(text.essay_id, text.storage_id or NOT_STORED) for text in texts)
    request = _request(wishes, essays, None)
    return read_request(write_request(request, uuid4()), max_essays=settings.max_essays)


async def send(settings: Settings, request: AssessmentRequest) -> None:
    """Send the request and wait until the broker has it. Raises KafkaError when it does not take it."""
    producer = settings.kafka.producer()
    message, key = write_request(request, uuid4()), request.batch_id.encode()
    try:
        await producer.start()
        await producer.send_and_wait(settings.assessment_request_topic, message, key=key)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await producer.stop()


async def _stored(content: ContentClient, texts: Sequence[EssayText]) -> tuple[RequestedEssay, ...]:
    slots = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def stored(text: EssayText) -> RequestedEssay:
        async with slots:
            return RequestedEssay(text.essay_id, text.storage_id or await content.store(text.text or ""))

    return tuple(await asyncio.gather(*(stored(text) for text in texts)))


def _request(wishes: Wishes, essays: tuple[RequestedEssay, ...], task_id: str | None) -> AssessmentRequest:
    return AssessmentRequest(
        batch_id=wishes.batch_id,
        correlation_id=wishes.correlation_id,
        essays=essays,
        language=wishes.language,
        course_code=wishes.course,
        overrides=RequestedOverrides(model=wishes.model),
        prompt_storage_id=task_id,
        user_id=USER,
        max_comparisons=wishes.max_comparisons,
        completion_threshold=wishes.threshold,
        max_cost=wishes.max_cost,
        priority=wishes.priority,
        reuse_judgements=wishes.reuse_judgements,
        requested_at=datetime.now(UTC),
    )
