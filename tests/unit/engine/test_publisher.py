from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors
from support.engine.fake_producer import FakeProducer, ProcessEndedError, no_exit
from support.engine.until import until

from cj_stream.engine import publisher as module
from cj_stream.engine.conditions import ConditionKind
from cj_stream.engine.fence import now
from cj_stream.engine.publisher import Deliveries, Publisher, RecordRefusedError, TopicRefusesError

TOO_LARGE = errors.MessageSizeTooLargeError()
FORBIDDEN = errors.TopicAuthorizationFailedError("results")
PASSING = errors.NotEnoughReplicasError()


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer(prompt=True)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)


async def publish(publisher: Publisher, topic: str = "results") -> None:
    await publisher.publish(topic, key=b"k", value=b"value")


def refusing(producer: FakeProducer) -> list[str]:
    conditions = producer.conditions.current
    assert all(condition.kind is ConditionKind.TOPIC_REFUSES for condition in conditions)
    return [condition.subject for condition in conditions]


async def test_a_record_is_published_when_the_broker_has_it() -> None:
    producer = FakeProducer()
    publishing = asyncio.ensure_future(publish(producer.publisher()))
    await until(lambda: producer.records)
    assert not publishing.done()
    producer.acknowledge(0)
    await publishing
    assert (producer.records[0].topic, producer.records[0].key, producer.records[0].value) == (
        "results",
        b"k",
        b"value",
    )


@pytest.mark.parametrize("how", ["raised at once", "told by the broker"])
async def test_a_record_that_can_never_be_stored_is_told_from_a_topic_that_takes_nothing(how: str) -> None:
    producer = FakeProducer()
    publisher = producer.publisher()
    if how == "raised at once":
        producer.failure = TOO_LARGE
        publishing = asyncio.ensure_future(publish(publisher))
    else:
        publishing = asyncio.ensure_future(publish(publisher))
        await until(lambda: producer.records)
        producer.records[0].promise.set_exception(TOO_LARGE)
    with pytest.raises(RecordRefusedError, match=r"topic results refused a record of 5 bytes: .*max.message.bytes"):
        await publishing
    assert refusing(producer) == []


@pytest.mark.parametrize(("error", "passing"), [(FORBIDDEN, False), (PASSING, True)])
async def test_a_topic_that_refuses_is_a_condition_and_left_alone_for_a_while(
    producer: FakeProducer, error: Exception, *, passing: bool
) -> None:
    publisher = producer.publisher()
    producer.failure = error
    for _ in range(2):
        with pytest.raises(TopicRefusesError, match="topic results takes no records now") as refused:
            await publish(publisher)
        assert refused.value.passing == passing
        assert 0 < refused.value.seconds <= module.PAUSE_SECONDS
        # The second time nobody asks the broker.
        producer.failure = None
    assert producer.records == []
    assert refusing(producer) == ["results"]
    await publish(publisher, "others")
    assert refusing(producer) == ["results"]


@pytest.mark.usefixtures("no_pause")
async def test_a_topic_that_takes_a_record_refuses_no_more(producer: FakeProducer) -> None:
    publisher = producer.publisher()
    producer.failure = FORBIDDEN
    with pytest.raises(TopicRefusesError):
        await publish(publisher)
    producer.failure = None
    await asyncio.sleep(0.002)
    await publish(publisher)
    assert refusing(producer) == []


async def test_who_gives_its_partitions_up_forgets_which_topics_refuse(producer: FakeProducer) -> None:
    publisher = producer.publisher()
    producer.failure = FORBIDDEN
    with pytest.raises(TopicRefusesError):
        await publish(publisher)
    publisher.forget()
    assert refusing(producer) == []


async def test_a_time_that_is_refused_is_told_with_the_difference_of_the_clocks(producer: FakeProducer) -> None:
    publisher = producer.publisher()
    producer.clock.appended(producer.clock.own(), producer.clock.own() - 18_000)
    producer.failure = errors.InvalidTimestampError()
    with pytest.raises(TopicRefusesError, match="18000 s ahead of the broker's"):
        await publish(publisher)


@pytest.mark.parametrize("error", [errors.ClusterAuthorizationFailedError(), errors.ProducerFenced()])
async def test_what_concerns_the_whole_worker_ends_it_and_is_blamed_on_no_record(
    producer: FakeProducer, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "publisher")
    producer.failure = error
    with pytest.raises(ProcessEndedError):
        await publish(producer.publisher())
    assert reasons == ["nothing can be published"]


async def test_nothing_is_published_by_a_worker_that_the_group_may_have_dropped(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_exit(monkeypatch, "fence")
    publisher = producer.publisher()
    publisher._fence.contact(now() - 4000)
    with pytest.raises(ProcessEndedError):
        await publish(publisher)
    assert producer.records == []


@pytest.mark.usefixtures("no_pause")
async def test_a_topic_of_our_own_is_asked_again_while_it_may_go_by(producer: FakeProducer) -> None:
    producer.failure = PASSING
    delivering = asyncio.ensure_future(producer.publisher().deliver("letters", key=None, value=b"v"))
    await asyncio.sleep(0.05)
    assert not delivering.done()
    producer.failure = None
    await delivering
    assert len(producer.records) == 1


@pytest.mark.usefixtures("no_pause")
async def test_a_topic_of_our_own_that_somebody_has_to_change_ends_the_worker(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "publisher")
    producer.failure = FORBIDDEN
    with pytest.raises(ProcessEndedError):
        await producer.publisher().deliver("letters", key=None, value=b"v")
    assert reasons == ["a topic of our own takes no records"]


async def test_a_commit_waits_for_what_is_delivered_and_no_more_than_so_many_at_once() -> None:
    producer = FakeProducer()
    sender, publisher = producer.sender(), producer.publisher()
    deliveries = Deliveries(sender.promise, limit=2)

    async def work() -> None:
        await publish(publisher)

    for _ in range(2):
        await deliveries.begin("a letter", work())
    third = asyncio.ensure_future(deliveries.begin("a letter", work()))
    await until(lambda: len(producer.records) == 2)
    assert sender.outstanding == 3
    assert not third.done()
    producer.acknowledge(0)
    await third
    await until(lambda: len(producer.records) == 3)
    for number in (1, 2):
        producer.acknowledge(number)
    assert await sender.settled(10)


async def test_a_delivery_that_fails_ends_the_process(producer: FakeProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "publisher")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    async def fail() -> None:
        raise ValueError("a mistake")

    sender = producer.sender()
    await Deliveries(sender.promise).begin("a letter", fail())
    await until(lambda: reasons)
    assert reasons == ["a letter was not delivered"]
    assert sender.outstanding == 1
