"""What `faust -A cj_stream.app worker` needs: the app of one worker, built from the environment."""

from __future__ import annotations

import os

import structlog

from cj_stream.engine.process import refuse_to_start
from cj_stream.engine.starting import start
from cj_stream.operations.environment import BadSettingsError, read_settings, unknown_variables
from cj_stream.operations.logs import configure_logs
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.worker import build_worker


def _settings() -> Settings:
    # What is wrong with the settings is logged too, in the format they ask for if they do.
    configure_logs("json" if os.environ.get("CJ_LOG_FORMAT") == "json" else "console", "INFO")
    try:
        found = read_settings()
    except BadSettingsError as error:
        refuse_to_start(error.problems)
    configure_logs(found.log_format, found.log_level)
    for sentence in unknown_variables():
        structlog.get_logger(__name__).warning("unknown setting", what=sentence)
    return found


app = start(_settings, NAMES, lambda settings: build_worker(settings).faust)
