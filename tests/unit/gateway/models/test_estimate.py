from __future__ import annotations

import random

import pytest
from support.http.fake_endpoint import FakeEndpoint
from unit.gateway.asked_models import asked, judge_at

from cj_stream.gateway.judges import Usage, Verdict
from cj_stream.gateway.models.estimate import BYTES_PER_TOKEN, OUTPUT_TOKENS, Estimator
from cj_stream.gateway.models.options import OPTIONS, model_judge
from cj_stream.gateway.models.prices import Price, TablePrice
from cj_stream.gateway.models.replies import Tokens
from cj_stream.gateway.options import Options


def test_before_the_first_answer_a_guess_serves() -> None:
    assert Estimator().tokens(7000) == 2000 + OUTPUT_TOKENS
    assert Estimator().bytes_per_token == BYTES_PER_TOKEN


@pytest.mark.parametrize("bytes_per_token", [1.3, 2.5, 4.4, 6.0])
def test_a_few_answers_teach_the_tokens_of_a_prompt(bytes_per_token: float) -> None:
    estimator = Estimator()
    for _ in range(10):
        estimator.learn(8000, Usage(round(8000 / bytes_per_token), 60))
    assert estimator.tokens(8000) == pytest.approx(8000 / bytes_per_token + 60, rel=0.05)


def test_a_model_that_counts_otherwise_is_learned_anew() -> None:
    estimator = Estimator()
    for ratio in [4.0] * 300 + [2.0] * 200:
        estimator.learn(8000, Usage(round(8000 / ratio), 60))
    assert estimator.bytes_per_token == pytest.approx(2.0, rel=0.05)


def test_nine_of_ten_answers_fit_into_what_is_reserved() -> None:
    estimator = Estimator()
    for length in range(1, 101):
        estimator.learn(1000, Usage(250, length))
    assert estimator.high_output == 90


@pytest.mark.parametrize("bytes_per_token", [2.1, 3.3, 5.2])
async def test_the_estimate_of_a_batch_is_within_15_percent_of_what_it_costs(bytes_per_token: float) -> None:
    chance = random.Random(f"estimate {bytes_per_token}")
    texts = ["the sea and its fish " * chance.randint(20, 120) for _ in range(30)]

    def pair() -> tuple[str, str]:
        first, second = chance.sample(texts, 2)
        return first, second

    lengths = {number: round(chance.lognormvariate(4, 0.5)) for number in range(400)}
    async with FakeEndpoint(
        bytes_per_token=bytes_per_token, output_tokens=lambda asked: lengths[asked.number]
    ) as endpoint:
        judge = judge_at(endpoint, price_in=0.25, price_out=2)
        for _ in range(30):
            await judge.judge(asked(*pair()))
        questions = [asked(*pair()) for _ in range(150)]
        mean = sum(len(asked(*pair()).prompt.encode()) for _ in range(300)) / 300
        estimate = judge.terms().cost(prompt_bytes=mean, comparisons=len(questions))
        answers = [await judge.judge(question) for question in questions]
    cost = sum(answer.cost or 0 for answer in answers if isinstance(answer, Verdict))
    assert cost > 0
    assert estimate == pytest.approx(cost, rel=0.15)


async def test_without_a_price_there_is_no_estimate() -> None:
    async with FakeEndpoint() as endpoint:
        assert judge_at(endpoint).terms().cost(prompt_bytes=1000, comparisons=10) is None


def test_prices_come_from_the_table_and_from_the_operator() -> None:
    table = TablePrice("gpt-4o-mini", "openai", "https://api.openai.com/v1")
    assert table.plain() == Price(pytest.approx(0.15), pytest.approx(0.6))  # type: ignore[arg-type]
    assert table.of(Tokens(Usage(1_000_000, 0))) == pytest.approx(0.15)
    cached = table.of(Tokens(Usage(1_000_000, 0), cached=1_000_000))
    assert cached is not None
    assert 0 < cached < 0.15
    assert TablePrice("no-such-model", "openai", "").plain() is None
    assert TablePrice("gpt-4o-mini", None, "http://127.0.0.1:11434/v1").of(Tokens(Usage(1, 1))) is None
    assert Price(1, 2).of(Tokens(Usage(1_000_000, 500_000))) == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "name the model"),
        ("model=m,base_url=ftp://x", "no http"),
        ("model=m,base_url=http://user:pw@x/v1", "keys belong in the environment"),
        ("model=m", "no key in the environment variable OPENAI_API_KEY"),
        ("model=m,base_url=https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("model=m,key=OTHER", "no key in the environment variable OTHER"),
        ("model=m,key=BAD", "characters that no key has"),
        ("model=m,key=none,price_in=1", "both price_in and price_out"),
        ("model=m,key=none,rpm=0", "above 0"),
        ("model=m,key=none,timeout=0", "out of range"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name(options: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as wrong:
        model_judge("openai", Options(options, OPTIONS, 0), {"BAD": "two words\n"})
    assert "two words" not in str(wrong.value)


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ("model=gpt-5-mini", "openai/gpt-5-mini"),
        ("model=m,base_url=http://127.0.0.1:11434/v1", "openai/m@127.0.0.1:11434"),
        ("model=m,base_url=https://openrouter.ai/api/v1,key=OPENAI_API_KEY", "openrouter/m"),
        ("model=m,base_url=http://box:8000/v1,provider=vllm", "vllm/m@box:8000"),
    ],
)
def test_the_scope_names_provider_model_and_a_host_of_ones_own(options: str, scope: str) -> None:
    assert model_judge("openai", Options(options, OPTIONS, 0), {"OPENAI_API_KEY": "k"}).scope == scope
