from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story
from unit.views.served_views import Serve

from cj_stream.cli.judgements.report_batch import batch_data
from cj_stream.cli.shared.views_client import ViewsClient
from cj_stream.engine.partitioning import home_partition
from cj_stream.scoring.estimation.estimates import estimate


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(6)
    story.play(judges)
    return story


async def test_the_report_of_a_batch_has_the_scores_that_the_batch_has(serve: Serve, story: Story) -> None:
    served = await serve()
    served.open(home_partition(BATCH, 8), story)
    async with ViewsClient([served.url]) as client:
        found, shown = await batch_data(client, BATCH), await client.result(BATCH)
    fit = estimate(found.data, position=True)
    ranking = {row["essay_id"]: row for row in shown["ranking"]}
    assert found.items == tuple(ranking)
    for name, theta, error in zip(found.items, fit.theta, fit.standard_error, strict=True):
        assert (theta, error) == pytest.approx((ranking[name]["theta"], ranking[name]["standard_error"]), abs=1e-6)
    assert found.warnings == ()
    assert dict(found.facts)["judged by"] == "openai judge-1"
    assert dict(found.facts)["stopped because"] == shown["stop_reason"].replace("_", " ")
    assert dict(found.settings)["pairing"] == "adaptive"
    assert len(found.judges.of) == len(found.data) == shown["verdicts"]


async def test_the_settings_of_a_batch_are_told_with_their_units(serve: Serve, story: Story) -> None:
    served = await serve()
    served.open(home_partition(BATCH, 8), story)
    async with ViewsClient([served.url]) as client:
        settings = dict((await batch_data(client, BATCH)).settings)
    assert settings["batch timeout"] == "14,400 s (4 h)"
    assert settings["max age"] == "172,800 s (48 h)"
    assert settings["stability threshold"] == "0.05 logits"
    assert settings["timeout completion pct"] == "80.0 %"
    assert settings["wave size"] == "not set"
    assert settings["stop rules"] == "reliability, stability, decisions"


async def test_a_report_of_simulated_verdicts_warns_of_them_before_anything_else(serve: Serve) -> None:
    story = Story()
    story.start(4)
    for index in range(6):
        story.tell(replace(story.verdict(index), provider="mock", model="simulated"))
    story.finish()
    served = await serve()
    served.open(home_partition(BATCH, 8), story)
    async with ViewsClient([served.url]) as client:
        found = await batch_data(client, BATCH)
    assert found.warnings[0].startswith("All 6 verdicts were simulated")
    assert dict(found.facts)["judged by"] == "simulated (mock simulated)"
