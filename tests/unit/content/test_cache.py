from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cj_stream.content.cache import TextCache


def test_the_text_not_used_for_longest_goes_first() -> None:
    cache = TextCache(max_bytes=6)
    cache.put("one", "aa")
    cache.put("two", "bb")
    cache.put("three", "cc")
    assert cache.get("one") == "aa"
    cache.put("four", "dd")
    assert cache.get("two") is None
    assert [cache.get(name) for name in ("one", "three", "four")] == ["aa", "cc", "dd"]


def test_bytes_count_and_not_characters() -> None:
    cache = TextCache(max_bytes=5)
    cache.put("swedish", "åäö")
    assert cache.get("swedish") is None
    cache.put("english", "aao")
    assert cache.size_bytes == 3


def test_a_text_put_again_replaces_the_old_one() -> None:
    cache = TextCache(max_bytes=10)
    cache.put("essay", "short")
    cache.put("essay", "longer")
    assert cache.get("essay") == "longer"
    assert (len(cache), cache.size_bytes) == (1, 6)


def test_a_text_larger_than_the_cache_pushes_nothing_out() -> None:
    cache = TextCache(max_bytes=4)
    cache.put("small", "abc")
    cache.put("large", "abcdefgh")
    assert cache.get("small") == "abc"
    assert cache.get("large") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.text(max_size=8)), max_size=60))
def test_the_bound_holds_after_every_put(puts: list[tuple[str, str]]) -> None:
    cache = TextCache(max_bytes=20)
    last: dict[str, str] = {}
    for name, text in puts:
        cache.put(name, text)
        last[name] = text
        held = {name: cache.get(name) for name in last}
        sizes = [len(value.encode("utf-8", "surrogatepass")) for value in held.values() if value is not None]
        assert cache.size_bytes == sum(sizes) <= 20
        assert all(value in {None, last[name]} for name, value in held.items())


def test_texts_that_were_not_used_for_a_time_are_forgotten() -> None:
    now = 0.0
    cache = TextCache(1_000, lambda: now)
    cache.put("old", "a text")
    cache.put("used", "a text")
    now = 10.0
    assert cache.get("used") == "a text"
    cache.put("new", "a text")
    cache.forget(10.0)
    assert [cache.get(name) for name in ("old", "used", "new")] == [None, "a text", "a text"]
    assert cache.size_bytes == 12
    cache.forget(0.0)
    assert (len(cache), cache.size_bytes) == (0, 0)
