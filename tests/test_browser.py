"""A person's walk through the dashboard, in a real browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'bayesalloc[dev]' brings Playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
RECORD = "year,forest_health,erosion\n" + "".join(
    f"{2000 + i},{0.4 + 0.02 * i:.2f},{0.6 - 0.01 * i:.2f}\n" for i in range(12)
)
BAD = "year,forest_health,erosion\n2000,1.4,0.6\n2001,0.5,0.6\n"
PROJECTS = """project,impact_per_1000usd,current,room_usd
wells in the far north of the country,5,100000,400000
nets,9,200000,600000
"""
INSTANCE = """{"agents": 3, "edges": [[0, 1], [1, 2]], "resource_types": 1, "resources": [[1], [0], [5]],
 "tasks": [{"agent": 0, "utility": 10, "requires": [3]}]}"""
PLOT, PATIENCE = ".js-plotly-plot", 60_000
WIDER = """[...document.querySelectorAll('.stMain *')].filter(each =>
    each.getBoundingClientRect().right > 391 && !each.closest('.scroll, .js-plotly-plot, .st-key-wide_graph')
).map(each => each.outerHTML.slice(0, 90))"""  # what is wider than a screen of 390 pixels
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The dashboard as its users start it: its address and its folder of runs."""
    home, port = tmp_path_factory.mktemp("dashboard"), free_port()
    command = [sys.executable, "-m", "bayesalloc.cli", "dashboard", "--port", str(port), "--runs", str(home / "runs")]
    with (home / "log").open("wb") as log, subprocess.Popen(command, cwd=home, stdout=log, stderr=log) as process:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.25)
        yield port, home / "runs"
        process.terminate()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, server):
    opened = browser.new_context(viewport={"width": 1280, "height": 1400}, accept_downloads=True).new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(f"http://127.0.0.1:{server[0]}")
    opened.wait_for_selector(PLOT)
    yield opened
    opened.context.close()


def move(page, name, times=1):
    """Move a slider by the keyboard, and wait until what is found says something else."""
    before = page.locator("li").all_inner_texts()
    for _ in range(times):
        page.get_by_role("slider", name=name).first.press("ArrowRight")
    page.wait_for_function(
        "before => [...document.querySelectorAll('li')].map(x => x.innerText).join('|') !== before",
        arg="|".join(before),
    )


def idle(page):
    """Until the server has nothing more to say: what is done meanwhile to a part of the page may be lost with it."""
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def upload(page, place, name, text):
    """Give a file to the place of that name."""
    idle(page)
    files = [{"name": name, "mimeType": "text/csv", "buffer": text if isinstance(text, bytes) else text.encode()}]
    page.get_by_test_id("stFileUploader").filter(has_text=place).locator("input").set_input_files(files)


