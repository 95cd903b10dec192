"""Structured logs for everything in the process: ours, Faust's and aiokafka's, as lines for people or as JSON."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import stamina.instrumentation
import structlog
from aiohttp.http_exceptions import HttpProcessingError

from cj_stream.operations.repeats import Repeats

REPEAT_SECONDS = 300.0
_SHOWN = 200
"""Characters of what a client sent that are logged."""
_REASON = 1_000
"""Characters that are logged of why something was asked again."""
# Faust and aiokafka report each step of each rebalance at INFO; what matters of it is logged by us.
QUIET = (
    "faust",
    "aiokafka",
    "asyncio",
    "aiohttp.access",
    # The clients of models tell each request, and at DEBUG all of its body: texts are in it.
    "openai",
    "anthropic",
    "httpx2",
    "httpcore2",
    # Services of ours log Faust's steps under their own module.
    "cj_stream.engine.overrides.faust_app",
    "cj_stream.engine.overrides.consumer",
    "cj_stream.engine.overrides.recovery",
    "cj_stream.engine.overrides.table",
)


def warn_of_retry(details: stamina.instrumentation.RetryDetails) -> None:
    """Log that something is asked again, and why."""
    # The address is part of the reason, and the batch is bound where its effect begins.
    structlog.get_logger(__name__).warning(
        "asked in vain, asking again",
        why=str(details.caused_by)[:_REASON],
        after_seconds=round(details.wait_for, 1),
        retry=details.retry_num,
    )


class WithoutTracebacks(logging.Filter):
    """Turns what aiohttp logs of a request that is no HTTP into a line: it is the client's mistake, and no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record if it is about such a request; let every record through."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
            record.msg = f"{record.getMessage()}: {str(error)[:_SHOWN]}"
            record.args = ()
        return True


def configure_logs(form: Literal["console", "json"], level: str) -> None:
    """Send all logs to standard error in the format of ``CJ_LOG_FORMAT``, from ``CJ_LOG_LEVEL`` on."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    stamina.instrumentation.set_on_retry_hooks([warn_of_retry])
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(Repeats(("aiokafka", "faust", "mode"), REPEAT_SECONDS))
    logging.getLogger("aiohttp.server").filters[:] = [WithoutTracebacks()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # A commit that takes longer than its interval is no news: it waits for acknowledgements on purpose.
    logging.getLogger("mode").setLevel(logging.ERROR)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
