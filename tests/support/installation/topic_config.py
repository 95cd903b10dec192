"""Changing what a topic takes while workers run."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType


async def configure(bootstrap: str, topic: str, **config: int) -> None:
    """Set the configuration of a topic to these values, with underscores for dots; whatever else was set is unset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        values = {name.replace("_", "."): str(value) for name, value in config.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, values)])
    finally:
        await admin.close()
