"""Values that somebody may give a setting by mistake, and whether a worker could run with them."""

from __future__ import annotations

HOSTILE = {
    "empty": "",
    "blank": "  ",
    "nan": "nan",
    "infinite": "inf",
    "minus one": "-1",
    "zero": "0",
    "tiny": "1e-300",
    "huge": "9" * 30,
    "a fraction": "0.5",
    "words": "two words",
    "another scheme": "ftp://host/x",
    "no host": "http://",
    "a bad port": "localhost:99999",
    "a word as port": "localhost:port",
    "not ASCII": "sökväg",
    "two lines": "one\ntwo",
    "a file": "/etc/hostname",
    "no such folder": "/proc/no/such/folder",
    "long": "x" * 5000,
}
"""By what is odd about it."""
