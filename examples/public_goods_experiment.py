"""A real randomised experiment: does punishment raise contributions to a public good, with and without real money?

Drouvelis, Ioannidis & Kallbekken (2024, Journal of Economic Psychology, "Monetary vs. hypothetical incentives: the case
of public good games without and with punishment") had 996 participants play a one-shot public goods game in groups of
three with an endowment of 20, between subjects, in a 2 x 2 design. Their data file is public but not ours to give: pass
its path.

    python examples/public_goods_experiment.py public_goods_experiment.csv

It turns the file into a cooperation record, fits `models/cooperation.py`, and compares the model's average effects with
the difference of the groups' means, which randomisation makes an unbiased estimate of the truth.
"""

import argparse
import csv
from pathlib import Path

import jax
import numpy as np

import bayesalloc as ba

ENDOWMENT = 20.0
PAIRS = {"hypothetical": ("no_punish_hypothetical", "punish_hypothetical"), "real": ("no_punish_real", "punish_real")}


def to_record(source: Path, target: Path) -> dict[str, np.ndarray]:
    """Write the completed participants as a cooperation record; returns their contributions by mechanism."""
    with source.open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["finished"] == "complete"]
    by_mechanism: dict[str, list[float]] = {}
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "person", "mechanism", "contribution", "endowment"])
        for place, row in enumerate(rows):  # the three members of a group stand in consecutive rows
            mechanism = f"{row['playertreatment_punish']}_{row['playertreatment']}"
            writer.writerow([place // 3 + 1, row["id_in_group"], mechanism, row["contribution"], ENDOWMENT])
            by_mechanism.setdefault(mechanism, []).append(float(row["contribution"]))
    return {name: np.array(values) for name, values in by_mechanism.items()}


def main() -> None:
    """Fit, compare, print the model's effects beside the experiment's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the authors' CSV file")
    parser.add_argument("--out", type=Path, default=Path("runs/public_goods"), help="folder for record and posterior")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    record = options.out / "record.csv"
    contributions = to_record(options.source, record)

    cooperation = ba.load_model("cooperation")
    posterior = ba.fit(cooperation, record, jax.random.key(0), progress=True)
    print(ba.diagnose(posterior).why)
    posterior.to_netcdf(options.out / "posterior.nc", engine="h5netcdf")

    for incentive, (without, with_punishment) in PAIRS.items():
        tree = ba.compare(cooperation, [without, with_punishment], jax.random.key(1), posterior=posterior)
        effect = tree["effects"].to_dataset()["contribution"].sel(treatment=with_punishment)
        a, b = contributions[without], contributions[with_punishment]
        error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        low, high = (float(effect.sel(statistic=name)) for name in ("low", "high"))
        print(
            f"{incentive:12s} punishment raises contributions by {float(effect.sel(statistic='ate')):.2f}"
            f" (model, 89 % interval {low:.2f} to {high:.2f}) and by {b.mean() - a.mean():.2f}"
            f" (experiment, standard error {error:.2f})"
        )

    people = sum(len(given) for given in contributions.values())
    replicated = posterior["posterior_predictive"].to_dataset()["share"].values.reshape(-1, people)
    label = np.array([row["mechanism"] for row in csv.DictReader(record.open(encoding="utf-8"))])
    print("share of participants giving nothing / everything (experiment; model's 89 % interval)")
    for name, given in contributions.items():
        cells = []
        for end in (0.0, 1.0):
            piles = (replicated[:, label == name] == end).mean(1)
            low, high = np.quantile(piles, [0.055, 0.945])
            cells.append(f"{(given / ENDOWMENT == end).mean():.2f} ({low:.2f} to {high:.2f})")
        print(f"{name:24s} {cells[0]}   {cells[1]}")


if __name__ == "__main__":
    main()
