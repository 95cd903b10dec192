"""Two tables of paired comparisons that every textbook prints, with the estimates of R's BradleyTerry2."""

from __future__ import annotations

from collections.abc import Sequence

from cj_stream.scoring.estimation.data import Comparisons

# Citations among four journals of statistics (Stigler 1994; Agresti 2002, table 10.6): cited by the other how often.
JOURNALS = ("Biometrika", "CommStat", "JASA", "JRSSB")
CITATIONS = (
    ("Biometrika", "CommStat", 730, 33),
    ("Biometrika", "JASA", 498, 320),
    ("Biometrika", "JRSSB", 221, 284),
    ("CommStat", "JASA", 68, 813),
    ("CommStat", "JRSSB", 17, 276),
    ("JASA", "JRSSB", 142, 325),
)
# Against Biometrika, with standard errors.
CITATION_SCORES = {"CommStat": (-2.94907, 0.10255), "JASA": (-0.47957, 0.06059), "JRSSB": (0.26895, 0.07083)}

# American League, East, 1987 (Agresti 2002, table 10.5): home team, away team, wins at home, wins away.
TEAMS = ("Baltimore", "Boston", "Cleveland", "Detroit", "Milwaukee", "New York", "Toronto")
# A row a home team, a column an away team, in the order of TEAMS: games won and lost at home.
_AT_HOME = """
    -   1-6 3-4 1-5 2-5 2-4 1-6
    6-0 -   5-2 2-5 5-1 4-2 3-3
    2-4 4-2 -   3-3 2-5 4-3 3-4
    4-3 6-0 6-1 -   3-3 4-3 4-2
    6-0 6-1 4-2 4-3 -   4-3 4-2
    6-1 4-3 4-2 5-1 3-3 -   2-5
    6-0 4-3 4-2 4-3 2-5 2-4 -
"""
BASEBALL = tuple(
    (home, away, int(score[0]), int(score[2]))
    for home, row in zip(TEAMS, _AT_HOME.split("\n")[1:], strict=False)
    for away, score in zip(TEAMS, row.split(), strict=True)
    if score != "-"
)
# Against Baltimore, with standard errors: without and with a home effect.
BASEBALL_SCORES = {
    "Boston": (1.1077, 0.3339),
    "Cleveland": (0.6839, 0.3319),
    "Detroit": (1.4364, 0.3396),
    "Milwaukee": (1.5814, 0.3433),
    "New York": (1.2476, 0.3359),
    "Toronto": (1.2945, 0.3367),
}
BASEBALL_HOME_EFFECT = (0.30226, 0.13094)


def expanded(names: Sequence[str], table: Sequence[tuple[str, str, int, int]]) -> Comparisons:
    """One comparison for every win in the table."""
    index = {name: i for i, name in enumerate(names)}
    triples = []
    for first, second, won, lost in table:
        triples += [(index[first], index[second], 1.0)] * won + [(index[first], index[second], 0.0)] * lost
    return Comparisons.from_triples(len(names), triples)
