"""Any worker answers for all, also in containers, and never passes off a part as the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.installation.stage import batches_everywhere, new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka
EVERYWHERE = "0.0.0.0"  # noqa: S104 (as in a container)


async def test_workers_bound_to_every_address_answer_for_each_other_and_say_when_a_part_is_missing(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, web_host=EVERYWHERE, reader_token=SecretStr("a-reader")) as stage:
        first, second = await stage.fleet.start(2)
        batch_ids = batches_everywhere(8, stage.settings)
        for batch_id in batch_ids:
            await stage.ask(new_request(batch_id, 3))
        await stage.ended(*batch_ids)

        for worker in (first, second):
            listed = await _list(stage, worker.url)
            assert (listed["complete"], listed["total"], listed["workers_missing"]) == (True, 8, [])
            for batch_id in batch_ids:
                assert await stage.fleet._get(f"{worker.url}/batches/{batch_id}/explain"), "whoever serves it"

        second.kill()
        answers: list[dict[str, Any]] = []

        async def whole_again() -> bool:
            answers.append(await _list(stage, first.url))
            return bool(answers[-1]["complete"])

        await stage.fleet.until(whole_again, "the first worker serves all partitions")
        assert len(answers) > 1, "a part was missing for a while"
        for answer in answers:
            told = {batch["batch_id"] for batch in answer["batches"]}
            assert answer["complete"] is (told == set(batch_ids)), answer
            assert answer["complete"] or answer["workers_missing"] or answer["partitions_missing"]


async def _list(stage: Any, url: str) -> dict[str, Any]:
    answer = await stage.fleet._get(f"{url}/batches")
    assert answer is not None, stage.fleet.tails()
    return dict(answer)
