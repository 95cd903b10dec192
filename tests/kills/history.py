"""What happened in a run, in a file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class History:
    """What happened, as lines of JSON in a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._start = time.monotonic()

    def note(self, what: str, **facts: Any) -> None:
        """Write a line."""
        at = round(time.monotonic() - self._start, 2)
        self._file.write(json.dumps({"at": at, "what": what, **facts}, default=str) + "\n")
        self._file.flush()
