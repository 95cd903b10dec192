from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cj_stream.devkit.kafka import LocalKafka, LocalKafkaError
from cj_stream.devkit.kafka_config import DEFAULT_PORT, free_port, is_free

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    # Whatever the folder is called: Kafka itself takes each of these signs in a path for something else.
    kafka = LocalKafka(tmp_path_factory.mktemp(r"a, b\c = #é%20"))
    try:
        kafka.start(free_port())
        yield kafka
    finally:
        kafka.stop()


@pytest.fixture
def bootstrap(kafka: LocalKafka) -> str:
    """The address of the broker, which runs again if the test before has stopped it."""
    return kafka.start()


def _occupied_port() -> socket.socket:
    occupier = socket.socket()
    occupier.bind(("127.0.0.1", free_port()))
    occupier.listen()
    return occupier


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def _first(bootstrap: str, topic: str) -> bytes:
    group = {"group_id": "readers", "session_timeout_ms": 3000, "heartbeat_interval_ms": 500}
    async with (
        AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", **group) as consumer,
        asyncio.timeout(30),
    ):
        record = await consumer.getone()
    assert isinstance(record.value, bytes)
    return record.value


def test_its_data_is_in_its_folder(kafka: LocalKafka, bootstrap: str) -> None:
    assert bootstrap
    # Not the topics of the broker: their folders may come after it answers.
    assert list(kafka.folder.glob("data/__cluster_metadata-0/*.log"))


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalKafkaError, match=r"Kafka cannot be started: .*file/sub: Not a directory"):
        LocalKafka(tmp_path / "file" / "sub").start()


def test_a_second_start_finds_the_running_broker(kafka: LocalKafka, bootstrap: str) -> None:
    before = kafka.status()
    assert LocalKafka(kafka.folder).start() == bootstrap
    assert kafka.status() == before
    assert before.running


def test_a_running_broker_does_not_move_to_another_port(kafka: LocalKafka, bootstrap: str) -> None:
    with pytest.raises(LocalKafkaError, match=f"runs at {bootstrap} already"):
        kafka.start(free_port())


def test_it_listens_on_the_loopback_address_only(bootstrap: str) -> None:
    assert bootstrap.startswith("127.0.0.1:")
    port = int(bootstrap.split(":")[1])
    with closing(socket.socket()) as other_address:
        assert other_address.connect_ex(("127.0.0.2", port)) != 0


def test_records_survive_a_stop_by_another_process_and_the_port_stays(kafka: LocalKafka, bootstrap: str) -> None:
    asyncio.run(_create(bootstrap, "stopped"))
    asyncio.run(_send(bootstrap, "stopped", b"kept"))
    stop = "import pathlib, sys, cj_stream.devkit.kafka as k; k.LocalKafka(pathlib.Path(sys.argv[1])).stop()"
    subprocess.run([sys.executable, "-c", stop, str(kafka.folder)], check=True)
    assert not kafka.status().running
    assert kafka.start() == bootstrap
    assert asyncio.run(_first(bootstrap, "stopped")) == b"kept"


def test_records_survive_a_kill(kafka: LocalKafka, bootstrap: str) -> None:
    asyncio.run(_create(bootstrap, "killed"))
    asyncio.run(_send(bootstrap, "killed", b"kept"))
    kafka.kill()
    assert not kafka.status().running
    assert kafka.start() == bootstrap
    assert asyncio.run(_first(bootstrap, "killed")) == b"kept"


async def _unanswered(producer: AIOKafkaProducer, topic: str) -> asyncio.Task[Any]:
    """Send until no answer comes: on a busy machine a signal takes a moment to stop every thread of the broker."""
    for _ in range(50):
        sending = asyncio.create_task(producer.send_and_wait(topic, b"during"))
        done, _pending = await asyncio.wait([sending], timeout=0.5)
        if not done:
            return sending
    pytest.fail("the broker goes on answering")


async def test_a_paused_broker_answers_only_after_it_is_resumed(kafka: LocalKafka, bootstrap: str) -> None:
    await _create(bootstrap, "paused")
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait("paused", b"before")
        kafka.pause()
        sending = await _unanswered(producer, "paused")
        kafka.resume()
        async with asyncio.timeout(20):
            assert (await sending).offset > 0


def test_a_paused_broker_can_be_stopped(kafka: LocalKafka, bootstrap: str) -> None:
    assert bootstrap
    kafka.pause()
    assert kafka.stop()
    assert not kafka.status().running


def test_stopping_what_does_not_run_is_not_an_error_but_pausing_it_is(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path / "never")
    assert not kafka.stop()
    with pytest.raises(LocalKafkaError, match="no broker runs"):
        kafka.pause()


def test_a_process_number_that_was_passed_on_is_never_taken_for_the_broker(tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text(json.dumps({"pid": os.getpid(), "port": 9092}))
    (tmp_path / "running.lock").touch()
    kafka = LocalKafka(tmp_path)
    assert not kafka.status().running
    assert not kafka.stop()


def test_a_port_in_use_is_refused_by_its_number(tmp_path: Path) -> None:
    with closing(_occupied_port()) as occupier:
        port = occupier.getsockname()[1]
        with pytest.raises(LocalKafkaError, match=f"port {port} is in use"):
            LocalKafka(tmp_path).start(port)


def test_the_port_is_the_one_before_or_the_default_or_a_free_one(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path)
    before = free_port()
    (tmp_path / "process.json").write_text(json.dumps({"pid": None, "port": before}))
    assert kafka._choose_port(None) == before
    with closing(_occupied_port()) as occupier, closing(socket.socket()) as second:
        (tmp_path / "process.json").write_text(json.dumps({"pid": None, "port": occupier.getsockname()[1]}))
        if is_free(DEFAULT_PORT):
            assert kafka._choose_port(None) == DEFAULT_PORT
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.bind(("127.0.0.1", DEFAULT_PORT))
            second.listen()
        chosen = kafka._choose_port(None)
        assert chosen not in {DEFAULT_PORT, occupier.getsockname()[1]}
        assert is_free(chosen)


def test_a_start_that_fails_tells_why_and_where_the_log_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=of-another-node\n")
    kafka = LocalKafka(tmp_path)
    with pytest.raises(LocalKafkaError, match="Kafka stopped while starting") as caught:
        kafka.start(free_port())
    assert "node" in str(caught.value)
    assert str(kafka.log_path) in str(caught.value)
    assert not kafka.status().running
