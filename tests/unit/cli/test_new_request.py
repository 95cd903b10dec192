from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from aiokafka.errors import KafkaConnectionError
from support.installation.command_runs import Run
from unit.cli.fake_views import FakeViews, detail, result

from cj_stream.agents.requests import requested
from cj_stream.cli.batches.new_request import EssayText, Wishes, read_texts, request_ranking, store
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, read_request
from cj_stream.engine import clients
from cj_stream.operations.settings import Settings

CORRELATION = UUID("70d20bdd-79e1-409d-961f-8469230b5ac5")


class SentMessages:
    """Stands in for the producer and keeps what was sent."""

    sent: ClassVar[list[tuple[str, bytes, bytes]]] = []
    broken: ClassVar[bool] = False

    def __init__(self, **_: Any) -> None:
        pass

    async def start(self) -> None:
        if self.broken:
            raise KafkaConnectionError("nobody there")

    async def stop(self) -> None:
        pass

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> None:
        self.sent.append((topic, value, key))


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes, bytes]]:
    monkeypatch.setattr(SentMessages, "sent", [])
    monkeypatch.setattr(clients, "AIOKafkaProducer", SentMessages)
    return SentMessages.sent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(content_service_url=f"file:{tmp_path / 'content'}")


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "essays.csv"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def essays_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "essays"
    folder.mkdir()
    (folder / "b.txt").write_text("Second.", encoding="utf-8-sig")
    (folder / "a.txt").write_text("Først.", encoding="utf-8")
    (folder / "task.md").write_text("What do you think?", encoding="utf-8")
    return folder


def test_a_folder_gives_its_text_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    assert read_texts(essays_folder(tmp_path)) == [EssayText("a", "Først."), EssayText("b", "Second.")]


def test_a_csv_gives_texts_or_storage_ids(csv_file: Callable[[str], Path]) -> None:
    texts = read_texts(csv_file('\ufeffessay_id,text\ne1,"One,\ntwo."\n'))
    assert texts == [EssayText("e1", "One,\ntwo.")]
    assert read_texts(csv_file("storage_id,essay_id,mark\ns1,e1,B\n")) == [EssayText("e1", None, "s1")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("essay_id,text\n", "holds no essays"),
        ("", "must name the columns"),
        ("id,text\n1,x\n", "must name the columns"),
        ("essay_id,text,storage_id\n1,x,y\n", "must name the columns"),
        ("essay_id,text\ne1\n", "line 2: a column is empty or missing"),
        ("essay_id,text\n,x\n", "line 2: a column is empty or missing"),
        ("essay_id,text\ne1, \n", "text of 'e1' .* is blank"),
        ('essay_id,text\ne1,"x\n', "not a CSV"),
    ],
)
def test_a_wrong_csv_is_refused_with_the_place(csv_file: Callable[[str], Path], content: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_texts(csv_file(content))


def test_a_text_in_another_encoding_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Først".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 at byte 1"):
        read_texts(tmp_path)


async def test_texts_and_task_are_stored_and_the_request_names_them(
    settings: Settings, sent: list[tuple[str, bytes, bytes]], tmp_path: Path
) -> None:
    wishes = Wishes("b1", CORRELATION, task="Think!", model="m", max_comparisons=50, threshold=0.9, language="sv")
    await request_ranking(settings, [EssayText("e1", "One."), EssayText("e2", storage_id="known")], wishes)
    ((topic, value, key),) = sent
    request = read_request(value, max_essays=10)
    assert (topic, key) == (settings.assessment_request_topic, b"b1")
    assert request.correlation_id == CORRELATION
    assert (request.overrides.model, request.max_comparisons, request.completion_threshold) == ("m", 50, 0.9)
    assert request.language == "sv"
    first, second = request.essays
    assert second == RequestedEssay("e2", "known")
    stored = {path.stem: path.read_text() for path in (tmp_path / "content").iterdir()}
    assert stored == {first.text_storage_id: "One.", request.prompt_storage_id: "Think!"}


async def test_what_the_service_would_refuse_is_not_sent(settings: Settings, sent: list[object]) -> None:
    with pytest.raises(Refused, match="duplicate_essay_ids"):
        await request_ranking(settings, [EssayText("e1", "One."), EssayText("e1", "Two.")], Wishes("b1", CORRELATION))
    assert sent == []


def test_submit_prints_the_batch_id_alone_on_standard_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "essays").mkdir()
    outcome = run("submit", str(essays_folder(tmp_path / "essays")), "--batch-id", "b1", env=content_in(tmp_path))
    assert (outcome.exit_code, outcome.stdout) == (0, "b1\n")
    assert "cj-stream watch b1" in outcome.stderr


