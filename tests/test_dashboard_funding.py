"""The Funding and Runs pages, over run folders that the command line makes."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit.testing.v1 import AppTest

from bayesalloc.dashboard import jobs
from bayesalloc.impact.state import load

PROJECTS = """project,impact_per_1000usd,current,room_usd
wells,5,100000,400000
<b>nets</b>,9,200000,600000
seeds,6,50000,300000
"""


def funding():
    from bayesalloc.dashboard import funding

    funding.page()


def listing():
    from bayesalloc.dashboard import runs

    runs.page()


def bayesalloc(home, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "bayesalloc.cli", *arguments], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A programme that was begun, asked and told once."""
    home = tmp_path_factory.mktemp("programme")
    (home / "p.csv").write_text(PROJECTS)
    (home / "runs" / "funding").mkdir(parents=True)
    state = "runs/funding/north.json"
    bayesalloc(home, "optimize", "start", "p.csv", "--budget", "400000", "--state", state, "--out", "runs/1-start-0")
    bayesalloc(home, "optimize", "ask", state, "--sweep", "200000:800000", "--out", "runs/2-ask-0")
    return home


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    copied = tmp_path / "programme"
    shutil.copytree(made, copied)
    monkeypatch.chdir(copied)
    monkeypatch.setenv("BAYESALLOC_RUNS", "runs")
    return copied


def shown(page):
    return " ".join(each.value for each in [*page.markdown, *page.caption, *page.info, *page.warning])


def test_a_proposal_is_shown_as_it_was_answered(home):
    page = AppTest.from_function(funding, default_timeout=60).run()
    assert not page.exception and page.selectbox[0].value == "north"
    answer = json.loads((home / "runs/2-ask-0/ask.json").read_text())
    assert f"{answer['asks'][0]['impact']['mean']:,.0f}"[:3] in shown(page) and "HyperScore: 10" in shown(page)
    tables = " ".join(each.value for each in page.html)
    assert "&lt;b&gt;nets" in tables and "<b>nets" not in tables, "a name from data is no markup"
    for view in ("Other rules", "Other budgets"):
        page.segmented_control[0].set_value(view).run()
        assert not page.exception
    assert "800,000" in " ".join(each.value for each in page.html)


def test_a_proposal_from_before_the_last_report_says_so(home):
    bayesalloc(
        home, "optimize", "tell", "runs/funding/north.json", "--ask", "1", "--impact", "2000", "--out", "runs/3-tell-0"
    )
    page = AppTest.from_function(funding, default_timeout=60).run()
    assert "before the last report came in" in shown(page) and "is known: 1." in shown(page)


def test_an_answer_that_was_changed_is_not_shown(home):
    path = home / "runs/2-ask-0/ask.json"
    path.write_text(path.read_text().replace('"residual"', '"residual "'))
    page = AppTest.from_function(funding, default_timeout=60).run()
    assert not page.exception and any("is not what manifest.json beside it says" in each.value for each in page.error)


def test_what_is_asked_and_told_is_the_command_line_s(home, monkeypatch):
    started = []
    monkeypatch.setattr(jobs.Job, "_run", lambda job: started.extend(job.commands))
    page = AppTest.from_function(funding, default_timeout=60).run()
    page.number_input[0].set_value(2500.0).run()
    next(each for each in page.button if each.label == "Tell").click().run()
    next(each for each in page.button if each.label == "Ask").click().run()
    tell, ask = started
    assert tell[:7] == ["optimize", "tell", "runs/funding/north.json", "--ask", "1", "--impact", "2500.0"]
    assert ask[:7] == [
        "optimize",
        "ask",
        "runs/funding/north.json",
        "--goal",
        "impact",
        "--sweep",
        "200000.00:800000.00",
    ]
    jobs._running.clear()


def test_two_who_tell_at_once_lose_nothing(home):
    """Both reports are in the state: each waited for the other's lock."""
    state = "runs/funding/north.json"
    (home / "other.csv").write_text("project,amount_usd\nwells,400000\n")
    ways = [("--ask", "1", "--impact", "2000"), ("--allocation", "other.csv", "--impact", "1500")] * 2
    with ThreadPoolExecutor(4) as pool:
        told = [
            jobs.Job("Tell", [["optimize", "tell", state, *way, "--out", f"runs/t{i}"]], home)
            for i, way in enumerate(ways)
        ]
        [*pool.map(lambda job: job.wait(120.0), told)]
    impacts = [row.impact for row in load(home / state).rows if row.impact is not None]
    done = [job.state for job in told]
    assert done.count("done") >= 3 and impacts.count(1500.0) == 2 and 2000.0 in impacts, (
        done,
        [job.sentence for job in told],
    )


def test_runs_are_listed_opened_and_compared(home):
    bayesalloc(home, "optimize", "ask", "runs/funding/north.json", "--out", "runs/3-ask-0")
    page = AppTest.from_function(listing, default_timeout=60).run()
    assert not page.exception
    assert "2-ask-0" in page.html[0].value and page.html[0].value.count("whole") == 3
    page.selectbox[0].set_value("3-ask-0").run()
    assert {each.label for each in page.download_button} == {"allocation.csv", "ask.json", "report.html"}
    page.selectbox[1].set_value("2-ask-0").run()
    assert "What differs most in each file" in page.html[1].value  # one has a sweep
    next(each for each in page.button if each.label == "Repeat it").click().run()
    assert any("cannot be repeated" in each.value for each in page.error), "asking changes the state"
