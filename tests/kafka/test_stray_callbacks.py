from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.domain.oracle import expected_batch
from support.installation.counting_provider import Callback, judge_of
from support.installation.stage import new_request, staged

from cj_stream.domain.identifiers import CorrelationIds, read_correlation_id
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

A_RANDOM_ID = "0c3cf2f4-31ab-4c1e-9d3a-6f6f0a1f7a11"


async def test_callbacks_that_answer_nothing_open_are_counted_and_change_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start()
        stage.provider.holds = lambda _: True
        request = new_request("batch-1", 4)
        await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
        first, second, *_ = held = list(stage.provider.held)

        async def ignored(why: str) -> float:
            return await stage.fleet.metric("cj_callbacks_ignored_total", why=why)

        async def standing() -> dict[str, Any]:
            batch = await stage.fleet.batch("batch-1")
            assert batch is not None
            return batch

        await stage.provider.say(first.value)
        await stage.settled()
        before = await standing()
        assert before["completed_comparisons"] == 1

        duplicates = [first.value, first.flipped(), first.flipped()]
        strays = _strays(second, settings)
        for value in (*duplicates, *strays):
            await stage.provider.say(value)
        await stage.settled()
        assert await standing() == before
        assert (await ignored("duplicate"), await ignored("orphan")) == (len(duplicates), len(strays))

        # An id that is not ours does no harm when the echo says what was compared.
        stage.provider.held[1] = Callback(_under(second, A_RANDOM_ID, second.document["data"]["request_metadata"]))
        await stage.provider.release()
        await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        after = await standing()

        for callback in held:
            await stage.provider.say(callback.flipped())
        await stage.settled()
        assert await standing() == after
        late = await ignored("late") + await ignored("orphan") + await ignored("duplicate")
        # The last one is the repeat of the first that was held and released with the others.
        assert late == len(duplicates) + len(strays) + len(held) + 1
        assert len(stage.mailbox.outcome_records("result")) == 1
        assert not stage.mailbox.dead_letters


def _strays(callback: Callback, settings: Settings) -> list[bytes]:
    """Return callbacks much like this one, none of which may be taken for it."""
    found = read_correlation_id(UUID(callback.correlation_id))
    assert found is not None
    echo = callback.document["data"]["request_metadata"]
    pair = (echo["essay_a_id"], echo["essay_b_id"])
    swapped = {**echo, "essay_a_id": pair[1], "essay_b_id": pair[0]}
    ours = CorrelationIds(settings.correlation_key.get_secret_value().encode())

    def made(**changes: Any) -> str:
        parts = {"partition": found.partition, "batch_id": "batch-1", "run": 1, "index": found.index, "attempt": 1}
        return str(ours.make(**{**parts, "pair": pair, **changes}))

    assert made() == callback.correlation_id
    forged = str(UUID(int=UUID(callback.correlation_id).int ^ 1))
    return [
        _under(callback, A_RANDOM_ID, {}),
        _under(callback, A_RANDOM_ID, {**echo, "bos_batch_id": "no such batch"}),
        _under(callback, A_RANDOM_ID, swapped),
        _under(callback, forged, echo),
        _under(callback, made(pair=(pair[1], pair[0])), swapped),
        _under(callback, made(index=found.index + 1), echo),
        _under(callback, made(index=99), echo),
        _under(callback, made(run=2), echo),
        _under(callback, made(batch_id="another batch"), echo),
    ]


def _under(callback: Callback, correlation_id: str, echo: dict[str, Any]) -> bytes:
    return callback.changed(correlation_id=correlation_id, request_metadata=echo)
