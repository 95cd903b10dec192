"""Is the comparison graph in one piece? Only then do the data alone put all items on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from cj_stream.scoring.data import Comparisons

Successors = Sequence[Sequence[int]]


def count_components(data: Comparisons) -> int:
    """Count the connected components: items linked by comparisons, whoever won."""
    pairs = set(zip(data.first.tolist(), data.second.tolist(), strict=True))
    return len(_trees(_successors(data.n, pairs | {(j, i) for i, j in pairs}), range(data.n)))


def count_strong_components(data: Comparisons) -> int:
    """Count the strongly connected components of the graph "has beaten"; a tie counts both ways.

    A finite maximum likelihood estimate exists if and only if there is exactly one (Ford 1957). Two searches in
    depth, the second one against the edges (Kosaraju, in Aho, Hopcroft and Ullman 1983).
    """
    beaten = _beaten(data)
    trees = _trees(_successors(data.n, beaten), range(data.n))
    finished_last_first = [item for tree in reversed(trees) for item in reversed(tree)]
    return len(_trees(_successors(data.n, {(j, i) for i, j in beaten}), finished_last_first))


def _beaten(data: Comparisons) -> set[tuple[int, int]]:
    edges = set()
    for i, j, share in zip(data.first.tolist(), data.second.tolist(), data.first_wins.tolist(), strict=True):
        if share > 0:
            edges.add((i, j))
        if share < 1:
            edges.add((j, i))
    return edges


def _successors(n: int, edges: set[tuple[int, int]]) -> Successors:
    successors: list[list[int]] = [[] for _ in range(n)]
    for i, j in edges:
        successors[i].append(j)
    return successors


def _trees(successors: Successors, roots: Sequence[int]) -> list[list[int]]:
    """Search in depth from each root not yet seen; each tree lists its items in the order they are finished."""
    seen = [False] * len(successors)
    trees = []
    for root in roots:
        if not seen[root]:
            seen[root] = True
            trees.append(_tree(root, successors, seen))
    return trees


def _tree(root: int, successors: Successors, seen: list[bool]) -> list[int]:
    # An explicit stack: 2,000 items in a chain exceed Python's recursion limit.
    finished = []
    stack = [(root, iter(successors[root]))]
    while stack:
        item, rest = stack[-1]
        following = next((other for other in rest if not seen[other]), None)
        if following is None:
            finished.append(item)
            stack.pop()
        else:
            seen[following] = True
            stack.append((following, iter(successors[following])))
    return finished
