"""What `faust -A cj_stream.app worker` needs: the app of one worker, built from the environment."""

from __future__ import annotations

import os

from cj_stream.operations.logs import configure_logs
from cj_stream.operations.settings import Settings
from cj_stream.streaming.sources import verify_sources
from cj_stream.worker import build_worker

# The local database holds what was said of people's texts: nobody else on the machine is to read it.
os.umask(0o077)
settings = Settings()
configure_logs(settings)
verify_sources()
app = build_worker(settings).app
