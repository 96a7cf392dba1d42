"""What the site says can be done with nothing but the site: a page's files and code are run in an empty folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from docs.running import blocks, run

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_a_fishery_from_nothing_to_a_counterfactual(tmp_path):
    """The difference of the logs of the stocks has a closed form, as both worlds have the same luck."""
    command = [sys.executable, str(DOCS / "running.py"), str(DOCS / "tutorials" / "fishery.md"), str(tmp_path / "page")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "\n".join(text for text, _ in json.loads(done.stdout))
    assert "can be used: R-hat" in said
    assert "misspelt.csv, line 15, column 'rule': fishery has no arm 'qouta'" in said

    folder = tmp_path / "page" / "run"
    recovery = xr.open_datatree(folder / "fitted" / "posterior.nc")["posterior"]["recovery"].values.ravel()
    stock = xr.open_datatree(folder / "earlier" / "results.nc")["outcomes"]["stock"]
    gap = np.log(stock.sel(arm="counterfactual") / stock.sel(arm="factual")).values  # draw, year
    kept = gap[:, 1] / gap[:, 0] - 1.0  # 1 - recovery of the draw
    expected = [np.full_like(kept, np.log(0.8 / 0.6))]
    for year in range(2002, 2025):  # until 2012 the shares differ
        expected.append(kept * expected[-1] + (np.log(0.8 / 0.6) if year <= 2012 else 0.0))
    np.testing.assert_allclose(gap, np.stack(expected, axis=1), atol=1e-3)
    # draws of the counterfactual are draws of the posterior, up to rounding of a ratio of float32 numbers
    assert abs(recovery[None] - (1.0 - kept)[:, None]).min(axis=1).max() < 1e-3
    assert 0.2 < np.median(recovery) < 0.4  # 0.3 is true, with a standard deviation of 0.04


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```sh\nfalse\ntrue\n```\n", "line 1: failed"),
        ("text\n\n```sh\nfalse | cat\n```\n", "line 3: failed"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```sh fails\ntrue\n```\n", "line 1: should have failed"),
        ("```sh\necho 12 kg\n```\n```text output\n13 kg\n```\n", "not what was printed"),
        ("```sh\necho 12 kg\n```\n```text output\n12 t\n```\n", "not what was printed"),
    ],
)
def test_a_page_whose_code_fails_is_refused(tmp_path, page, said):
    with pytest.raises(SystemExit, match=said):
        run(page, tmp_path, tmp_path)


def test_what_a_page_shows_is_what_came_of_it(tmp_path):
    page = "```csv file=a.csv\nx\n1\n```\n```python\nx = 2\nx + 1\n```\n```sh\ncat a.csv\n```\n"
    page += "```sh not-run\nfalse\n```\n```python\nprint(x)\n```\n"
    assert [result.text for result in run(page, tmp_path, tmp_path)] == ["", "3\n", "x\n1\n", "", "2\n"]


def test_options_are_those_that_there_are():
    for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]:
        for block in blocks(page.read_text()):
            assert {*block.options} <= {"file", "not-run", "fails", "lines", "alt", "output"}, (page, block)
