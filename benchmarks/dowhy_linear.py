"""The peer of `discovery_dowhy.py`: DoWhy's linear estimates; needs an environment with DoWhy.

    python dowhy_linear.py QUESTIONS.json

QUESTIONS.json has the rows by column, and of each question treatment, outcome and what is held fixed; the answers, an
estimate and its standard error each, go to stdout as JSON, and CPU seconds.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
from dowhy import CausalModel

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    rows, answers, begun = pd.DataFrame(given["rows"]), [], time.process_time()
    for treatment, outcome, held in given["questions"]:
        model = CausalModel(rows, treatment, outcome, common_causes=held)
        effect = model.identify_effect(proceed_when_unidentifiable=True)
        found = model.estimate_effect(effect, method_name="backdoor.linear_regression", test_significance=False)
        answers.append((float(found.value), float(found.get_standard_error()[0])))
    print(json.dumps({"answers": answers, "seconds": time.process_time() - begun}))


if __name__ == "__main__":
    main()
