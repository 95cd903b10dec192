"""The views' pages about partitions that stand."""

from __future__ import annotations

from typing import Any

from aiokafka.structs import TopicPartition
from unit.views.served_views import Serve, Served

from cj_stream.engine.standing import Standing

EVENTS = "cj.batch.events.v1"


def stand(served: Served, topic: str, *, behind: int | None = 9, is_changelog: bool = False) -> list[tuple[int, int]]:
    """Have partition 3 of ``topic`` stand at offset 7 for this worker; return what is stepped over."""
    stepped: list[tuple[int, int]] = []
    found = Standing(
        topic, 3, 7, behind, "its checksum is wrong", is_changelog, 1000.0, None, "cj-stream partitions step-over"
    )
    guard: Any = served.worker.engine.guard
    guard.standing = lambda: {TopicPartition(topic, 3): found}
    guard.step_over = lambda _at, offset, goes_on: stepped.append((offset, goes_on))
    return stepped


async def step_over(served: Served, topic: str, **body: Any) -> tuple[int, Any]:
    """Ask a worker to go on behind what partition 3 stands at."""
    status, answer = await served.command(f"/partitions/{topic}/3/step-over", json={"offset": 7, **body})
    return status, answer.get("error", answer)


async def test_any_worker_lists_the_partitions_that_stand_for_all_of_them(serve: Serve) -> None:
    asked, other = await serve(), await serve()
    stand(other, "requests")
    asked.knows({asked.url: [0], other.url: [3]})
    status, answer = await asked.ask("/partitions")
    row = answer["standing"][0]
    assert (status, answer["complete"], row["worker"]) == (200, True, other.url)
    assert (row["topic"], row["partition"], row["offset"], row["behind"]) == ("requests", 3, 7, 9)
    assert (row["why"], row["since"]) == ("its checksum is wrong", "1970-01-01T00:16:40.000Z")


async def test_a_worker_that_does_not_answer_makes_the_list_incomplete(serve: Serve) -> None:
    asked = await serve()
    asked.knows({asked.url: [0], "http://127.0.0.1:9": [3]})
    _, answer = await asked.ask("/partitions")
    assert (answer["complete"], answer["workers_missing"]) == (False, ["http://127.0.0.1:9"])


async def test_the_worker_that_has_the_partition_steps_over_whoever_was_asked(serve: Serve) -> None:
    asked, other = await serve(), await serve()
    stepped = stand(other, "requests")
    asked.knows({asked.url: [0], other.url: [3]})
    status, answer = await step_over(asked, "requests")
    assert (status, stepped) == (202, [(7, 9)])
    assert answer["lost"] == "offsets 7 to 8, 2 at most"


async def test_nobody_steps_over_without_the_token(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, "requests")
    status, _ = await served.ask("/partitions/requests/3/step-over", "POST", json={"offset": 7})
    assert (status, stepped) == (401, [])


async def test_a_partition_that_does_not_stand_there_is_not_found(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, "requests")
    assert (await served.command("/partitions/requests/4/step-over", json={"offset": 7}))[0] == 404
    assert (await step_over(served, "requests", offset=8))[0] == 404
    assert (await served.command("/partitions/requests/x/step-over", json={"offset": 7}))[0] == 404
    assert stepped == []


async def test_events_are_stepped_over_only_when_their_loss_is_accepted(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, EVENTS)
    status, error = await step_over(served, EVENTS)
    assert (status, error["code"], stepped) == (409, "loses_events", [])
    assert "offsets 7 to 8" in error["message"]
    assert (await step_over(served, EVENTS, accept_loss=True))[0] == 202
    assert stepped == [(7, 9)]


async def test_where_to_go_on_has_to_be_named_when_it_cannot_be_told(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, "requests", behind=None)
    status, error = await step_over(served, "requests")
    assert (status, error["code"], stepped) == (409, "behind_unknown", [])
    assert (await step_over(served, "requests", behind=7))[1]["code"] == "behind_unknown"
    assert (await step_over(served, "requests", behind=12))[0] == 202
    assert stepped == [(7, 12)]


async def test_a_changelog_is_never_stepped_over_by_a_worker(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, "a-changelog", is_changelog=True)
    status, error = await step_over(served, "a-changelog", accept_loss=True)
    assert (status, error["code"], stepped) == (409, "is_changelog", [])
    assert "all workers stopped" in error["message"]


async def test_a_body_that_is_not_the_commands_is_refused(serve: Serve) -> None:
    served = await serve()
    stepped = stand(served, "requests")
    bodies: list[Any] = [{"offset": "7"}, {"offset": 7, "more": 1}, []]
    for body in bodies:
        assert (await served.command("/partitions/requests/3/step-over", json=body))[0] == 400
    assert stepped == []
