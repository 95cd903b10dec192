"""What a provider says of a request that it does not take may quote the request: the texts of pupils with it.

Its words go into logs, rows and views. So every passage of them that stands in the prompt too is left out.
"""

from __future__ import annotations

SHORTEST = 20
"""Characters that a passage must have to count as a quotation: less is what everybody's sentences have in common."""
LEFT_OUT = "[...]"


def without_echo(message: str, prompt: str) -> str:
    """Return ``message`` without what it quotes of ``prompt``. Blanks do not tell a passage from its original."""
    words, source = " ".join(message.split()), " ".join(prompt.split())
    kept, at = [], 0
    while at < len(words):
        end = _quoted_until(words, at, source)
        if end > at:
            kept.append(LEFT_OUT)
            at = end
        else:
            kept.append(words[at])
            at += 1
    return "".join(kept) if LEFT_OUT in kept else message


def _quoted_until(words: str, start: int, source: str) -> int:
    """Return where the passage ends that begins at ``start`` and stands in ``source``; ``start`` when none does."""
    end = start + SHORTEST
    if end > len(words) or words[start:end] not in source:
        return start
    while end < len(words) and words[start : end + 1] in source:
        end += 1
    return end
