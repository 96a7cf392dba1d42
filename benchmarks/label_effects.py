"""Effects in books of labels beside the true ones, which small networks have exactly.

    python benchmarks/label_effects.py

Random networks of five variables with two or three labels; the effect of every variable on every later one: the share
of 89 % intervals that hold the truth, and their width, with the graph known and with graphs learned with tiers from 50
random halves of the rows; apart for pairs of which the books know little. Takes a minute.
"""

import itertools
import json
from pathlib import Path

import numpy as np

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import Settings, discover
from bayesalloc.discovery.tables import Setting, label_effects

NAMES, EDGES, NETWORKS, HALVES = tuple("abcde"), 0.6, 100, 50
OFFICE, ENDS = Office(tiers=[[name] for name in NAMES]), (0.055, 0.945)


def network(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Arrows, and each variable's probabilities given its causes."""
    arrows, levels = np.triu(rng.random((5, 5)) < EDGES, 1), rng.integers(2, 4, 5)
    chances = [rng.dirichlet(np.ones(levels[j]), tuple(levels[arrows[:, j]])) for j in range(5)]
    return arrows, chances


def books_of(arrows: np.ndarray, chances: list[np.ndarray], rows: int, rng: np.random.Generator) -> Books:
    values = np.zeros((rows, 5), int)
    for j, chance in enumerate(chances):
        given = np.broadcast_to(chance[tuple(values[:, arrows[:, j]].T)], (rows, chance.shape[-1]))
        values[:, j] = (rng.random((rows, 1)) > given.cumsum(1)[:, :-1]).sum(1)
    labels = {name: tuple(map(str, range(chance.shape[-1]))) for name, chance in zip(NAMES, chances, strict=True)}
    return Books(NAMES, values.astype(float), labels=labels)


def chance_of(arrows: np.ndarray, chances: list[np.ndarray], node: int, label: int, end: int) -> float:
    """P(end has its last label | do(node = label))."""
    levels, total = [chance.shape[-1] for chance in chances], 0.0
    for row in itertools.product(*map(range, levels)):
        if row[node] == label and row[end] == levels[end] - 1:
            causes = [tuple(np.array(row)[arrows[:, j]]) for j in range(5)]
            total += float(np.prod([chances[j][(*causes[j], row[j])] for j in range(5) if j != node]))
    return total


def main() -> None:
    found = {}
    for rows in (200, 500, 2000):
        for learned in (False, True):
            held, width, little = [], [], []
            for seed in range(NETWORKS):
                rng = np.random.default_rng(seed)
                arrows, chances = network(rng)
                books = books_of(arrows, chances, rows, rng)
                if any(
                    len({*column}) < len(books.labels[name]) for name, column in zip(NAMES, books.values.T, strict=True)
                ):
                    continue
                settings = Settings(test="chisq", halves=True)
                samples = (
                    discover(books, OFFICE, settings, bootstrap=HALVES, seed=seed).samples if learned else arrows[None]
                )
                for node, end in itertools.combinations(range(5), 2):
                    each = label_effects(books, NAMES[node], NAMES[end], Setting(), samples, seed)
                    low, high = np.quantile(each.estimate.draws[:, -1], ENDS)
                    last = chances[node].shape[-1] - 1
                    true = chance_of(arrows, chances, node, last, end) - chance_of(arrows, chances, node, 0, end)
                    held.append(low <= true <= high)
                    width.append(high - low)
                    little.append(each.thin > 0.3)
            of, few = np.array(held), np.array(little)
            found[f"{rows} rows, graph {'learned' if learned else 'known'}"] = {
                "effects": len(of),
                "coverage": round(float(of.mean()), 3),
                "width": round(float(np.mean(width)), 3),
                "of which the books know little": int(few.sum()),
                "their coverage": round(float(of[few].mean()), 3) if few.any() else None,
            }
    text = json.dumps(found, indent=1)
    (Path(__file__).parent / "results" / "label_effects.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
