"""matplotlib figures as SVG that stands inside an HTML page: the same figure always gives the same text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, selected and read aloud
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # what comes with matplotlib, so that sizes are the same everywhere
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.88",
    "axes.axisbelow": True,
}
_NOTHING_ABOUT_THE_FILE = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_NAMESPACE = re.compile(r"^\{[^}]*\}")
_REFERENCE = re.compile(r"#([\w.-]+)")


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Make and draw figures inside; ``name`` keeps the ids of different figures on one page apart."""
    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # whatever the user has set up for other plots
        rcParams.update(_STYLE)
        rcParams["svg.hashsalt"] = name
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has the fonts, not we
        yield


def axes(width: float, height: float, left: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches with one plot, ``left`` inches from its left side."""
    figure = Figure(figsize=(width, height))
    rectangle = (left / width, 0.5 / height, 1.0 - (left + 0.15) / width, 1.0 - 0.65 / height)
    return figure, figure.add_axes(rectangle)


def inline_svg(figure: Figure, title: str, description: str) -> str:
    """Return a figure as an SVG element for HTML, with a title and a description for those who cannot see it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_NOTHING_ABOUT_THE_FILE)
    root = ET.fromstring(file.getvalue())  # noqa: S314 -- written by matplotlib a line above
    _without_namespaces(root)
    _without_unused_ids(root)
    for definitions in root.findall("defs"):
        for style in definitions.findall("style"):
            definitions.remove(style)  # it would apply to the whole page
    root.attrib |= {"role": "img", "aria-label": f"{title}. {description}", "style": "stroke-linejoin: round"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag)
        element.text = text
        root.insert(place, element)
    return ET.tostring(root, encoding="unicode")


def _without_namespaces(root: ET.Element) -> None:
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", name): value for name, value in element.attrib.items()}


def _without_unused_ids(root: ET.Element) -> None:
    """Leave the ids that something refers to: the others are alike in every figure."""
    used = {name for element in root.iter() for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
