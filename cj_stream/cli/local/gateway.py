"""``cj-stream gateway``: the LLM provider's HTTP API in front of simulated, recorded or faulty judges."""

from __future__ import annotations

import asyncio

import click
from aiokafka.errors import KafkaError

from cj_stream.gateway.desk import Latency
from cj_stream.gateway.run import GatewayConfig, serve
from cj_stream.gateway.specs import kinds_help, read_benches
from cj_stream.operations.environment import BadSettingsError, read_settings

_EPILOG = f"""\b
A judge is NAME=SPEC, and serves requests whose model_override is NAME. The first one, or the one
named "default", serves all other models. SPEC is one of the following; every option may be left out.
{kinds_help()}

\b
Example:
  cj-stream gateway --judge vehicles=replay:examples/vehicles/vehicles_mit.json#vehicle_pairs \\
      --judge essays=simulated:qualities=examples/essays/qualities.csv,seed=7 --latency 2
"""


@click.command(epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option("--bootstrap", help="Kafka bootstrap servers.  [default: CJ_KAFKA_BOOTSTRAP]")
@click.option("--judge", "judges", multiple=True, metavar="NAME=SPEC", help="A judge; may be repeated.")
@click.option("--seed", default=0, show_default=True, help="Seed of latencies, and of judges that name none.")
@click.option(
    "--latency",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Median of the lognormal time from acceptance to callback.",
)
@click.option(
    "--latency-sigma",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 5),
    help="Standard deviation of the logarithm of that time.",
)
@click.option(
    "--allow-topic",
    "topics",
    multiple=True,
    metavar="TOPIC",
    help="Topic that callbacks may go to; may be repeated.  [default: CJ_LLM_PROVIDER_CALLBACK_TOPIC]",
)
def gateway(  # noqa: PLR0913 -- one parameter per option
    *,
    host: str,
    port: int,
    bootstrap: str | None,
    judges: tuple[str, ...],
    seed: int,
    latency: float,
    latency_sigma: float,
    topics: tuple[str, ...],
) -> None:
    """Serve the LLM provider's HTTP API with judges that need no LLM.

    Accepts comparisons on POST /api/v1/comparison and publishes the verdicts to Kafka. The same pair in the same
    order always gets the same verdict and latency from the same seed. Pending verdicts are kept in memory only:
    a gateway that is stopped forgets them.
    """
    try:
        settings = read_settings()
        config = GatewayConfig(
            host=host,
            port=port,
            bootstrap=bootstrap or settings.kafka_bootstrap,
            topics=topics or (settings.llm_provider_callback_topic,),
            benches=read_benches(judges, seed=seed),
            latency=Latency(latency, latency_sigma, seed),
        )
    except (BadSettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(serve(config))
    except KafkaError as error:
        raise click.ClickException(
            f"no Kafka broker at {config.bootstrap} ({error}): start one, or give --bootstrap"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port} ({error}): give another --port") from error
