"""What `faust -A cj_stream.app worker` needs: the app of one worker, built from the environment."""

from __future__ import annotations

import os

import mode.loop
import structlog

from cj_stream.engine.overrides.app import HardenedApp
from cj_stream.engine.overrides.crashes import end_for
from cj_stream.engine.overrides.sources import verify_sources
from cj_stream.engine.process import refuse_to_start
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


def _app() -> HardenedApp:
    try:
        settings = _settings()
        verify_sources()
        return build_worker(settings).faust
    except Exception as error:  # noqa: BLE001 (Faust's command line would end with exit code 1)
        end_for(error, NAMES)


# The local database holds what was said of people's texts: nobody else on the machine is to read it.
os.umask(0o077)
app = _app()
# Faust makes its loop when all is built, and those of its threads later.
mode.loop.use("uvloop")
