"""Ask for a ranking: send_request.py FOLDER [HOST:PORT ...], where FOLDER holds the texts as {storage id}.txt."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaProducer

topic, batch = "huleedu.els.cj_assessment.requested.v1", {"entity_id": str(uuid4()), "entity_type": "batch"}
essays = [{"essay_id": file.stem, "text_storage_id": file.stem} for file in sorted(Path(sys.argv[1]).glob("*.txt"))]
data = {"system_metadata": batch, "essays_for_cj": essays, "language": "en", "course_code": "ENG6", "user_id": "me"}
request = {"event_type": topic, "source_service": "example", "correlation_id": str(uuid4()), "data": batch | data}


async def main() -> None:
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[2:] or "localhost:9092") as producer:
        await producer.send_and_wait(topic, json.dumps(request).encode(), batch["entity_id"].encode())


asyncio.run(main())
print(batch["entity_id"])
