from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from unit.provider.effects_on_demand import World, idle


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await idle()
