from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, START, Story, requested
from unit.views.served_views import Serve, Served

from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.records import Context
from cj_stream.domain.todo import LoadContent, Publish
from cj_stream.engine.conditions import ConditionKind
from cj_stream.engine.partitioning import home_partition
from cj_stream.views import listing


def story_of(*batch_ids: str, start: float = START) -> Story:
    """Batches requested one second after the other."""
    story = Story()
    story.now = start
    for batch_id in batch_ids:
        story.tell(requested(4, batch_id=batch_id), after=1)
    return story


def ids(found: dict[str, Any]) -> list[str]:
    return [line["batch_id"] for line in found["batches"]]


@pytest.fixture
async def pair(serve: Serve) -> tuple[Served, Served]:
    """Two workers with two batches each, their times interleaved."""
    first, second = await serve(), await serve()
    first.open(1, story_of("a", "c"))
    second.open(2, story_of("b", "d", start=START + 0.5))
    for worker in (first, second):
        worker.knows({first.url: [1], second.url: [2]})
    return first, second


async def test_the_batches_of_all_workers_are_listed_newest_first(pair: tuple[Served, Served]) -> None:
    for worker in pair:
        status, found = await worker.ask("/batches")
        assert status == 200
        assert ids(found) == ["d", "c", "b", "a"]
        assert (found["workers_asked"], found["workers_missing"]) == (2, [])


async def test_each_batch_names_its_worker(pair: tuple[Served, Served]) -> None:
    first, second = pair
    _, found = await first.ask("/batches")
    assert [line["worker"] for line in found["batches"]] == [second.url, first.url] * 2


async def test_the_limit_holds_for_all_workers_together(pair: tuple[Served, Served]) -> None:
    _, found = await pair[0].ask("/batches?limit=3")
    assert ids(found) == ["d", "c", "b"]


async def test_a_worker_can_be_asked_for_its_own_batches_only(pair: tuple[Served, Served]) -> None:
    _, found = await pair[0].ask("/batches?scope=local")
    assert (ids(found), found["workers_asked"]) == (["c", "a"], 1)


async def test_a_worker_that_does_not_answer_is_named_as_missing(
    pair: tuple[Served, Served], unused_tcp_port: int
) -> None:
    gone = f"http://127.0.0.1:{unused_tcp_port}"
    pair[0].knows({pair[0].url: [1], gone: [2]})
    status, found = await pair[0].ask("/batches")
    assert (status, ids(found), found["workers_missing"]) == (200, ["c", "a"], [gone])


async def test_a_worker_with_a_partition_not_open_yet_is_named_as_missing(pair: tuple[Served, Served]) -> None:
    first, second = pair
    second.knows({first.url: [1], second.url: [2, 3]})
    _, found = await first.ask("/batches")
    assert (ids(found), found["workers_missing"]) == (["d", "c", "b", "a"], [second.url])


async def test_a_worker_without_partitions_is_not_missing(serve: Serve) -> None:
    worker, other = await serve(partitions=2), await serve(partitions=2)
    for partition in range(2):
        other.open(partition, Story())
    worker.knows({worker.url: [], other.url: [0, 1]})
    _, found = await worker.ask("/batches")
    assert (found["batches"], found["workers_missing"], found["complete"]) == ([], [], True)


async def test_a_partition_in_nobodys_hands_makes_the_list_incomplete(pair: tuple[Served, Served]) -> None:
    _, found = await pair[0].ask("/batches")
    assert (found["complete"], found["partitions_missing"]) == (False, [0, 3, 4, 5, 6, 7])


async def test_batches_that_live_come_before_those_that_have_ended(serve: Serve) -> None:
    story = story_of("older", "newer")
    story.tell(OperatorCommand(batch_id="newer", action=Action.CANCEL))
    worker = await serve()
    worker.open(1, story)
    _, found = await worker.ask("/batches")
    assert [(line["batch_id"], line["state"]) for line in found["batches"]] == [
        ("older", "INITIALIZING"),
        ("newer", "CANCELLED"),
    ]


async def test_page_after_page_shows_every_batch_of_all_workers_once(pair: tuple[Served, Served]) -> None:
    for limit in (1, 2, 3, 4):
        shown, after = [], ""
        while True:
            _, found = await pair[0].ask(f"/batches?limit={limit}{after}")
            assert found["total"] == 4
            shown += ids(found)
            if found["next"] is None:
                break
            after = f"&after={found['next']}"
        assert shown == ["d", "c", "b", "a"]


