"""The dashboard: one page without any other file, for a person who wants to see how the batches are doing."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from aiohttp import web

from cj_stream.engine.web_answers import (
    SAFE_HEADERS,
    Page,
)


def dashboard_page() -> Page:
    """Return the page. Its policy lets a browser run and fetch nothing but what stands in the file."""
    html = files("cj_stream.views").joinpath("dashboard.html").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {_digest(html, 'script')}; style-src {_digest(html, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {**SAFE_HEADERS, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html", headers=headers)

    return page


def _digest(html: str, element: str) -> str:
    """Return the source expression that allows the one inline element of this name (CSP level 3)."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
