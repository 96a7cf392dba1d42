"""Effects beside DoWhy's linear estimate, of the same rows and with the same columns held fixed.

    python benchmarks/discovery_dowhy.py --dowhy-python PATH

Books of the world of `budget.py`, 1,000 rows without gaps; the effect of each of 20 budgets on each of 26 later
columns, with the graph known. Ours has a mean of draws, which is apart from DoWhy's estimate by chance; in units of
that chance's standard error it should be like a standard normal number.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from bayesalloc.discovery.books import from_columns
from bayesalloc.discovery.effects import effects_of, evidence
from bayesalloc.discovery.graph import from_edges
from bayesalloc.models.budgets.books import draw_books
from bayesalloc.models.budgets.world import DEPARTMENTS, EDGES, TABLE, VARIABLES

ROWS = 1000
LATER = [name for name, variable in TABLE.items() if variable.tier > 1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dowhy-python", required=True)
    given = parser.parse_args()
    columns = draw_books(0, 1, ROWS, gaps=False).columns
    books = from_columns({name: columns[name] for name in VARIABLES})
    graph, begun = from_edges(VARIABLES, EDGES), time.process_time()
    found, rng = evidence(books, 1), np.random.default_rng(0)
    ours = {name: effects_of(name, found, graph.adjacency[None], rng) for name in DEPARTMENTS}
    seconds = time.process_time() - begun
    questions = [(name, later, graph.parents(name)) for name in DEPARTMENTS for later in LATER]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "questions.json"
        rows = {name: books.column(name).tolist() for name in VARIABLES}
        path.write_text(json.dumps({"rows": rows, "questions": questions}))
        peer = Path(__file__).with_name("dowhy_linear.py")
        ran = subprocess.run([given.dowhy_python, str(peer), str(path)], capture_output=True, text=True, check=True)
    theirs = json.loads(ran.stdout)
    value, error = np.transpose(theirs["answers"])
    draws = np.stack([ours[name].draws[:, books.names.index(later)] for name, later, _ in questions], 1)
    apart = (draws.mean(0) - value) / (draws.std(0, ddof=1) / np.sqrt(len(draws)))
    exact = np.array([ours[name].means[0, books.names.index(later)] for name, later, _ in questions])
    freedom = np.array([ROWS - len(held) - 2 for *_, held in questions])
    result = {
        "effects": len(questions),
        "most likely effect apart, most of all": float(np.abs(exact - value).max()),
        "mean of draws apart, in Monte Carlo errors, root mean square": round(float(np.sqrt((apart**2).mean())), 3),
        "most of all": round(float(np.abs(apart).max()), 2),
        "spread of the draws over what DoWhy's standard error gives, mean": round(
            float((draws.std(0, ddof=1) / (error * np.sqrt(freedom / (freedom - 2)))).mean()), 4
        ),
        "CPU seconds, ours": round(seconds, 2),
        "CPU seconds, DoWhy's": round(theirs["seconds"], 2),
    }
    text = json.dumps(result, indent=1)
    (Path(__file__).parent / "results" / "discovery_dowhy.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
