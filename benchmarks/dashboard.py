"""How fast the dashboard answers, in Chromium: the first page, a moved slider, and the server's memory.

python dashboard.py [--moves 100]
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
SAID = "[...document.querySelectorAll('li')].map(each => each.innerText).join('|')"


def resident(pid: int) -> float:
    """Memory of a process, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moves", type=int, default=100)
    moves = parser.parse_args().moves
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port = tried.getsockname()[1]
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        command = [sys.executable, "-m", "bayesalloc.cli", "dashboard", "--port", str(port), "--runs", f"{home}/runs"]
        began = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
                break
            except OSError:
                time.sleep(0.05)
        found = {"server": time.perf_counter() - began}
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        began = time.perf_counter()
        page.goto(f"http://127.0.0.1:{port}")
        page.wait_for_selector(".js-plotly-plot")
        found["first page"] = time.perf_counter() - began
        time.sleep(10)  # the usual program is compiled meanwhile
        slider, taken, memory = page.get_by_role("slider", name="modifier").first, [], {}
        for move in range(1, moves + 1):
            before = page.evaluate(SAID)
            began = time.perf_counter()
            slider.press("ArrowRight" if move % 20 < 10 else "ArrowLeft")
            page.wait_for_function(f"before => {SAID} !== before", arg=before, polling=10)
            taken.append(time.perf_counter() - began)
            if move in (10, moves):
                time.sleep(2)
                memory[f"MB after {move} moves"] = resident(server.pid)
        browser.close()
        server.terminate()
        server.wait()
    warm = taken[1:]
    found |= {"first move": taken[0], "median of 20 moves": statistics.median(warm[:20])}
    found |= {"median of all": statistics.median(warm), "slowest": max(warm), **memory}
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