async def test_a_place_that_no_page_gave_is_refused(pair: tuple[Served, Served]) -> None:
    for place in ("nonsense", "W10", "%00"):
        status, found = await pair[0].ask(f"/batches?after={place}")
        assert (status, found["error"]["code"]) == (400, "bad_parameter")


async def test_what_is_degraded_at_any_worker_is_told_once_with_the_list(pair: tuple[Served, Served]) -> None:
    for worker in pair:
        worker.worker.engine.conditions.begin(ConditionKind.KAFKA_AWAY, "broker", "Away.", "Nothing moves.")
    _, found = await pair[0].ask("/batches")
    assert [(line["kind"], line["what"]) for line in found["degraded"]] == [("kafka_away", "Away.")]


async def test_finished_batches_stay_listed_with_their_counts(serve: Serve) -> None:
    story = Story()
    story.start(4)
    story.play(judges)
    story.crash()
    assert list(story.batches) == [], "it is in the table only"
    worker = await serve()
    worker.open(home_partition(BATCH, 8), story)

    _, found = await worker.ask("/batches?state=COMPLETED")
    _, none = await worker.ask("/batches?state=FAILED")

    (line,) = found["batches"]
    assert (line["completed_comparisons"], line["total_comparisons"], line["progress_pct"]) == (6, 6, 100.0)
    assert none["batches"] == []


async def test_every_run_of_a_batch_has_its_line(serve: Serve) -> None:
    story = Story()
    story.start(4)
    story.play(judges)
    story.tell(requested(4, content="other"), after=1)
    worker = await serve()
    worker.open(1, story)
    _, found = await worker.ask("/batches")
    assert [(line["run"], line["state"]) for line in found["batches"]] == [(2, "INITIALIZING"), (1, "COMPLETED")]


async def test_only_the_batches_on_the_page_are_read_in_full_and_finished_ones_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "TURN", 2)
    story = Story()
    for number in range(5):
        story.tell(requested(1, batch_id=f"batch-{number}"), after=1)
    story.carry_out(LoadContent, Publish)
    story.crash()
    assert list(story.batches) == [], "they are in the table only"
    worker = await serve()
    worker.open(1, story)
    read: list[str] = []
    load = worker.worker.rows.load
    worker.worker.rows.load = lambda partition, *key: read.append(key[0]) or load(partition, *key)  # type: ignore[func-returns-value]

    for _ in range(2):
        _, found = await worker.ask("/batches?limit=2")
        assert ids(found) == ["batch-4", "batch-3"]
    assert read == ["batch-4", "batch-3"]


async def test_a_batch_requested_again_after_its_retention_is_shown_afresh(serve: Serve) -> None:
    story = Story()
    story.start(4)
    story.play(judges)
    worker = await serve()
    worker.open(1, story)
    _, before = await worker.ask("/batches")
    story.tell(story.due(), after=story.policy.retention + 1)
    _, between = await worker.ask("/batches")
    story.start(5)
    story.play(judges)
    _, after = await worker.ask("/batches")

    assert between["batches"] == []
    assert [(found["batches"][0]["run"], found["batches"][0]["essays"]) for found in (before, after)] == [
        (1, 4),
        (1, 5),
    ]


async def test_the_batches_of_a_user_and_those_with_an_essay_are_found(serve: Serve) -> None:
    story = Story()
    story.tell(requested(3, batch_id="a", content="first"))
    story.tell(requested(3, batch_id="b", content="second"), after=1)
    third = requested(3, batch_id="c", content="third")
    story.tell(replace(third, context=Context(user_id="u 1")), after=1)
    worker = await serve()
    worker.open(1, story)
    worker.knows({worker.url: [1]})
    assert ids((await worker.ask("/batches?essay=second-2"))[1]) == ["b"]
    assert ids((await worker.ask("/batches?user=u%201"))[1]) == ["c"]
    assert ids((await worker.ask("/batches?user=u%201&essay=second-2"))[1]) == []


async def test_other_workers_are_asked_for_the_same(pair: tuple[Served, Served]) -> None:
    assert ids((await pair[0].ask("/batches?essay=essay-0"))[1]) == ["d", "c", "b", "a"]
    assert ids((await pair[0].ask("/batches?essay=essay-9"))[1]) == []
