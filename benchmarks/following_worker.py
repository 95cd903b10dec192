"""What `faust -A following_worker worker` needs: a worker of the service that tells how far its standbys have read.

It appends a line of JSON to the file `BENCH_POSITIONS` every `EVERY_SECONDS`: the time, in seconds since the epoch, and
the last offset in each of its copies that it does not serve.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from cj_stream.app import app

EVERY_SECONDS = 0.02


def _tell(path: Path) -> None:
    recovery = app.tables.recovery
    with path.open("a", buffering=1) as lines:
        while True:
            offsets = {tp.partition: recovery.standby_offsets.get(tp) for tp in list(recovery.standby_tps)}
            lines.write(json.dumps([time.time(), offsets]) + "\n")
            time.sleep(EVERY_SECONDS)


@app.task  # type: ignore[untyped-decorator]
async def _begin() -> None:
    # Not before the app has started: whoever asks for its recovery earlier gets another one.
    threading.Thread(target=_tell, args=[Path(os.environ["BENCH_POSITIONS"])], daemon=True).start()


__all__ = ["app"]
