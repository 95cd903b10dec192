"""The web pages of a worker: an app's own and those of its health, and nothing of Faust's.

Hazard in Faust 0.15.3: it serves pages of its own, among them the data of every table (``web/apps/``); they are
blueprints, applied when the server starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.web import View
from faust.web.base import BlueprintManager

from cj_stream.engine.web_answers import Page, errors_as_json


def serve_pages(app: Any, by_method: Mapping[str, Mapping[str, Page]]) -> None:
    """Serve these pages on a Faust app, by method and path, and every error as JSON."""
    app.web.blueprints = BlueprintManager()
    app.web.web_app.middlewares.append(errors_as_json)
    for method, pages in by_method.items():
        for path, page in pages.items():
            # Static: to Faust a page is a method of a class of its own, to us it belongs to what it stands with.
            app.page(path, name=f"{method} {path}")(type("Page", (View,), {method: staticmethod(page)}))
