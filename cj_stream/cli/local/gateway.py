"""``cj-stream gateway``: the LLM provider's HTTP API, with judges that lose nothing that was accepted."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
from pydantic import ValidationError

from cj_stream.engine.provisioning import ProvisioningError, create_topics
from cj_stream.engine.starting import settings_problems
from cj_stream.gateway.gateway_service import topics as topics_of
from cj_stream.gateway.gateway_settings import GATEWAY, SEPARATOR, GatewaySettings
from cj_stream.gateway.specs import kinds_help, read_judges

COMMAND = [sys.executable, "-m", "faust", "-A", "cj_stream.gateway.app", "worker", "-l", "info"]
"""What runs a gateway; its settings are in the environment."""

_EPILOG = f"""\b
A judge is NAME=SPEC, and serves requests whose model_override is NAME. The first one, or the one
named "default", serves all other models. SPEC is one of the following; all but a model may be left out.
{kinds_help()}

\b
Example:
  cj-stream gateway --judge vehicles=replay:examples/vehicles/vehicles_mit.json#vehicle_pairs \\
      --judge essays=simulated:qualities=examples/essays/qualities.csv,seed=7 --latency 2
"""


@click.command(epilog=_EPILOG)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: 8090]")
@click.option("--bootstrap", help="Kafka bootstrap servers.  [default: CJ_KAFKA_BOOTSTRAP]")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Its data.  [default: var/gateway]")
@click.option("--judge", "judges", multiple=True, metavar="NAME=SPEC", help="A judge; may be repeated.")
@click.option("--seed", type=int, help="Seed of judges that name none.  [default: 0]")
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Median seconds of simulated and recorded verdicts.  [default: 0]",
)
@click.option(
    "--allow-topic",
    "topics",
    multiple=True,
    metavar="TOPIC",
    help="Topic that callbacks may go to; may be repeated.  [default: CJ_LLM_PROVIDER_CALLBACK_TOPIC]",
)
def gateway(**given: object) -> None:
    """Serve the LLM provider's HTTP API; start as many as you like, each with a port and a folder of its own.

    Accepts comparisons on POST /api/v1/comparison and publishes the verdicts to Kafka. What was accepted is answered,
    whoever is killed meanwhile, with a verdict or with an error. The options are settings, CJ_GATEWAY_..., and win over
    those of the environment; topics of the gateway that do not exist yet are created.
    """
    os.environ.update(_environment(given))
    try:
        settings = GatewaySettings()
        read_judges(settings.judges, seed=settings.seed)
    except ValidationError as error:
        raise click.UsageError("; ".join(settings_problems(error, GATEWAY))) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(create_topics(settings.kafka, topics_of(settings), settings.replication_factor))
    except ProvisioningError as error:
        raise click.ClickException(str(error)) from error
    os.execv(COMMAND[0], COMMAND)  # noqa: S606 -- the same process goes on, as a worker of Faust


def _environment(given: dict[str, object]) -> dict[str, str]:
    fields = {
        "host": "web_host",
        "port": "web_port",
        "bootstrap": "kafka_bootstrap",
        "folder": "data_dir",
        "judges": "judges",
        "seed": "seed",
        "latency": "latency_seconds",
        "topics": "callback_topics",
    }
    between = {"judges": SEPARATOR, "topics": ","}
    return {
        GATEWAY.setting(field): between[name].join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, field in fields.items()
        if (value := given[name]) not in (None, ())
    }
