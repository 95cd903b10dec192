"""Today's code starts on what an earlier version left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from recorded.played import play
from recorded.recording import Recording, read_recording, recordings
from support.installation.stage import Stage, document_of, staged

from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest, read_request
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.states import TERMINAL
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

UNTELLABLE = "untellable"
"""A batch with an outcome that its topic will never take: not everybody is told of it."""
STAYS = ("state", "finished_at", "total_comparisons", "completed_comparisons", "failed_comparisons", "outcomes")


@pytest.mark.parametrize("path", recordings(), ids=lambda path: path.name.removesuffix(".jsonl.xz"))
async def test_what_an_earlier_version_left_goes_on_and_what_had_ended_stays(
    path: Path, settings: Settings, tmp_path: Path
) -> None:
    recording = read_recording(path)
    await play(recording, settings)
    async with staged(settings, tmp_path) as stage:
        requests = _requests(recording)
        for storage_id in (essay.text_storage_id for request in requests for essay in request.essays):
            (stage.content / f"{storage_id}.txt").write_text(f"An essay: {storage_id}.")
        await stage.fleet.start(2)
        for callback in recording.to_come:
            await stage.provider.say(callback)

        known = {request.batch_id for request in requests} - {"deleted"}
        await stage.ended(*(known - {UNTELLABLE}))
        assert set(await stage.fleet.batches()) == known
        for name, then in recording.shown.items():
            await _check(stage, name, then)
        # Who was asked before, and whose answer was to come, was not asked again.
        assert not stage.provider.submissions.keys() & _accepted(recording)
        assert {letter.reason for letter in stage.mailbox.dead_letters[len(recording.of("dead_letters_topic")) :]} == {
            "not_json"
        }
        _check_outcomes(stage, recording)


def _requests(recording: Recording) -> list[AssessmentRequest]:
    found = []
    for record in recording.of("assessment_request_topic"):
        try:
            found.append(read_request(record.value, max_essays=Settings().max_essays))
        except Refused:
            continue
    return found


async def _check(stage: Stage, name: str, then: dict[str, Any]) -> None:
    """Assert that a run that had ended is what it was, and that a live one kept every verdict that it had."""
    batch_id, run = name.partition("/")[0], then["detail"]["run"]
    now = await stage.fleet._page(f"/batches/{batch_id}?run={run}")
    page = await stage.fleet._page(f"/batches/{batch_id}/comparisons?run={run}&limit=1000")
    assert now is not None
    assert page is not None
    if then["detail"]["state"] in TERMINAL:
        assert {fact: now[fact] for fact in STAYS} == {fact: then["detail"][fact] for fact in STAYS}
        ended = await stage.fleet._page(f"/batches/{batch_id}/result?run={run}")
        assert (ended and ended["ranking"]) == (then["result"] and then["result"]["ranking"])
    else:
        assert now["state"] == ("CANCELLED" if batch_id == "to-cancel" else "COMPLETED"), now
    for old, new in zip(then["comparisons"]["comparisons"], page["comparisons"], strict=False):
        what = ("index", "essay_a_id", "essay_b_id") + (("winner", "attempt") if old["status"] == "JUDGED" else ())
        assert {key: new[key] for key in what} == {key: old[key] for key in what}, name


def _accepted(recording: Recording) -> set[str]:
    return {
        row["request_correlation_id"]
        for then in recording.shown.values()
        for row in then["comparisons"]["comparisons"]
        if row["status"] == "ACCEPTED"
    }


def _check_outcomes(stage: Stage, recording: Recording) -> None:
    """Assert that nobody is told again what was told before, unless nobody had noted it, and that ids are as ever."""
    again: set[str] = set()
    for kind in ("completed", "result", "failed"):
        there = Counter(record.partition for record in recording.of(f"assessment_{kind}_topic"))
        records = stage.mailbox.outcome_records(kind)
        old = {document_of(it.value)["event_id"] for it in records if it.offset < there[it.partition]}
        new = [document_of(it.value) for it in records if it.offset >= there[it.partition]]
        again |= {event["data"]["entity_id"] for event in new if event["event_id"] in old}
        assert new, f"nothing was told on the {kind} topic"
        for event in new:
            batch_id, who = event["data"]["entity_id"], event["correlation_id"]
            assert event["event_id"] == str(outcome_event_id(batch_id, 1, kind, who)) or batch_id == "unread poison"
    assert {name.rstrip("0123456789") for name in again} <= {"dies-published-"}
