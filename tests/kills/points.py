"""Where a worker can be made to die: at these points it kills itself with SIGKILL, as if somebody had hit exactly then.

`arm` puts the points in place. A worker dies at the point, and at the passage of it, that the file named by the
environment variable ``KILL_ORDER`` says, if there is such a file; the file is then renamed, so that the killer knows.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, cast

from faust.transport.drivers.aiokafka import Consumer as FaustConsumer

from cj_stream.agents import callbacks, requests
from cj_stream.agents.callbacks import CallbacksAgent
from cj_stream.agents.requests import RequestsAgent
from cj_stream.domain.events import Event, SubmissionAccepted
from cj_stream.effects import computing
from cj_stream.effects.carry_out import Effects
from cj_stream.engine import app as engine_app
from cj_stream.engine import log as engine_log
from cj_stream.engine.app import App
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.log import Log
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.changelog_runs import RunRecovery
from cj_stream.engine.overrides.consumer import BarrierConsumer, FencedConsumerThread
from cj_stream.engine.overrides.producer import IdempotentProducer
from cj_stream.engine.overrides.recovery import SeekFirstRecovery
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.releases import Releases
from cj_stream.engine.reports import Reports
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.engine.sender import Sender
from cj_stream.provider.client import ProviderClient

IN_TRAFFIC = {
    "put": "rows are in the local store, none of them was sent",
    "torn": "all rows of a flush are acknowledged but the last one, as when it is larger than a record batch",
    "unacknowledged": "rows are on their way, none is acknowledged",
    "rows held": "rows go into the local store for a while, and to nobody else",
    "inputs held": "inputs are read for a while, and nobody gets them",
    "in hand": "runs are with the agents for a while, and not handled",
    "in a run": "a record of a run is handled, those behind it are not",
    "flushed": "the rows of a run are acknowledged, the run itself is not",
    "applied": "rows are acknowledged, the offset is not committed",
    "committed": "the offset is committed, what it releases is not started",
    "submitting": "a comparison is on its way to the provider, its answer is not here",
    "submitted": "the provider has accepted a comparison, nobody was told",
    "reported": "the log has the report of an acceptance, nobody has read it",
    "gathered": "an input is gathered, its message is not sent",
    "forwarded": "an input is in its home partition, its offset is not committed",
}
"""Points that a worker passes again and again while its batches run."""
NOW_AND_THEN = {
    "planned": "pairs are chosen, nobody was told",
    "computing": "a computation is with the computing process",
    "scored": "a fit is computed, nobody was told",
    "published": "an outcome is published, nobody was told",
}
"""Points that it passes a few times for each batch."""
AT_A_BEGINNING = {
    "loading": "some texts of a batch are loaded",
    "loaded": "the texts of a batch are loaded, nobody was told",
}
"""Points that it passes once for each batch that is asked for."""
AT_BAD_INPUT = {"refused": "a dead letter is on its way, the input is not acknowledged"}
IN_A_REBALANCE = {
    "revoked": "the partitions are to be given up",
    "given up": "the partitions are given up",
    "assigned": "the partitions are assigned, nothing of them is recovered",
    "recovering": "some of a run of a partition's changelog is applied",
    "sought": "the sources are sought, they do not flow yet",
    "recovered": "the partitions are recovered, their markers are not sent",
    "marked": "the markers are sent",
    "opened": "a partition's marker is read, its work is not started",
}
"""Points that a worker passes when partitions change hands."""
AT_A_START = {
    "emptying": "some of the databases that are not trusted are deleted",
    "claimed": "the name is free, the group is not joined",
}
"""Points that a worker passes when it comes back after a kill."""
AT_A_STOP = {
    "draining": "what is under way is to be finished",
    "drained": "what was under way is finished, nothing is stopped",
    "left": "the group is left, the local store is not closed",
    "stopping": "everything is stopped, the local store is not marked as clean",
    "clean": "the local store is marked as clean, the process has not ended",
}
POINTS = {
    **IN_TRAFFIC,
    **NOW_AND_THEN,
    **AT_A_BEGINNING,
    **AT_BAD_INPUT,
    **IN_A_REBALANCE,
    **AT_A_START,
    **AT_A_STOP,
}

HELD_SECONDS = 3.0
"""Longer than two commits wait at a time."""
ANSWER_SECONDS = 0.1
"""Less than the provider takes to answer."""
SMALL_RUN = 3
"""Changelog records that are applied before others get their turn: those of a run are fewer than a piece otherwise."""
SMALL_ESSAYS = 5
"""Larger batches are computed in the computing process: those of a run are all too small for it otherwise."""
_held: set[str] = set()
_passed: Counter[str] = Counter()


def order_text(point: str, passage: int, nonce: str) -> str:
    """Return what the file says to have a worker die at this passage of the point; the nonce tells orders apart."""
    assert point in POINTS, point
    return f"{point}\n{passage}\n{nonce}"


def obeyed(order: Path) -> Path:
    """Return the name that an order gets when a worker has died of it."""
    return order.with_suffix(".obeyed")


def passing(point: str) -> None:
    """Die here if that is the order."""
    if _is_due(point):
        _die()


def _is_due(point: str) -> bool:
    try:
        text = _order().read_text()
    except FileNotFoundError:
        return False
    wanted, passage, _ = text.split("\n")
    if wanted != point:
        return False
    _passed[text] += 1
    return _passed[text] >= int(passage)


def _order() -> Path:
    return Path(os.environ["KILL_ORDER"])


def _die() -> NoReturn:
    _order().rename(obeyed(_order()))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing survives SIGKILL")


class _NothingSent:
    """A sender that ends the process instead of sending."""

    async def flush(self, *_: Any, **__: Any) -> NoReturn:
        _die()


_write = Table.write


async def _write_and_pass(self: Table, sender: Sender, partition: int, puts: Any) -> None:
    if _is_due("put"):
        await _write(self, cast("Sender", _NothingSent()), partition, puts)
    if len(puts) > 1 and _is_due("torn"):
        await _write(self, sender, partition, puts[:-1])
        await sender.settled(10)
        _die()
    await _write(self, sender, partition, puts)
    passing("unacknowledged")


_submit = ProviderClient.submit


async def _submit_and_pass(self: ProviderClient, submission: Any) -> Any:
    if _is_due("submitting"):
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, _die)
    answer = await _submit(self, submission)
    passing("submitted")
    return answer


_empty = LocalStore._empty


def _empty_or_half(self: LocalStore) -> None:
    if _is_due("emptying"):
        for database in sorted(self.folder.glob("v*/tables/*.db"))[::2]:
            shutil.rmtree(database)
        _die()
    _empty(self)


_report = Reports.send


async def _report_and_pass(self: Reports[Event], partition: int, event: Event) -> int:
    offset = await _report(self, partition, event)
    if isinstance(event, SubmissionAccepted):
        passing("reported")
    return offset


_send, _append = IdempotentProducer.send, IdempotentProducer.append


async def _send_or_hold(self: IdempotentProducer, topic: str, *args: Any, **kwargs: Any) -> Any:
    if topic.endswith("events.v1") and _is_held("inputs held"):
        return asyncio.get_running_loop().create_future()
    return await _send(self, topic, *args, **kwargs)


async def _append_or_hold(self: IdempotentProducer, *args: Any) -> Any:
    if _is_held("rows held"):
        return asyncio.get_running_loop().create_future()
    return await _append(self, *args)


def _handle_or_hold(agent: Any) -> None:
    handle = agent.handle

    async def handled(self: Any, run: Any) -> None:
        if _is_held("in hand"):
            await asyncio.Event().wait()
        await handle(self, run)

    agent.handle = handled


_handle_log = Log.handle


async def _handle_and_flush(self: Log[Any, Any], run: Run) -> None:
    await _handle_log(self, run)
    if _is_due("flushed"):
        await self._engine.sender.settled(10)
        _die()


async def _in_portions_and_pass(records: Iterable[Record]) -> AsyncIterator[Record]:
    """Die between the records of a run: not before its first one, and not behind its last."""
    first = True
    async for record in in_portions(records):
        if not first:
            passing("in a run")
        yield record
        first = False


def _is_held(point: str) -> bool:
    if point not in _held and _is_due(point):
        _held.add(point)
        asyncio.get_running_loop().call_later(HELD_SECONDS, _die)
    return point in _held


def _before(owner: Any, name: str, point: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def passed(*args: Any, **kwargs: Any) -> Any:
        passing(point)
        return original(*args, **kwargs)

    setattr(owner, name, passed)


def _after(owner: Any, name: str, point: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def passed(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if result is not False:
            passing(point)
        return result

    setattr(owner, name, passed)


def _after_awaiting(owner: Any, name: str, point: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    async def passed(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        passing(point)
        return result

    setattr(owner, name, passed)


def arm() -> None:
    """Put all points into the code of this process, before the worker is built."""
    computing.SMALL_ESSAYS = SMALL_ESSAYS
    RunRecovery.most_at_once = SMALL_RUN
    IdempotentProducer.send = _send_or_hold
    IdempotentProducer.append = _append_or_hold  # type: ignore[assignment]  # hands on whatever it is given
    Log.handle = _handle_and_flush
    for module in (requests, callbacks, engine_log):
        module.in_portions = _in_portions_and_pass  # type: ignore[attr-defined]  # where each has imported it
    Table.write = _write_and_pass
    ProviderClient.submit = _submit_and_pass
    Reports.send = _report_and_pass  # type: ignore[assignment]  # for the events of this service
    LocalStore._empty = _empty_or_half
    for agent in (RequestsAgent, CallbacksAgent, Log):
        _handle_or_hold(agent)
    for owner, name, point in BEFORE:
        _before(owner, name, point)
    for owner, name, point in AFTER:
        _after(owner, name, point)
    for owner, name, point in AFTER_AWAITING:
        _after_awaiting(owner, name, point)


Place = tuple[Any, str, str]
"""Whose function, its name, and the point before or after it."""

BEFORE: tuple[Place, ...] = (
    (FaustConsumer, "_commit_offsets", "applied"),
    (Releases, "committed", "committed"),
    (pickle, "load", "computing"),
    (App, "revoked", "revoked"),
    (SeekFirstRecovery, "on_rebalance", "assigned"),
    (Opener, "assigned", "recovered"),
    (Dispatcher, "close", "draining"),
    (LocalStore, "close", "stopping"),
)
AFTER: tuple[Place, ...] = (
    (Forwarder, "forward", "gathered"),
    (Table, "_recover", "recovering"),
    (Opener, "read", "opened"),
    (LocalStore, "close", "clean"),
)
AFTER_AWAITING: tuple[Place, ...] = (
    (Forwarder, "_send", "forwarded"),
    (Effects, "_look_at", "loading"),
    (Effects, "_load_content", "loaded"),
    (Effects, "_plan_pairs", "planned"),
    (Effects, "_score", "scored"),
    (Effects, "_publish", "published"),
    (DeadLetters, "put", "refused"),
    (engine_app, "claim", "claimed"),
    (App, "revoked", "given up"),
    (BarrierConsumer, "perform_seek", "sought"),
    (Opener, "_send", "marked"),
    (Dispatcher, "close", "drained"),
    (FencedConsumerThread, "on_thread_stop", "left"),
)
