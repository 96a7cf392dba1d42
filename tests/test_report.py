import base64
import json
import re
from html.parser import HTMLParser

import jax
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console

import bayesalloc as ba
from bayesalloc import report
from bayesalloc.effects import Arm
from bayesalloc.inference import diagnose
from bayesalloc.report import figures, tables
from bayesalloc.report.page import page, write_page

RECORD = "year,forest_health,erosion,mechanism\n" + "\n".join(
    f"{2001 + i},{health},{erosion},cost_sharing"
    for i, (health, erosion) in enumerate([(0.40, 0.62), (0.42, 0.66), ("", 0.60), (0.45, 0.58), (0.44, 0.61)])
)


@pytest.fixture(scope="module")
def comparison():
    return ba.compare(ba.load_model("watershed"), None, jax.random.key(0), draws=20, horizon=4, futures=3)


@pytest.fixture(scope="module")
def plain():
    def model():
        x = numpyro.sample("x", dist.Normal())
        slope = numpyro.sample("slope", dist.Normal(2.0, 0.1))
        numpyro.sample("y", dist.Normal(slope * x, 1.0))

    arms = {"a <b>&": Arm(sites={"x": 0.0}), "$x$ [bold]": Arm(sites={"x": 1.0})}
    return ba.compare(model, arms, jax.random.key(0), draws=20)


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "record.csv"
    path.write_text(RECORD)
    return ba.fit(ba.load_model("watershed"), path, jax.random.key(0), warmup=30, draws=20, chains=2)


@pytest.fixture(scope="module")
def counterfactual(fit):
    return ba.counterfactual(ba.load_model("watershed"), fit, "credit_trading", from_year=2003, draws=20)


def printed(renderable, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))
    console.print(renderable)
    return console.export_text()
