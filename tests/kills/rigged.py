"""The worker of the kill suite: the service's own, made to die where it is told (``points``).

``KILL_MUTATION`` in its environment names a mistake to be put into its code (``mutations``).
"""

from __future__ import annotations

import os

from kills.mutations import MUTATIONS
from kills.points import arm

arm()
if mutation := os.environ.get("KILL_MUTATION"):
    MUTATIONS[mutation]()

from cj_stream.app import app  # noqa: E402 -- it builds the worker, which has to have the points by then

__all__ = ["app"]
