"""Builds the judges that are models from their options: ``openai:model=...`` and ``anthropic:model=...``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from cj_stream.gateway.judges import Limits
from cj_stream.gateway.models import chat, messages
from cj_stream.gateway.models.judge import Endpoint, ModelConfig, ModelJudge
from cj_stream.gateway.models.prices import Price, TablePrice
from cj_stream.gateway.options import Option, Options

Kind = Literal["openai", "anthropic"]
NO_KEY = "none"
_ADDRESSES = {"openai": chat.ADDRESS, "anthropic": messages.ADDRESS}
_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_HOSTS = {
    "api.openai.com": ("openai", "OPENAI_API_KEY"),
    "api.anthropic.com": ("anthropic", "ANTHROPIC_API_KEY"),
    "openrouter.ai": ("openrouter", "OPENROUTER_API_KEY"),
    "generativelanguage.googleapis.com": ("google", "GEMINI_API_KEY"),
}
"""What a host is called on the wire, and where its key is found."""
OPTIONS = (
    Option("model", "MODEL"),
    Option("base_url", "http://127.0.0.1:8080/v1"),
    Option("key", "OPENAI_API_KEY"),
    Option("price_in", "0.25"),
    Option("price_out", "2"),
    Option("rpm", "500"),
    Option("tpm", "200000"),
    Option("max_tokens", "2048", "2048"),
    Option("timeout", "120", "120"),
    Option("provider", "NAME"),
)
"""What both kinds take; all but the model may be left out."""


def model_judge(kind: Kind, options: Options, environment: Mapping[str, str] = os.environ) -> ModelJudge:
    """Build the judge. Raises ValueError saying which option, key or package is missing or wrong."""
    if find_spec(kind) is None:
        raise ValueError(f"the package {kind} is missing: install cj-stream with the extra judges, cj-stream[judges]")
    model = options.text("model")
    if not model:
        raise ValueError("name the model, for example model=gpt-5-mini")
    address = _address(options.text("base_url") or _ADDRESSES[kind])
    host = urlsplit(address).hostname or ""
    provider, key_name = _HOSTS.get(host, (kind, _KEYS[kind]))
    named = options.text("key")
    key = _key(named or key_name, environment, needed=named is not None or host in _HOSTS)
    timeout = options.number("timeout", at_least=0.1)
    config = ModelConfig(
        provider=options.text("provider") or provider,
        model=model,
        address=address,
        key=key,
        price=_price(options) or TablePrice(model, provider if host in _HOSTS else None, address),
        limits=_limits(options),
        timeout_seconds=timeout,
        most_tokens=int(options.number("max_tokens", at_least=1)),
    )
    options.check_all_read()
    endpoint: Endpoint = (chat.Chat if kind == "openai" else messages.Messages)(address, key, timeout)
    return ModelJudge(config, endpoint)


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"option base_url: {text!r} is no http(s) address")
    if parts.username or parts.password:
        raise ValueError("option base_url: keys belong in the environment, not in an address")
    return text.rstrip("/")


def _key(name: str, environment: Mapping[str, str], *, needed: bool) -> str:
    if name == NO_KEY:
        return NO_KEY
    key = environment.get(name, "").strip()
    if not key and needed:
        raise ValueError(f"there is no key in the environment variable {name}")
    if not key.isascii() or any(ord(character) <= ord(" ") for character in key):
        raise ValueError(f"the key in the environment variable {name} has characters that no key has")
    # Servers on one's own machine mostly want none, and the SDK wants one.
    return key or NO_KEY


def _price(options: Options) -> Price | None:
    given, answered = options.number_or_none("price_in"), options.number_or_none("price_out")
    if given is None and answered is None:
        return None
    if given is None or answered is None:
        raise ValueError("give both price_in and price_out, US dollars for a million tokens")
    return Price(given, answered)


def _limits(options: Options) -> Limits | None:
    requests, tokens = options.number_or_none("rpm"), options.number_or_none("tpm")
    if requests == 0 or tokens == 0:
        raise ValueError("rpm and tpm must be above 0; leave one out for no limit")
    return None if requests is None and tokens is None else Limits(requests, tokens)