def test_a_walk(page, server, tmp_path):
    """Open, change a mechanism, keep it, compare, upload, see a named error, run a job, cancel one, download."""
    move(page, "modifier", 4)
    assert page.locator("li", has_text="mine").count() == 1
    page.get_by_role("button", name="Keep 'mine' to compare").click()
    page.get_by_text("mine", exact=True).first.wait_for()
    idle(page)
    for view in ("Effects", "Agents", "Choice", "Over time"):
        page.get_by_text(view, exact=True).first.click()
        idle(page)
        page.wait_for_selector(PLOT)
    page.get_by_text("Upload a mechanism").click()
    upload(page, "Record (CSV)", "bad.csv", BAD)
    page.get_by_text("bad.csv, line 2, column 'forest_health': is 1.4").wait_for()
    upload(page, "Record (CSV)", "../../mine.csv", RECORD)
    page.get_by_role("button", name="Fit the model to").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled; no results were written.").wait_for()
    page.get_by_text("Compare at full precision").click()
    page.get_by_role("button", name="Compare with 500 draws").click()
    with page.expect_download(timeout=120_000) as waited:
        page.get_by_role("button", name="Report", exact=True).click(timeout=120_000)
    waited.value.save_as(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "mine" in text and "500 draws" in text
    made = sorted(path.name.split("-", 2)[2][:3] for path in server[1].iterdir() if path.name != "uploads")
    assert made == ["com"], "the cancelled job left results"
    assert all(path.resolve().is_relative_to(server[1].resolve()) for path in server[1].rglob("*"))


def go(page, name):
    page.get_by_role("link", name=name).first.click()
    page.wait_for_selector(f"[data-testid=stTopNavLink][aria-current=page]:has-text('{name}')")
    idle(page)


def view(page, name):
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()
    idle(page)


def take(page, button):
    """What a button downloads."""
    with page.expect_download() as waited:
        page.get_by_role("button", name=button, exact=True).first.click()
    return Path(waited.value.path()).read_text()


def narrow(page):
    """Nothing is wider than a telephone."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert not page.evaluate(WIDER)
    page.set_viewport_size({"width": 1280, "height": 1400})
    idle(page)


def test_the_other_pages(page):
    """Each takes a file, names what is wrong with a bad one, does what it is for, and has something to take away.

    While a job runs somebody looks at another page.
    """
    go(page, "Funding")
    upload(page, "Projects (CSV)", "bad.csv", "project,impact_per_1000usd\nwells,x\n")
    page.get_by_text("bad.csv, line 2, column 'impact_per_1000usd': is 'x'").wait_for()
    upload(page, "Projects (CSV)", "north.csv", PROJECTS)
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("Begin north").wait_for()
    go(page, "Budgets")
    page.get_by_text("Upload your books").click()
    upload(page, "Books (CSV)", "bad.csv", "a,b\n1,2\n1,x\n")
    page.get_by_text("bad.csv, line 3, column 'b': is 'x'").wait_for()
    view(page, "Causes")
    page.wait_for_selector(PLOT)
    narrow(page)
    view(page, "Comments")
    page.get_by_label("Who says it").fill("Head of operations")
    page.get_by_label("Who says it").press("Enter")
    page.get_by_role("button", name="Keep it").click()
    page.get_by_text("operations must not change").wait_for()
    idle(page)
    assert 'frozen = ["operations"]' in take(page, "What is known (TOML)")
    go(page, "Funding")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("Proposal: running").wait_for()
    go(page, "Networks")
    view(page, "Round by round")
    page.get_by_text("Beside each agent").wait_for()
    page.get_by_text("What may go wrong").click()
    page.get_by_role("slider", name="Messages lost").press("End")
    view(page, "Welfare")
    page.locator("td, th", has_text="dec-grd, nothing wrong").wait_for()
    narrow(page)
    assert "dec-price" in take(page, "Welfare (CSV)")
    view(page, "The problem")
    page.get_by_text("Upload an instance").click()
    upload(page, "Instance (JSON)", "bad.json", INSTANCE.replace("[0, 1]", '["a", "b"]'))
    page.get_by_text("bad.json: edges[0][0] is 'a'; it must be a number").wait_for()
    upload(page, "Instance (JSON)", "mine.json", INSTANCE)
    page.locator("input[value='mine.json']").wait_for()
    idle(page)
    assert json.loads(take(page, "Instance (JSON)"))["agents"] == 3
    go(page, "Funding")
    page.get_by_text("Expected impact of this split").wait_for()
    narrow(page)
    assert "nets" in take(page, "allocation.csv")
    go(page, "Runs")
    page.get_by_text("optimize ask north.json").wait_for()
    narrow(page)
    assert "<html" in take(page, "report.html")
    page.get_by_role("button", name="Repeat it").click()
    page.get_by_text("cannot be repeated").wait_for()
    go(page, "Funding")
    page.get_by_text("Tell what happened").click()
    page.get_by_label("Reported in total").fill("2500")
    page.get_by_label("Reported in total").press("Enter")
    idle(page)
    page.get_by_role("button", name="Tell", exact=True).click()
    page.get_by_text("rounds of which something is known: 1").wait_for()


def test_it_can_be_read_on_a_telephone(page):
    """Nothing is wider than the screen; a table that is wider scrolls within itself."""
    page.set_viewport_size({"width": 390, "height": 844})
    for view in ("Over time", "Effects", "Agents", "Choice", "Brief"):
        page.get_by_text(view, exact=True).first.click()
        page.wait_for_selector("iframe" if view == "Brief" else PLOT)
        page.wait_for_timeout(500)
        assert not page.evaluate(WIDER), view


def test_five_people_do_not_see_each_other(browser, server):
    """What one moves, the others don't see."""
    pages = [browser.new_context().new_page() for _ in range(5)]
    for each in pages:
        each.set_default_timeout(PATIENCE)
        each.goto(f"http://127.0.0.1:{server[0]}")
    for place, each in enumerate(pages):
        each.wait_for_selector(PLOT)
        if place:
            each.get_by_label("Name of the new mechanism").fill(f"own_{place}")
            each.get_by_label("Name of the new mechanism").press("Enter")
            move(each, "modifier", place)
    for place, each in enumerate(pages):
        text = " ".join(each.locator("li").all_inner_texts())
        assert [other for other in range(1, 5) if f"own {other}" in text] == ([place] if place else [])
        each.context.close()


def test_nobody_else_gets_in(server):
    """By default the server listens on this machine's own address only."""
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    others = {address for address in others if not address.startswith("127.")} or {"127.0.0.2"}  # another local one
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((address, server[0]), timeout=2).close()


def test_a_port_in_use(server):
    """One sentence, and nothing is started."""
    command = [sys.executable, "-m", "bayesalloc.cli", "dashboard", "--port", str(server[0])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2 and f"port {server[0]}" in done.stderr and done.stderr.count("\n") == 1
