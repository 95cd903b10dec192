"""However the handling of a message ends, other than well, the process ends, so that the message is handled again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.engine.fake_producer import no_exit
from support.engine.until import until

from cj_stream.engine.app import _add_agent
from cj_stream.engine.dead_letters import Handle
from cj_stream.engine.service import Input


async def _stays(_message: Any) -> None:
    await asyncio.Event().wait()


async def _fails(_message: Any) -> None:
    raise RuntimeError("unforeseen")


class App:
    """Keeps the agent that is added."""

    def agent(self, *_: Any, **__: Any) -> Any:
        return lambda agent: setattr(self, "added", agent)

    def topic(self, *_: Any, **__: Any) -> None:
        """Return nothing: the agent gets its stream from the test."""

    def start(self, handle: Handle, *, breaks: bool = False) -> asyncio.Task[None]:
        async def events() -> AsyncIterator[Any]:
            if breaks:
                raise RuntimeError("the stream broke")
            yield SimpleNamespace(message=SimpleNamespace(run="a run"))

        _add_agent(cast("Any", self), Input("callbacks", "topic", handle))
        return asyncio.create_task(cast("Any", self).added(SimpleNamespace(events=events)))


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reasons = no_exit(monkeypatch, "process")

    def end(why: str, **_: object) -> None:
        reasons.append(why)

    monkeypatch.setattr("cj_stream.engine.app.end_process", end)
    return reasons


async def test_a_message_whose_handling_is_cancelled_ends_the_process(reasons: list[str]) -> None:
    task = App().start(_stays)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert reasons[0] == "the callbacks agent could not handle a run of records"


async def test_a_message_whose_handling_fails_ends_the_process(reasons: list[str]) -> None:
    await asyncio.wait([App().start(_fails)])
    assert reasons[0] == "the callbacks agent could not handle a run of records"


async def test_a_stream_that_breaks_ends_the_process(reasons: list[str]) -> None:
    await asyncio.wait([App().start(_stays, breaks=True)])
    assert reasons == ["the callbacks agent could not read on"]


async def test_an_agent_that_is_stopped_between_messages_just_ends(reasons: list[str]) -> None:
    handled: list[Any] = []

    async def handle(message: Any) -> None:
        handled.append(message)

    await App().start(handle)
    await until(lambda: handled)
    assert reasons == []
