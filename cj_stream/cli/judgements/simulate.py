"""``cj-stream simulate``: what to expect of a batch, before money is spent on it."""

from __future__ import annotations

import secrets

import click
from rich.progress import Progress

from cj_stream.cli.judgements.simulate_output import print_simulated, simulated
from cj_stream.cli.shared.output import console, echo_json, error_console, json_option
from cj_stream.scoring.simulation.accuracy import Design, Expected, Scheme, expected_accuracies
from cj_stream.scoring.simulation.judge_models import JudgeKind, JudgeModel

_EPILOG = """\b
Examples:
  cj-stream simulate
  cj-stream simulate --essays 100 --spread 1.5 --judge mixed --comparisons 8 --comparisons 16
  cj-stream simulate --position-bias 0.8 --judge-quality 0.7 --seed 1 --json
\b
The spread is the standard deviation of the essays' true qualities in logits: of two essays one standard deviation
apart, the judge prefers the better one in 73 % of the cases at a spread of 1, in 88 % at 2, in 95 % at 3.
"""


@click.command(epilog=_EPILOG)
@click.option("--essays", type=click.IntRange(2, 2000), default=30, show_default=True, help="Essays of a batch.")
@click.option(
    "--spread",
    type=click.FloatRange(0.0, 10.0, min_open=True),
    default=2.0,
    show_default=True,
    help="SD of their quality.",
)
@click.option(
    "--judge",
    "kind",
    type=click.Choice([str(kind) for kind in JudgeKind]),
    default=str(JudgeKind.MODEL),
    show_default=True,
    help="As the model has it; getting less sharp; many judges of mixed quality; or a coin.",
)
@click.option(
    "--judge-quality",
    type=click.FloatRange(0.0, 10.0),
    default=1.0,
    show_default=True,
    help="1: as sharp as in the model, 0: blind.",
)
@click.option(
    "--position-bias",
    type=click.FloatRange(-5.0, 5.0),
    default=0.0,
    show_default=True,
    help="Advantage of the first essay, logits.",
)
@click.option(
    "--pairing",
    "schemes",
    type=click.Choice([str(scheme) for scheme in Scheme]),
    multiple=True,
    default=[str(scheme) for scheme in Scheme],
    show_default=True,
    help="How pairs are chosen; can be given more than once.",
)
@click.option("--wave-size", type=click.IntRange(1), help="Pairs chosen at a time.  [default: 2 per essay]")
@click.option(
    "--comparisons",
    type=click.IntRange(1, 200),
    multiple=True,
    default=[4, 8, 12, 16, 20],
    show_default=True,
    help="Comparisons per essay to look at; can be given more than once.",
)
@click.option(
    "--replications", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Simulated batches."
)
@click.option("--seed", type=click.IntRange(0), help="Start of the random numbers.  [default: another every time]")
@json_option
def simulate(  # noqa: PLR0913 -- a parameter for each option
    *,
    essays: int,
    spread: float,
    kind: str,
    judge_quality: float,
    position_bias: float,
    schemes: tuple[str, ...],
    wave_size: int | None,
    comparisons: tuple[int, ...],
    replications: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Show how accurate rankings get against comparisons per essay.

    Accuracy is told as the agreement of the ranking with the truth (Spearman's and Kendall's rank correlation), the
    error of the scores (RMSE, logits), their true reliability (squared correlation with the truth), the reliability
    that the batch would report (EAP), and how many of the 95 % intervals hold the truth. Every way of pairing judges
    the same essays: adaptive and random are the service's policies, uniform draws any pair at any time.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    judge = JudgeModel(JudgeKind(kind), judge_quality, position_bias)
    numbers = sorted(set(comparisons))
    wave_size = wave_size or 2 * essays
    designs = [Design(essays, spread, judge, Scheme(scheme), wave_size) for scheme in dict.fromkeys(schemes)]
    result = simulated(designs, numbers, _studied(designs, numbers, replications, seed), replications, seed)
    if as_json:
        echo_json(result)
    else:
        print_simulated(console, result)


def _studied(designs: list[Design], numbers: list[int], replications: int, seed: int) -> list[list[Expected]]:
    with Progress(console=error_console, transient=True) as progress:
        task = progress.add_task("simulating", total=len(designs) * replications)
        seeds = range(seed, seed + replications)
        return [expected_accuracies(design, numbers, seeds, lambda: progress.advance(task)) for design in designs]
