from __future__ import annotations

import pytest
from fuzz.run import Failed, Fuzzer, fuzz

from cj_stream.agents import callbacks, requests

SEEDS = 1_000


async def test_hostile_messages_each_have_one_fate_and_every_fate_comes_about() -> None:
    fates = await fuzz(0, SEEDS)
    assert fates.total() == SEEDS
    assert fates.keys() == {"forwarded", "refused", "refused, and told", "foreign", "applied"}
    assert min(fates.values()) > SEEDS // 200


async def test_a_seed_is_always_the_same_message() -> None:
    assert await Fuzzer().run(7) == await Fuzzer().run(7)


@pytest.mark.parametrize("reader", [(requests, "read_request"), (callbacks, "read_callback")])
async def test_the_fuzzer_finds_an_error_that_nobody_expects_and_says_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch, reader: tuple[object, str]
) -> None:
    def careless(value: bytes | None, **_: object) -> None:
        raise KeyError((value or b"")[:1])

    monkeypatch.setattr(*reader, careless)
    with pytest.raises(Failed, match="KeyError") as caught:
        await fuzz(0, 100)
    assert str(caught.value).endswith(f"PYTHONPATH=tests .venv/bin/python -m fuzz.run {caught.value.seed}")


async def test_the_fuzzer_finds_a_message_that_is_lost_and_one_that_counts_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fuzzer = Fuzzer()
    letters = fuzzer.ingress.letters

    async def never(*_: object) -> None:
        """Write nothing."""

    monkeypatch.setattr(letters, "put", never)
    with pytest.raises(Failed, match="exactly one fate"):
        await _until_refused(fuzzer)
    monkeypatch.undo()
    put = letters.put

    async def twice(*arguments: object) -> None:
        await put(*arguments)  # type: ignore[arg-type] # passed on as they are
        await put(*arguments)  # type: ignore[arg-type] # the same

    monkeypatch.setattr(letters, "put", twice)
    with pytest.raises(Failed, match="exactly one fate"):
        await _until_refused(fuzzer)


async def _until_refused(fuzzer: Fuzzer) -> None:
    for seed in range(100):
        await fuzzer.run(seed)
