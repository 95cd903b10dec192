from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from support.installation.stage import staged

from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]


async def test_the_example_of_the_documents_asks_for_a_ranking_and_gets_one(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"assessment_request_topic": Settings().assessment_request_topic})
    await create_topics(own.kafka, registry(own), 1)
    async with staged(own, tmp_path) as stage:
        for number in range(4):
            (stage.content / f"text-{number}.txt").write_text(f"Text number {number}.")
        await stage.fleet.start()
        command = [sys.executable, "examples/send_request.py", str(stage.content), own.kafka_bootstrap]
        asked = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        batch_id = asked.stdout.strip()
        await stage.ended(batch_id)
        (result,) = stage.mailbox.outcomes("result", batch_id)
        ranked = {row["essay_id"] for row in result["data"]["essay_results"]}
        assert ranked == {f"text-{number}" for number in range(4)}


def test_the_documents_show_the_example_as_it_is() -> None:
    example = (ROOT / "examples" / "send_request.py").read_text()
    code = example[example.index("import asyncio") :].strip()
    assert code in (ROOT / "docs" / "using.md").read_text()
