"""Whether a dead letter names something: a batch, an essay, a user. It may be too damaged to be read, so bytes tell."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from cj_stream.dead_letters.letter import StoredDeadLetter
from cj_stream.engine.dead_letter_topic import KeptLetter

_WITHIN_A_NAME = rb"[0-9A-Za-z_-]"
"""What stands beside a name only where it is a part of a longer one."""


def names_any(kept: KeptLetter[StoredDeadLetter], ids: Collection[str]) -> bool:
    """Return whether key, value or a header of a dead letter has one of these ids, as text or as JSON writes it."""
    if kept.record is None:
        return False
    key, value, headers = kept.record
    spelled = {spelling for name in ids for spelling in _spellings(name)}
    return any(_has(part, spelled) for part in (key, value, *(content for _, content in headers)) if part)


def _has(part: bytes, spelled: Collection[bytes]) -> bool:
    choice = b"|".join(map(re.escape, spelled))
    if _is_text(part):
        choice = rb"(?<!%b)(?:%b)(?!%b)" % (_WITHIN_A_NAME, choice, _WITHIN_A_NAME)
    # In what is no text, such as an event of the log, anything may stand beside a name.
    return re.search(choice, part) is not None


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _spellings(name: str) -> set[bytes]:
    as_json = {json.dumps(name, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {spelling.encode(errors="surrogatepass") for spelling in {name, *as_json}}
