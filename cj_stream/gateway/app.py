"""What `faust -A cj_stream.gateway.app worker` needs: the app of one gateway, built from the environment."""

from __future__ import annotations

import os

from cj_stream.engine.process import refuse_to_start
from cj_stream.engine.starting import start
from cj_stream.gateway.gateway_service import build_gateway
from cj_stream.gateway.gateway_settings import GATEWAY, GatewaySettings
from cj_stream.gateway.specs import Judges, read_judges
from cj_stream.operations.logs import configure_logs


def _settings() -> GatewaySettings:
    # What is wrong with the settings is logged too, in the format they ask for if they do.
    configure_logs("json" if os.environ.get("CJ_GATEWAY_LOG_FORMAT") == "json" else "console", "INFO")
    found = GatewaySettings()
    configure_logs(found.log_format, found.log_level)
    return found


def _judges(settings: GatewaySettings) -> Judges:
    try:
        return read_judges(settings.judges, seed=settings.seed, latency=settings.latency_seconds)
    except ValueError as error:
        refuse_to_start([f"{GATEWAY.setting('judges')}: {error}"])


app = start(_settings, GATEWAY, lambda settings: build_gateway(settings, _judges(settings)).faust)
