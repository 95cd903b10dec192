from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from cj_stream.gateway.gateway_settings import GatewaySettings
from cj_stream.gateway.job_queue import Queue


class Served:
    """What a gateway serves: so many partitions of eight, with so many jobs of so many bytes."""

    def __init__(self, partitions: int, jobs: int, size: int) -> None:
        self.opened_at = dict.fromkeys(range(partitions), 0.0)
        self.ready = True
        self._homes = [SimpleNamespace(unanswered=_Jobs(jobs, size))] if partitions else []

    def queue(self, **settings: Any) -> Queue:
        found = GatewaySettings(partitions=8, **settings)
        return Queue(found, lambda: iter(cast("Any", self._homes)), cast("Any", self))


class _Jobs(list[None]):
    def __init__(self, count: int, size: int) -> None:
        super().__init__([None] * count)
        self.bytes = size


def test_each_gateway_takes_its_share_of_what_may_wait() -> None:
    assert not Served(4, 49, 0).queue(queue_jobs=100).is_full()
    assert Served(4, 50, 0).queue(queue_jobs=100).is_full()
    assert not Served(8, 50, 0).queue(queue_jobs=100).is_full()


def test_the_bytes_of_the_texts_count_as_well() -> None:
    assert not Served(4, 1, 499_999).queue(queue_megabytes=1).is_full()
    assert Served(4, 1, 500_000).queue(queue_megabytes=1).is_full()


def test_the_jobs_of_all_are_estimated_from_those_that_are_served_here() -> None:
    assert Served(2, 10, 0).queue().of_all() == 40
    assert Served(0, 0, 0).queue().of_all() == 0


def test_while_partitions_move_what_comes_is_counted() -> None:
    served = Served(0, 0, 0)
    served.ready = False
    queue = served.queue(queue_jobs=3)
    for _ in range(3):
        assert not queue.is_full()
        queue.taken()
    assert queue.is_full()
    served.ready = True
    queue.taken()
    assert not queue.is_full()
