from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, patch

import pytest

from cj_stream.engine.leaders import BACKOFF_SECONDS, unhurried


@pytest.mark.parametrize(("answered", "pauses"), [(True, []), (False, [BACKOFF_SECONDS])])
async def test_only_a_question_that_nobody_answered_is_followed_by_a_pause(
    *, answered: bool, pauses: list[float]
) -> None:
    update = AsyncMock(return_value=answered)
    with patch.object(asyncio, "sleep", AsyncMock()) as slept:
        assert await unhurried(update)("cluster", None) is answered
    update.assert_awaited_once_with("cluster", None)
    assert [call.args[0] for call in slept.await_args_list] == pauses
