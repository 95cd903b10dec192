from __future__ import annotations

import pytest
from scripted_judges import judges
from served_views import Serve
from story import BATCH, Story

from cj_stream.cli.judgements.report_batch import batch_data
from cj_stream.cli.shared.client import ViewsClient
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
    assert dict(found.facts)["stopped because"] == shown["stop_reason"].replace("_", " ")
    assert dict(found.facts)["policy: pairing"] == "adaptive"
    assert len(found.judges.of) == len(found.data) == shown["verdicts"]
