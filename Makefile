# Everything from a fresh clone: needs Python 3.10 or newer and make. See README.md.
PYTHON ?= python3
VENV := .venv
SC := $(VENV)/bin/sc

.PHONY: setup demo test check julia bench clean

setup: $(VENV)/ready

# Made anew when the dependencies change; `ready` appears last, so a broken-off set-up starts over.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: Python 3.10 or newer is needed, found $$($(PYTHON) --version); set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Two networks on real data, at a small and a large learning rate; a table and a picture of their collapse.
demo: setup
	$(SC) train -f configs/digits/mlp_gelu.yaml name=demo optimizer.lr=0.01
	$(SC) train -f configs/digits/mlp_gelu.yaml name=demo optimizer.lr=0.1
	$(SC) analyze $${SC_RUNS:-runs}/demo-*
	$(SC) figures collapse $${SC_RUNS:-runs}/demo-*

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy figures benchmarks tools tests

test: check
	$(VENV)/bin/pytest

bench: setup
	$(VENV)/bin/python benchmarks/training.py
	$(VENV)/bin/python benchmarks/analysis.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
