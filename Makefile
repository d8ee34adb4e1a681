# Everything from a fresh clone: needs Python 3.10 or newer and make. See README.md.
PYTHON ?= python3
VENV := .venv
SC := $(VENV)/bin/sc
RUNS := $(or $(SC_RUNS),runs)

# The toy simulations' Julia: yours, or the private one that `make julia` puts here.
WITH_JULIA := SC_JULIA="$(or $(SC_JULIA),$(shell command -v julia),$(CURDIR)/.cache/julia/bin/julia)"

.PHONY: setup julia demo figures docs tour tour-check check test bench gpu gpu-wheels dist clean

setup: $(VENV)/ready

# Made anew when the dependencies change; `ready` appears last, so a broken-off set-up starts over.
$(VENV)/ready: pyproject.toml constraints.txt tests/requirements-networks.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: Python 3.10 or newer is needed, found $$($(PYTHON) --version); set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements-networks.txt
	@touch $@

# Everything passes without Julia too, and says which checks did not run.
julia: setup
	@$(VENV)/bin/python tools/get_julia.py || echo "make: no Julia here; going on without it" >&2

# Label noise alone collapses students, beside their controls: a table and a picture. Then a network on real data beside
# its twin without gradient noise: a table, a picture and a page about both.
demo: julia
	$(WITH_JULIA) $(SC) simulate-toy students -f configs/toys/students.yaml
	$(SC) figures students
	$(SC) control -f configs/digits/mlp_gelu_noise.yaml name=demo max_steps=20000 --only no-noise
	$(SC) figures collapse $(RUNS)/demo-*
	$(SC) report $(RUNS)/demo-*

# All figures of the paper and our own in small, minutes on 2 cores, and a page about them: figures/out/index.html. What is finished
# is not made again. SIZE=paper needs GPUs.
figures: julia
	$(WITH_JULIA) $(VENV)/bin/python figures/regenerate.py --size $(or $(SIZE),quick)

# The documentation's site, into site/; every warning, broken link and fetch from elsewhere is an error.
docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

# The notebook of the documentation, run again: `tour` stores its output in it, `tour-check` sees that it runs.
tour tour-check: $(VENV)/docs-ready
	$(VENV)/bin/python tools/docs/tour.py $(if $(filter tour,$@),--store)

$(VENV)/docs-ready: $(VENV)/ready
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $@

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy figures benchmarks tools
	$(VENV)/bin/mypy tests

# A thread a process: more get in each other's way, and the tests' networks are small. Three, since they wait for processes.
test: check julia
	OMP_NUM_THREADS=1 $(WITH_JULIA) $(VENV)/bin/pytest -n 3 --dist worksteal

# Speeds, as data in benchmarks/results/ and as the tables of the documentation that are made from them.
BENCH := $(VENV)/bin/python benchmarks
bench: julia
	$(BENCH)/training.py --out benchmarks/results
	$(BENCH)/replicates.py --out benchmarks/results
	$(BENCH)/analysis.py --out benchmarks/results
	$(BENCH)/monitor.py --out benchmarks/results
	$(BENCH)/own.py --out benchmarks/results
	$(WITH_JULIA) $(BENCH)/toys.py --out benchmarks/results
	$(VENV)/bin/python tools/docs/speeds.py

# The proof of all that runs on CUDA, in LIMIT seconds, on a machine with a CUDA PyTorch and no internet; see
# docs/how-to/gpu.md. PYTHON is the Python that has PyTorch; STAGES names some of its stages, all without it.
gpu:
	@PYTHON="$(PYTHON)" OUT="$(OUT)" LIMIT="$(LIMIT)" WHEELS="$(WHEELS)" STAGES="$(STAGES)" tools/gpu/accept.sh

# What that machine may lack, for its version of Python, which is not the one that runs here: make gpu-wheels PYTHON=3.12
gpu-wheels:
	@$(MAKE) --no-print-directory setup PYTHON=python3
	@$(VENV)/bin/python tools/gpu/wheels.py "$(PYTHON)" "$(or $(WHEELS),wheels)" --without "$(WITHOUT)"

# What a release publishes, in dist/: the source archive, and the wheel that is built from it.
dist: setup
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	rm -rf dist
	$(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/twine check --strict dist/*

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .hypothesis
