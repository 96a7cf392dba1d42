"""Every example runs, as a reader would run it."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REAL_DATA, fully_optimised

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_calibration_finds_the_shipped_constants():
    from bayesalloc.models import watershed

    found = dict(line.split() for line in run("calibrate_watershed.py", "--replicates", 1024).splitlines()[:5])
    for name in ("degradation", "erosion_reference", "erosion_decay"):
        # 1,024 replicates pin the means to about 0.003, which moves a constant by a few per cent
        assert float(found[name]) == pytest.approx(watershed.CONSTANTS[name][0], rel=0.06)


def test_malka(tmp_path):
    with fully_optimised():
        said = run("malka_catchment.py", "--out", tmp_path, "--draws", 30)
    assert "usable" in said and "variance that the forest explains" in said
    assert (tmp_path / "posterior.nc").is_file()


@pytest.mark.skipif(
    not (REAL_DATA / "public_goods_experiment.csv").is_file(),
    reason="needs the authors' data file in ../shared/data (see examples/public_goods_experiment.py)",
)
def test_public_goods_record(tmp_path):
    from examples.public_goods_experiment import to_record

    contributions = to_record(REAL_DATA / "public_goods_experiment.csv", tmp_path / "record.csv")
    assert sum(map(len, contributions.values())) == 996
    assert contributions["punish_hypothetical"].mean() == pytest.approx(9.61, abs=0.005)


needs_sb3 = "needs Stable-Baselines3, which needs PyTorch: pip install stable-baselines3"


@pytest.mark.skipif(find_spec("stable_baselines3") is None, reason=needs_sb3)
def test_another_toolkits_agent_learns():
    said = run("learn_with_stable_baselines3.py", "--steps", 4000, "--episodes", 200)
    paid = {name: float(mean) for name, mean in re.findall(r"^(\w+) +(-?\d+) +[\d.]+$", said, re.MULTILINE)}
    # 4,000 years are enough to tell the mechanisms apart, which differ by over 1,000 kEUR
    assert paid["DQN"] > 0.95 * paid["credit_trading"] > paid["performance_contract"] > paid["cost_sharing"]


@pytest.mark.skipif(find_spec("stable_baselines3") is not None, reason="needs Stable-Baselines3 to be missing")
def test_without_the_other_toolkit_one_sentence_says_what_to_install():
    example = str(EXAMPLES / "learn_with_stable_baselines3.py")
    said = subprocess.run([sys.executable, example], capture_output=True, text=True)
    assert said.returncode == 1 and said.stderr.strip() == f"this example {needs_sb3}"


@pytest.mark.skipif(
    not (REAL_DATA / "school_budgets.csv").is_file(),
    reason="needs the author's data file in ../shared/data (see examples/school_budgets.py)",
)
def test_school_budgets():
    """The printed slopes are least squares; ours adjust for less, and within districts are less sure."""
    from examples.school_budgets import effects, printed, read, within

    units, periods, columns = read(REAL_DATA / "school_budgets.csv")
    assert round(printed(columns), 2) == 9.05 and round(printed(within(units, columns)), 2) == 7.0
    found = effects(units, periods, columns, bootstrap=40)
    pooled, inside = found["held fixed"].effect, found["within districts"].effect
    assert abs(pooled.mean - 9.49) < 0.7 and abs(inside.mean - 6.84) < 1.5
    assert pooled.high - pooled.low > 5.5 and inside.high - inside.low > 8.0  # taken for independent: 3.7 and 6.3


NETWORK = """network small {
}
variable age {
  type discrete [ 2 ] { old, young };
}
variable smoke {
  type discrete [ 2 ] { yes, no };
}
variable lung {
  type discrete [ 2 ] { ill, well };
}
variable xray {
  type discrete [ 3 ] { clear, grey, dark };
}
probability ( age ) {
  table 0.4, 0.6;
}
probability ( smoke | age ) {
  (old) 0.7, 0.3;
  (young) 0.2, 0.8;
}
probability ( lung | age, smoke ) {
  (old, yes) 0.6, 0.4;
  (old, no) 0.3, 0.7;
  (young, yes) 0.4, 0.6;
  (young, no) 0.1, 0.9;
}
probability ( xray | lung ) {
  (ill) 0.1, 0.2, 0.7;
  (well) 0.8, 0.1, 0.1;
}
"""


def told(said):
    """Of the first network that the example prints: counts, the true effect, and each mean with its interval."""
    joined, directed = (re.search(rf"{name}: (\d+) \w+, (\d+) \w+, (\d+)", said) for name in ("joined", "directed"))
    true = re.search(r": (-?[\d.]+) in truth", said)
    assert joined and directed and true
    effects = re.findall(r"^ +([a-z, ]+): +(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\], (\w+)", said, re.MULTILINE)
    counts = [[int(count) for count in each.groups()] for each in (joined, directed)]
    return *counts, float(true[1]), {label: [*map(float, numbers), sure] for label, *numbers, sure in effects}


def test_a_known_network_of_labels(tmp_path):
    """Without smoke P(ill) falls from .48 to .18, and P(dark) by .6 of that."""
    (tmp_path / "small.bif").write_text(NETWORK)
    joined, directed, true, effects = told(run("known_networks.py", tmp_path / "small.bif", "--bootstrap", 10))
    assert joined == [4, 0, 0] and sum(directed) == 0  # its class has no direction: no two causes meet unjoined
    assert true == pytest.approx(-0.18, abs=0.01)
    known, order = effects["graph known"], effects["learned, order known"]
    assert known[1] < true < known[2] and order[1] < true < order[2] and known[3] == "identified"
    assert effects["learned"][3] == "not"


@pytest.mark.skipif(
    not (REAL_DATA / "ecoli70.json").is_file(),
    reason="needs ecoli70.json in ../shared/data (see examples/network_files.py for where it is to be had)",
)
def test_a_known_network_of_numbers():
    joined, directed, true, effects = told(run("known_networks.py", REAL_DATA / "ecoli70.json", "--bootstrap", 10))
    assert joined[0] > 50 and joined[1] < 5 and joined[0] + joined[2] == 70 and directed[0] > directed[1]
    low, high = effects["learned, order known"][1:3]
    assert low - 0.03 < true < high + 0.03  # an 89 % interval, and a tenth of its width


def test_a_finance_office_walks_from_its_books_to_what_came_of_its_proposal(tmp_path):
    said = run("finance_office.py", "--folder", tmp_path / "office", "--sites", 6, "--quarters", 14, "--bootstrap", 10)
    assert [*re.findall(r"^\$ .*?(books|discover|effect|budget)\b", said, re.MULTILINE)] == [
        "books",
        "discover",
        "effect",
        "budget",
        "budget",
        "budget",
    ]
    text = " ".join(said.split())
    right, directed = map(int, re.search(r"In truth (\d+) of the (\d+) directed edges", text).groups())
    assert 10 < right <= directed <= 93 and directed - right < 8
    assert "The works council says: We are short of hands" in text and "for the next period" in text.lower()
    inside, numbers = map(int, re.search(r"Of (\d+) numbers that were forecast, (\d+) lie", text).groups()[::-1])
    assert numbers == 6 * 15 and inside / numbers > 0.7
    assert {path.name for path in (tmp_path / "office").iterdir()} == {
        "books.csv",
        "knowledge.toml",
        "next_quarter.csv",
    }
