"""Faults that a worker of a benchmark suffers while a file of that name lies in its folder of gates.

The driver makes and removes the files; so it is the driver that decides when a fault begins and ends. A file may hold a
number: then what is held goes on after so many seconds, each time. Faults are injected where the world is met: at the
client's request to the broker, the store's write, the agent's turn.

- ``changelog``: records for the changelog reach the broker late, as with a slow or cut-off leader of its partitions
- ``handling``: the batch agent does not get on; a name in the file is that of the event it stops at
- ``blocked``: the batch agent blocks the event loop
- ``error``: the batch agent's next turn raises `OSError`, as a full or broken disk does; only once
- ``committed``: the broker is slow to tell committed offsets
- ``heartbeat``: the group gets no heartbeats
- ``answer``: the answer to a produce request gets lost after the broker has acted on it; only once
"""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import RequestTimedOutError
from aiokafka.producer.sender import Sender as ClientSender
from aiokafka.producer.sender import SendProduceReqHandler

from cj_stream.contracts.event_log import decode_event
from cj_stream.engine.log import Log
from cj_stream.engine.messages import decode_message
from cj_stream.engine.runs import Run
from cj_stream.operations.settings import Settings

POLL_SECONDS = 0.005


class Gates:
    """The folder whose files switch faults on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def text(self, name: str) -> str | None:
        """Return what stands in the file of a fault, None when the fault is off."""
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return None

    def take(self, name: str) -> bool:
        """Switch a fault off; return whether it was on."""
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    async def passed(self, name: str) -> None:
        """Wait until the fault is off, or as long as it says."""
        began = time.monotonic()
        while (text := self.text(name)) is not None:
            if text.replace(".", "").isdigit() and time.monotonic() - began >= float(text):
                return
            await asyncio.sleep(POLL_SECONDS)


def inject(folder: Path, settings: Settings) -> None:
    """Make this process suffer what the files in ``folder`` say."""
    gates = Gates(folder)
    _delay_changelog(gates, settings.changelog_topic)
    _lose_answers(gates, settings.assessment_result_topic)
    _disturb_agent(gates)
    _delay_committed(gates)
    _hold_heartbeats(gates)


def _delay_changelog(gates: Gates, topic: str) -> None:
    send, running = ClientSender._send_produce_req, set()  # noqa: SLF001 -- where a request leaves the client

    async def send_later(self: Any, node: int, batches: dict[Any, Any]) -> None:
        await gates.passed("changelog")
        await SendProduceReqHandler(self, batches).do(node)
        self._muted_partitions -= set(batches)
        # The client's loop looks at what was muted only when something happens.
        waiter = self._message_accumulator.waiter()
        if not waiter.done():
            waiter.set_result(None)

    @functools.wraps(send)
    async def delayed(self: Any, node: int, batches: dict[Any, Any]) -> None:
        held = {at: batch for at, batch in batches.items() if at.topic == topic and gates.text("changelog") is not None}
        if held:
            task = asyncio.create_task(send_later(self, node, held))
            running.add(task)
            task.add_done_callback(running.discard)
        rest = {at: batch for at, batch in batches.items() if at not in held}
        if rest:
            await send(self, node, rest)
        else:
            self._in_flight.remove(node)

    ClientSender._send_produce_req = delayed  # noqa: SLF001 -- as above


def _lose_answers(gates: Gates, topic: str) -> None:
    handle = SendProduceReqHandler.handle_response

    @functools.wraps(handle)
    def lost(self: Any, response: Any) -> None:
        if not any(at.topic == topic for at in self._batches) or not gates.take("answer"):
            handle(self, response)
            return
        for batch in self._batches.values():
            assert self._can_retry(RequestTimedOutError(), batch)  # noqa: S101 -- the client's own rule
            self._to_reenqueue.append(batch)

    SendProduceReqHandler.handle_response = lost


def _disturb_agent(gates: Gates) -> None:
    handle = Log.handle

    @functools.wraps(handle)
    async def disturbed(self: Log[Any, Any], run: Run) -> None:
        event = gates.text("handling")
        if event is not None and (not event or event in _names(run)):
            await gates.passed("handling")
        while gates.text("blocked") is not None:
            time.sleep(POLL_SECONDS)  # noqa: ASYNC251 -- this is the fault
        if gates.take("error"):
            raise OSError("no space left on device (injected)")
        await handle(self, run)

    Log.handle = disturbed  # type: ignore[method-assign] # this is the fault


def _names(run: Run) -> set[str]:
    messages = (decode_message(record.value or b"") for record in run.records)
    return {type(decode_event(data)).__name__ for events in messages for data in events}


def _delay_committed(gates: Gates) -> None:
    # Faust asks for one partition after the other, the service for all at once: each question takes its time.
    committed = GroupCoordinator.fetch_committed_offsets

    @functools.wraps(committed)
    async def late(self: Any, partitions: Any) -> Any:
        await gates.passed("committed")
        return await committed(self, partitions)

    GroupCoordinator.fetch_committed_offsets = late


def _hold_heartbeats(gates: Gates) -> None:
    heartbeat = GroupCoordinator._do_heartbeat  # noqa: SLF001 -- where a heartbeat leaves the client

    @functools.wraps(heartbeat)
    async def held(self: Any) -> Any:
        await gates.passed("heartbeat")
        return await heartbeat(self)

    GroupCoordinator._do_heartbeat = held  # noqa: SLF001 -- as above
