"""The second app on a real broker: orders that are sent, workers that something happens to, and what must come of it.

What each account has to come to is known when its orders are sent. Of each order the bank counts the calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec
from aiokafka.structs import TopicPartition
from pydantic_settings import SettingsConfigDict
from second_app.bank import SILENT, Bank
from support.installation.fleet import SAFE_EXIT, TESTS, Fleet, WorkerProcess, environment
from support.installation.own_topics import delete_topics
from support.installation.topic_mailbox import AnyMailbox, Record

from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.keyed import KEYED, VERSION
from cj_stream.engine.messages import decode_message
from cj_stream.engine.naming import Names
from cj_stream.engine.rows import HEARTBEAT_KEY, row_content, row_position

APP = "second_app.charges"
ACCOUNTS = 20
WORKERS = 2
SLACK = 0.5
"""Seconds between a call and its count, and between the clocks of broker and test."""
LONG, SHORT = 3600.0, 3.0
"""Seconds within which an order has to be paid: nobody misses the one; what the bank never takes has the other."""


class Settings(EngineSettings):
    """What the test sets of the app, which runs in processes of its own."""

    model_config = SettingsConfigDict(env_prefix="CHARGES_")
    names: ClassVar[Names] = Names("CHARGES_", "charges")
    orders_topic: str
    bank_url: str


@dataclass
class Trial:
    """What a test acts with. ``expected`` has the end of each order, by account."""

    settings: Settings
    fleet: Fleet
    mailbox: AnyMailbox
    bank: Bank
    random: Random
    expected: dict[str, dict[str, tuple[int, str]]] = field(default_factory=dict)
    copies: int = 0
    disturbed: list[float] = field(default_factory=list)
    """When a worker was killed or frozen, in seconds since the epoch."""
    frozen: list[tuple[float, float]] = field(default_factory=list)
    """When a worker was frozen, and when it went on."""

    async def order(self, count: int) -> None:
        """Send orders for some accounts: some that the bank never takes, some twice, and some that are none."""
        for _ in range(count):
            silent = self.random.random() < 0.1
            account = f"account-{self.random.randrange(ACCOUNTS)}"
            order = f"{SILENT if silent else 'order'}-{sum(map(len, self.expected.values()))}"
            amount = self.random.randint(1, 1000)
            self.expected.setdefault(account, {})[order] = (amount, "expired" if silent else "paid")
            sent = {"account": account, "order": order, "amount": amount, "seconds": SHORT if silent else LONG}
            value = json.dumps({"type": "Ordered", **sent}).encode()
            await self.mailbox.send(self.settings.orders_topic, value)
            if self.random.random() < 0.1:
                self.copies += 1
                await self.mailbox.send(self.settings.orders_topic, value)
        await self.mailbox.send(self.settings.orders_topic, b"no order")

    @property
    def taken(self) -> int:
        """How many orders the bank has been asked about that it takes."""
        return len(self.bank.calls)

    def accounts(self) -> dict[str, dict[str, tuple[int, str]]]:
        """Return the accounts as recovery finds them: of each key the row of the highest position."""
        newest: dict[bytes, bytes] = {}
        for record in self.mailbox.records[self.settings.changelog_topic]:
            assert KEYED.is_row(record.key, record.value), record
            key, value = record.key or b"", record.value or b""
            if key != HEARTBEAT_KEY and row_position(value) >= row_position(newest.get(key, value)):
                newest[key] = value
        return {key[1:-1].decode(): _charges(row_content(value, VERSION)) for key, value in newest.items()}

    async def settled(self) -> None:
        """Wait until every order has its end, and all that happened is committed and lies here."""

        async def nothing_left() -> bool:
            ends = [end for charges in self.accounts().values() for _, end in charges.values()]
            waiting = "" in ends or len(ends) < sum(map(len, self.expected.values()))
            return not waiting and not await self.mailbox.lag() and await self.mailbox.is_all_read()

        await self.fleet.until(nothing_left, "every order has its end", seconds=90)

    def check(self) -> None:
        """Assert that nothing was lost and nothing applied twice; that nobody was asked what was not ordered."""
        assert self.accounts() == self.expected
        assert not self.bank.contradicted
        paid = {
            order: (account, amount)
            for account, orders in self.expected.items()
            for order, (amount, end) in orders.items()
            if end == "paid"
        }
        assert self.bank.charged == paid

    def check_calls(self) -> None:
        """Assert that the bank was asked again only about what was under way when a worker was killed or frozen."""
        ordered = {event["order"]: at for event, at in reversed(self._logged("Ordered"))}
        reported = {event["order"]: at for event, at in reversed(self._logged("Paid"))}
        for order, calls in self.bank.calls.items():
            for before, after in pairwise(calls):
                latest = min(after, reported[order] + SLACK)
                excuses = [at for at in self.disturbed if before - SLACK <= at <= latest]
                # What a worker was about to ask when it was frozen, it asks when it goes on; another has asked by then.
                excuses += [on for at, on in self.frozen if ordered[order] < at and on - SLACK <= after <= on + SLACK]
                assert excuses, f"{order} was asked for at {calls}, reported at {reported[order]}: {self.disturbed}"

    def causes(self) -> dict[str, tuple[TopicPartition, int]]:
        """Return where the log says of each order that it was ordered."""
        found: dict[str, tuple[TopicPartition, int]] = {}
        for record in self.mailbox.records[self.settings.log_topic]:
            for event in _events(record):
                if event["type"] == "Ordered":
                    found.setdefault(event["order"], (TopicPartition(record.topic, record.partition), record.offset))
        return found

    def _logged(self, kind: str) -> list[tuple[dict[str, Any], float]]:
        log = self.mailbox.records[self.settings.log_topic]
        found = [(event, record.timestamp / 1000) for record in log for event in _events(record)]
        return sorted((entry for entry in found if entry[0]["type"] == kind), key=itemgetter(1))

    # --- What happens to workers -------------------------------------------------------------------------------------

    async def kill(self, worker: WorkerProcess, *, keeps_disk: bool) -> None:
        """Kill it in the middle of its work, and start it again."""
        await self._busy()
        self.disturbed.append(time.time())
        worker.kill()
        if not keeps_disk:
            shutil.rmtree(worker.data_dir)
        worker.start()

    async def freeze(self, worker: WorkerProcess) -> None:
        """Freeze it until the others have its partitions: when it goes on, it has to end itself."""

        async def serves() -> bool:
            return bool(await self.fleet.partitions(worker))

        await self.fleet.until(serves, "it has partitions to lose")
        await self._busy()
        frozen_at = time.time()
        self.disturbed.append(frozen_at)
        worker.send(signal.SIGSTOP)
        await self.fleet.ready(without=worker)
        self.frozen.append((frozen_at, time.time()))
        worker.send(signal.SIGCONT)
        assert await self.fleet.ended(worker) == SAFE_EXIT, worker.tail()
        worker.start()

    async def stop(self, worker: WorkerProcess) -> None:
        """Stop it in order."""
        await self._busy()
        # Who has hardly been started knows nothing of signals yet.
        expected = {0} if await self.fleet.partitions(worker) else {0, -signal.SIGTERM}
        worker.terminate()
        assert await self.fleet.ended(worker) in expected, worker.tail()

    async def play(self, steps: int) -> None:
        """Have something happen to a worker, as chance has it, with orders on their way; at the end all serve."""
        for _ in range(steps):
            await asyncio.gather(self.order(40), self._something())
            # Not always: a worker may go while the one before is still on its way back.
            if self.random.random() < 0.5 or len(self._running()) <= WORKERS:
                await self.fleet.ready()

    async def _something(self) -> None:
        worker = self.random.choice(self._running())
        match self.random.choice(("kill", "kill", "lose", "freeze", "stop", "scale")):
            case "freeze":
                await self.freeze(worker)
            case "stop":
                await self.stop(worker)
                worker.start()
            case "scale" if len(self._running()) > WORKERS:
                await self.stop(worker)
            case "scale":
                await self.fleet.start()
            case fault:
                await self.kill(worker, keeps_disk=fault == "kill")

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in self.fleet.workers if worker.runs]

    async def _busy(self) -> None:
        """Wait until some more calls have come: there are orders on their way."""
        wanted = self.taken + self.random.randint(1, 10)
        await self.fleet.until(lambda: self.taken >= wanted, "the bank is asked")


def _charges(content: bytes) -> dict[str, tuple[int, str]]:
    _at, account = msgspec.msgpack.decode(content)
    return {order: (charge["amount"], charge["end"]) for order, charge in account.items()}


def _events(record: Record) -> list[dict[str, Any]]:
    return [msgspec.msgpack.decode(data) for data in decode_message(record.value or b"")]


@asynccontextmanager
async def trial(bootstrap: str, folder: Path, *, seed: int, **changes: Any) -> AsyncIterator[Trial]:
    """Set everything up, without workers yet; ``changes`` are settings of the workers. All is ended afterwards."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    name = f"test-{secrets.token_hex(4)}"
    folder.mkdir(exist_ok=True)
    defaults: dict[str, Any] = {
        # Three workers have two each; Faust would leave one of them without any of four.
        "partitions": 6,
        # Shorter sessions are lost on a busy machine.
        "session_timeout_seconds": 6.0,
        "heartbeat_seconds": 1.0,
        "commit_interval_seconds": 0.1,
        "accumulate_milliseconds": 5,
    }
    async with Bank() as bank:
        own: dict[str, Any] = {"app_id": name, "orders_topic": f"{name}.orders", "bank_url": bank.url}
        settings = Settings(kafka_bootstrap=bootstrap, data_dir=folder / "worker", **own, **{**defaults, **changes})
        await _create_topics(settings)
        inputs = [settings.orders_topic, settings.log_topic]
        topics = [*inputs, settings.changelog_topic, settings.dead_letter_topic]
        async with AnyMailbox(settings, topics, inputs) as mailbox, Fleet(settings, folder, APP) as fleet:
            yield Trial(settings, fleet, mailbox, bank, Random(seed))
        await delete_topics(bootstrap, topics)


async def _create_topics(settings: Settings) -> None:
    """Create the topics with the app's own command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", APP, "topics", "create"),
        env={**os.environ, **environment(settings), "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