def test_submit_and_wait_shows_the_ranking_and_succeeds_only_with_one(
    run: Run, views: FakeViews, tmp_path: Path
) -> None:
    folder = str(essays_folder(tmp_path))
    new = (404, {"error": {"code": "no_such_batch", "message": "There is no batch 'b1'."}})
    views.answer("/batches/b1", new, (200, detail(state="COMPLETED")))
    views.answer("/batches/b1/result", (200, result()))
    outcome = run("submit", folder, "--batch-id", "b1", "--wait", env=content_in(tmp_path))
    assert outcome.exit_code == 0
    assert "final ranking" in outcome.stdout
    failed = detail(state="FAILED", failure="low_success_rate", failure_details={"x_y": 3}, run=2)
    views.answer("/batches/b1", (200, detail(state="COMPLETED")), (200, detail(state="COMPLETED")), (200, failed))
    views.answer(
        "/batches/b1/comparisons?status=FAILED&limit=1000", (200, {"comparisons": [{"error_code": "TIMEOUT"}]})
    )
    outcome = run("submit", folder, "--batch-id", "b1", "--wait", env=content_in(tmp_path))
    assert outcome.exit_code == 1
    for part in ("low_success_rate", "x y: 3", "1 x TIMEOUT"):
        assert part in outcome.stdout


def known_as(views: FakeViews, request: AssessmentRequest, **changes: object) -> None:
    """Have the views know the batch of ``request``."""
    event = requested(request)
    known: dict[str, Any] = {"correlation_id": event.correlation_id, "processing_metadata": {"digest": event.digest}}
    views.answer("/batches/b1", (200, detail(**(known | changes))))


@pytest.mark.parametrize(
    ("changes", "exit_code", "told"),
    [
        ({"state": "WAITING_CALLBACKS"}, 0, "is being judged already (run 1): this request waits for it"),
        ({"processing_metadata": {"digest": "x"}}, 1, "the service would refuse this request. Send it when"),
        ({"state": "COMPLETED"}, 0, "has ended (COMPLETED): its outcome is published again"),
        ({"state": "FAILED", "correlation_id": "0"}, 0, "has ended (run 1, FAILED): 2 essays start run 2 of it"),
    ],
)
async def test_what_a_known_batch_id_does_to_a_request_is_said_before_it_is_sent(
    run: Run,
    views: FakeViews,
    tmp_path: Path,
    sent: list[object],
    changes: dict[str, object],
    exit_code: int,
    told: str,
) -> None:
    folder, wishes = essays_folder(tmp_path), Wishes("b1", CORRELATION)
    request = await store(
        Settings(content_service_url=content_in(tmp_path)["CJ_CONTENT_SERVICE_URL"]), read_texts(folder), wishes
    )
    known_as(views, request, **changes)
    arguments = ("submit", str(folder), "--batch-id", "b1", "--correlation-id", str(CORRELATION))
    outcome = await asyncio.to_thread(run, *arguments, env=content_in(tmp_path))
    assert told in outcome.stderr
    assert (outcome.exit_code, len(sent)) == (exit_code, 1 - exit_code)


def test_without_a_worker_the_request_is_sent_and_waits(run: Run, tmp_path: Path, sent: list[object]) -> None:
    unreachable = {"CJ_WEB_URL": "http://127.0.0.1:1", **content_in(tmp_path)}
    outcome = run("submit", str(essays_folder(tmp_path)), "--batch-id", "b1", env=unreachable)
    assert "The request waits until a worker runs." in outcome.stderr
    assert len(sent) == 1


def test_without_anything_running_submit_says_what_to_start(run: Run, tmp_path: Path) -> None:
    outcome = run("submit", str(essays_folder(tmp_path)), env={"CJ_CONTENT_SERVICE_URL": "http://127.0.0.1:1"})
    assert outcome.exit_code == 1
    assert "start everything on this machine with" in outcome.stderr


def test_submit_as_json_says_what_was_sent(run: Run, tmp_path: Path) -> None:
    arguments = ("--batch-id", "b1", "--correlation-id", str(CORRELATION), "--json")
    outcome = run("submit", str(essays_folder(tmp_path)), *arguments, env=content_in(tmp_path))
    assert json.loads(outcome.stdout) == {"batch_id": "b1", "correlation_id": str(CORRELATION), "essays": 2} | {
        "fate": "starts",
        "run": 1,
    }


def test_without_a_broker_submit_says_so_and_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentMessages, "broken", True)
    outcome = run("submit", str(essays_folder(tmp_path)), env=content_in(tmp_path))
    assert outcome.exit_code == 1
    assert "localhost:9092 did not take the request" in outcome.output
    assert "cj-stream dev" in outcome.output


def test_a_wrong_setting_is_named(run: Run, tmp_path: Path) -> None:
    outcome = run("submit", str(essays_folder(tmp_path)), env={"CJ_WEB_PORT": "many"})
    assert outcome.exit_code == 1
    assert "CJ_WEB_PORT" in outcome.output


def content_in(tmp_path: Path) -> dict[str, str]:
    return {"CJ_CONTENT_SERVICE_URL": f"file:{tmp_path / 'content'}"}
