from __future__ import annotations

import asyncio

from cj_stream.engine.conditions import Conditions
from cj_stream.operations.away import Away
from cj_stream.operations.reachability import Reachability, services


async def test_a_service_that_is_away_is_told_until_it_is_back(unused_tcp_port: int) -> None:
    conditions = Conditions(lambda: 0.0)
    url = f"http://127.0.0.1:{unused_tcp_port}/api/v1"
    reachability = Reachability(conditions, services(url, "file:/texts"))

    await reachability.knock()
    assert not conditions.current, "once may be a restart"
    await reachability.knock()
    (condition,) = conditions.current
    assert condition.kind is Away.PROVIDER
    assert "CJ_LLM_PROVIDER_SERVICE_URL" in condition.what
    assert str(unused_tcp_port) in condition.what

    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", unused_tcp_port)
    async with server:
        await reachability.knock()
    assert conditions.current == ()


async def test_a_name_that_leads_nowhere_is_told_like_a_closed_door() -> None:
    conditions = Conditions(lambda: 0.0)
    reachability = Reachability(conditions, services("https://no-such-host.invalid", "http://[::1]:1"))
    for _ in range(2):
        await reachability.knock()
    assert {condition.kind for condition in conditions.current} == {
        Away.PROVIDER,
        Away.CONTENT,
    }


def test_texts_in_a_folder_need_no_service() -> None:
    assert [service.kind for service in services("http://p", "file:/texts")] == [Away.PROVIDER]
