"""What `faust -A cj_stream.app worker` needs: the app of one worker, built from the environment."""

from __future__ import annotations

from cj_stream.operations.logs import configure_logs
from cj_stream.operations.settings import Settings
from cj_stream.streaming.sources import verify_sources
from cj_stream.worker import build_worker

settings = Settings()
configure_logs(settings)
verify_sources()
app = build_worker(settings).app
