"""The process that computes: takes pickled (function, task) pairs from its input and writes what they return.

It ends with its input, that is with the worker, however that ends.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

Work = tuple[Callable[[Any], Any], Any]


def main() -> None:
    """Compute until the input ends."""
    work: SimpleQueue[Work] = SimpleQueue()
    # Read in a thread, so that the end of the worker ends a long computation as well.
    threading.Thread(target=_read, args=(sys.stdin.buffer, work), daemon=True).start()
    while True:
        function, task = work.get()
        pickle.dump(_outcome(function, task), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _read(stream: BinaryIO, work: SimpleQueue[Work]) -> None:
    while True:
        try:
            work.put(pickle.load(stream))  # noqa: S301 -- a pipe from the worker that started this process
        except (EOFError, OSError):
            os._exit(0)


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[bool, Any]:
    try:
        return True, function(task)
    except Exception:  # noqa: BLE001 -- whatever it is, the worker is told
        return False, traceback.format_exc()


if __name__ == "__main__":
    main()
