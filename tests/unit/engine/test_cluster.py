from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError
from support.engine.fake_producer import ProcessEndedError, no_exit

from cj_stream.engine.clients import Kafka
from cj_stream.engine.cluster import Cluster
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.operations.settings import NAMES

LIMIT = 60.0
LOST = KafkaConnectionError("no answer")


class Bootstrap:
    """What a new client finds at the bootstrap address."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return "a cluster with all it takes"


class Known:
    """A cluster that does not answer a worker, as the watchdog tells it each second."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.bootstrap = Bootstrap()
        self.conditions = Conditions(lambda: self.at)
        self.cluster = Cluster(self.bootstrap.ask, LIMIT, self.conditions, Kafka("kafka:9092", NAMES))

    def silent(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.at += 1
            self.cluster.silent(self.at, LOST)
            asking = self.cluster._asking
            if asking is not None:
                asking.join(10)

    def answered(self) -> None:
        self.at += 1
        self.cluster.answered(self.at)


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return no_exit(monkeypatch, "cluster")


def test_kafka_away_is_told_and_no_reason_to_end(reasons: list[str]) -> None:
    known = Known()
    known.bootstrap.error = LOST
    known.silent(3600)
    assert reasons == []
    (condition,) = known.conditions.current
    assert condition.kind is ConditionKind.KAFKA_AWAY
    assert condition.since == 1001.0
    known.answered()
    assert known.conditions.current == ()


def test_a_cluster_that_answers_everybody_else_ends_the_worker_after_the_limit(reasons: list[str]) -> None:
    known = Known()
    known.silent(LIMIT)
    assert reasons == []
    with pytest.raises(ProcessEndedError):
        known.silent(20)
    assert "answers at CJ_KAFKA_BOOTSTRAP" in reasons[0]


@pytest.mark.parametrize("interruption", ["this worker is answered", "nobody is answered"])
def test_only_an_uninterrupted_time_counts(interruption: str, reasons: list[str]) -> None:
    known = Known()
    for _ in range(20):
        known.silent(LIMIT / 2)
        if interruption == "this worker is answered":
            known.answered()
        else:
            known.bootstrap.error = LOST
            known.silent(15)
            known.bootstrap.error = None
    assert reasons == []


def test_the_bootstrap_address_is_asked_now_and_then_only(reasons: list[str]) -> None:
    known = Known()
    known.bootstrap.error = LOST
    known.silent(60)
    assert known.bootstrap.asked == 12
    assert reasons == []
