# Earwitness: `make run` serves the dashboard, `make test` runs every test. Both can be run again; the second time is quick.

PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3.11)
PORT ?= 8501
CORPUS ?= $(or $(EARWITNESS_CORPUS),../shared/corpus)
SIZES ?= 1000 10000 100000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint audit benchmark pretrained clean help

help:
	@echo "make run        install what is missing and serve the dashboard at http://localhost:$(PORT)"
	@echo "make test       install what testing needs and run every test"
	@echo "make lint       ruff"
	@echo "make pretrained fetch the weights of Whisper base, which training starts from (running and testing need none)"
	@echo "make audit      known vulnerabilities of what is pinned"
	@echo "make benchmark  measure the scan on \$$(CORPUS)/test, at \$$(SIZES) recordings too, and write BENCHMARKS.md"

run: $(VENV)/.installed
	@echo "Earwitness: http://localhost:$(PORT)  (stop with Ctrl-C)"
	@$(BIN)/streamlit run Home.py --server.port $(PORT)

test: $(VENV)/.installed-dev chromium postgresql
	@echo "Running every test."
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Asks PyPI's advisory database about what is pinned; needs the network.
audit: $(VENV)/.installed-dev
	@$(BIN)/pip-audit --disable-pip --no-deps -r requirements.txt -r requirements-cluster.txt -r requirements-openvino.txt -r requirements-hub.txt

benchmark: $(VENV)/.installed
	@$(BIN)/python -m core benchmark $(CORPUS)/test --sizes $(SIZES) --entries 1000000 --out BENCHMARKS.md

# What `python -m training features` sends recordings through; needs the network once.
pretrained: $(VENV)/.installed
	@$(BIN)/python -m training pretrained

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed and '$(PYTHON)' is not there: install it, or run 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed; '$(PYTHON)' is $$($(PYTHON) --version). Run 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@echo "Making the environment in $(VENV)."
	@$(PYTHON) -m venv $(VENV) || { echo "The environment could not be made: on Debian, 'apt-get install python3.11-venv'." >&2; exit 1; }

$(VENV)/.installed: requirements.txt $(VENV)/bin/python
	@echo "Installing what running needs (about 6 GB with torch; a minute or a few)."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt || { echo "Installing failed: check the connection to PyPI and the disk space (8 GB), then run the same command again." >&2; exit 1; }
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-cluster.txt requirements-openvino.txt requirements-hub.txt $(VENV)/.installed
	@echo "Installing what testing needs."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt || { echo "Installing failed: check the connection to PyPI, then run the same command again." >&2; exit 1; }
	@touch $@

# The browser tests drive the distribution's Chromium. Without it, and without the right to install it, they are skipped and say so.
.PHONY: chromium
chromium:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null \
			|| { echo "Chromium could not be installed: check apt-get's sources, or install a Chromium and put it on PATH." >&2; exit 1; }; \
	else echo "No Chromium here: the browser tests will be skipped. Install it with 'sudo apt-get install chromium'."; fi

# The tests of PostgreSQL start a private server. Without its programs, and without the right to install them, they are skipped and say so.
# RUNLEVEL=1 keeps Debian's package from starting a server of its own.
.PHONY: postgresql
postgresql:
	@if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing PostgreSQL for its tests."; \
		apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null \
			|| { echo "PostgreSQL could not be installed: check apt-get's sources, or install it and put initdb on PATH." >&2; exit 1; }; \
	else echo "No PostgreSQL here: its tests will be skipped. Install it with 'sudo apt-get install postgresql'."; fi

clean:
	rm -rf $(VENV) .ruff_cache
