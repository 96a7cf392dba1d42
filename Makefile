# `make demo` and `make test` are all a fresh clone needs; both set up .venv first.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
CHROMIUM ?= chromium

.PHONY: demo test fuzz check doctest docs linkcheck picture hypercerts setup clean

demo: $(VENV)/.installed
	$(BIN)/bayesalloc compare watershed --out runs/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

fuzz: $(VENV)/.installed
	BAYESALLOC_FUZZ=3000 $(BIN)/python -m pytest -n 2 tests/test_fuzz.py

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

doctest: $(VENV)/.installed
	$(BIN)/python -m pytest --doctest-modules --import-mode=importlib bayesalloc models -p no:cacheprovider -q

docs: $(VENV)/.documented
	$(BIN)/sphinx-build -W --keep-going -q -j 2 -d docs/_build/doctrees docs docs/_build/html
	@echo "open docs/_build/html/index.html"

linkcheck: $(VENV)/.documented  # asks the sites that the pages point at; by hand, as CI has no network
	$(BIN)/sphinx-build -q -b linkcheck -d docs/_build/doctrees docs docs/_build/linkcheck

picture: demo  # of the README: what `make demo` reports, seen by a browser
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=900,1500 \
	  --screenshot=docs/_static/report.png runs/demo/report.html
	$(BIN)/python -c "from PIL import Image as I; f = 'docs/_static/report.png'; \
	  I.open(f).convert('RGB').quantize(128, I.Quantize.MAXCOVERAGE).save(f, optimize=True)"

# The official schemas of hypercerts, which a test validates ours by; it needs npm.
hypercerts: tests/hypercerts/node_modules/.package-lock.json

tests/hypercerts/node_modules/.package-lock.json: tests/hypercerts/package-lock.json
	npm ci --prefix tests/hypercerts --ignore-scripts --no-audit --no-fund

setup: $(VENV)/.installed

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	@touch $@

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	  echo "bayesalloc needs Python 3.12 or newer, and '$(PYTHON)' is `$(PYTHON) -V 2>&1`: run 'make PYTHON=python3.13 demo', with the path of a newer one." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs dist docs/_build docs/reference/modules
