"""Settings whose topics nobody else shares."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

_TOPIC_SETTINGS = [name for name in Settings.model_fields if name.endswith("_topic")]


@asynccontextmanager
async def own_topics(bootstrap: str, folder: Path, **changes: Any) -> AsyncIterator[Settings]:
    """Give settings with names of their own and short timings; their topics exist as long as the context."""
    prefix = f"test-{secrets.token_hex(4)}"
    print(f"topics and app id begin with {prefix}")  # noqa: T201 - pytest shows it when the test fails
    defaults: dict[str, Any] = {
        "partitions": 4,
        "session_timeout_seconds": 3,
        "heartbeat_seconds": 0.5,
        "commit_interval_seconds": 0.1,
        "accumulate_milliseconds": 5,
        "batch_monitor_interval_minutes": 1 / 60,
        "data_dir": folder / "worker",
    }
    topics: dict[str, Any] = {name: f"{prefix}.{Settings.model_fields[name].default}" for name in _TOPIC_SETTINGS}
    settings = Settings(kafka_bootstrap=bootstrap, app_id=prefix, **topics, **{**defaults, **changes})
    specs = registry(settings)
    await create_topics(settings.kafka, specs, 1)
    yield settings
    await delete_topics(bootstrap, [spec.name for spec in specs])


async def delete_topics(bootstrap: str, topics: list[str]) -> None:
    """Delete topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        async with asyncio.timeout(30):
            await admin.delete_topics(topics)
    finally:
        await admin.close()
