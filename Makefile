# Two commands do everything on a fresh machine: `make book` builds the book, `make test` checks all of it.
# Both set up .venv first. A torch that is already there (in .venv, or in the Python named here) is kept.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash
export JUPYTER_PLATFORM_DIRS = 1
WHEELS := wheels
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check
OFFLINE = $(if $(wildcard $(WHEELS)/*.whl),--no-index --find-links $(WHEELS))

# Where the Python that was there has some of the packages already, pip would leave their commands out of .venv/bin.
COMMANDS_TOO = $(if $(wildcard $(BIN)/ruff),,--ignore-installed)

# A Python that is itself of a virtual environment does not pass its packages on: .venv is told where they are.
WHERE_TORCH_IS = import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])
PACKAGES = import sysconfig; print(sysconfig.get_path("purelib"))

.PHONY: help setup book zip pdf links wheels test check test-gpu lab bench notebooks mutations kills lint check-notebooks
.PHONY: package release clean

help:
	@echo "make setup      set up .venv alone; all others do it first"
	@echo "make book       set up .venv, run every chapter and build book/_build/html/index.html"
	@echo "make test       set up .venv, build the book and check code, notebooks and pages, two jobs at a time"
	@echo "make check      the checks that see most, for every day: form, the heart, the notebooks' form"
	@echo "make test-gpu   on a machine with a GPU: kernels, recorded steps and runs there"
	@echo "make zip        the built book as one file, book/_build/book.zip, to hand to a class"
	@echo "make pdf        the whole book as one PDF file, book/_build/book.pdf, printed by Chromium"
	@echo "make links      list the links out of the book; fail where one within it does not arrive"
	@echo "make wheels     put all packages into wheels/, from which make setup installs without a network"
	@echo "make lab        open the chapters in JupyterLab"
	@echo "make notebooks  run the chapters and store their text outputs"
	@echo "make lint       ruff: what make test asks of the code's form"
	@echo "make package    build sdist and wheel into dist/, and check both with the tools of package indexes"
	@echo "make release    set version and date before a release: make release VERSION=0.2.0"
	@echo "make mutations  break the package on purpose, one line at a time: each break must turn a test red"
	@echo "make kills      kill small runs 400 times at random moments, and signal commands that start: they must end as they should; edit files at random"
	@echo "make bench      speed and memory: engines, other libraries, losses, growth; RECORD=--record for chapter 8"
	@echo "make clean      remove what was built; 'rm -rf .venv' removes the environment too"

setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	    if there=$$($(PYTHON) -c '$(WHERE_TORCH_IS)' 2>/dev/null); then \
	        $(PYTHON) -m venv --system-site-packages .venv && \
	        { $(BIN)/python -c 'import torch' 2>/dev/null || \
	          echo "$$there" > "$$($(BIN)/python -c '$(PACKAGES)')/torch_that_was_there.pth"; }; \
	    else $(PYTHON) -m venv .venv; fi; fi
	@kept=; for package in torch triton; do \
	    if $(BIN)/python -c "import $$package" 2>/dev/null; then kept="$$kept -e ^$$package=="; fi; done; \
	    grep -v -e '^#' $$kept requirements.txt > .venv/requirements.txt
	$(PIP) install $(OFFLINE) $(COMMANDS_TOO) --requirement .venv/requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

wheels: setup
	$(PIP) wheel --wheel-dir $(WHEELS) --requirement requirements.txt
	@echo "make setup installs from $(WHEELS)/, without a network, here and in any copy (same system, same Python)."

book: setup
	@$(BIN)/python tools/notebooks.py address
	$(BIN)/jupyter-book build -W --keep-going -n book/
	@echo "Open book/_build/html/index.html in a browser; it needs no network."

zip: book
	@$(BIN)/python tools/zipped.py

pdf: setup
	$(BIN)/jupyter-book build -W --keep-going -n --builder singlehtml book/
	@$(BIN)/python tools/pdf.py

links: book
	@$(BIN)/python tools/links.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-notebooks: setup
	$(BIN)/python tools/notebooks.py check

# The book is built by tools/checks.py, while the code's tests run.
test: lint
	@$(BIN)/python tools/notebooks.py address
	$(BIN)/python tools/notebooks.py check
	@$(BIN)/python tools/checks.py

# What a change of the heart breaks first; the rest is for make test.
QUICK := $(addprefix tests/test_,house.py mutations.py neuron.py losses.py gradient_kinds.py layers.py networks.py \
    experiments.py inputs.py) tests/ops/test_ops.py tests/records/test_records.py

check: lint
	$(BIN)/python tools/notebooks.py check
	$(BIN)/python -m pytest -q -m "not slow and not browser" -k "not triton" $(QUICK)

lab: setup
	$(BIN)/jupyter lab book/

notebooks: setup
	$(BIN)/python tools/notebooks.py refresh

test-gpu: setup
	TRITON_INTERPRET=0 $(BIN)/python -m pytest tests/test_gpu.py

kills: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.kills
	SNNBOOK_RANDOM=1 $(BIN)/python -m pytest -q tests/datasets/test_fuzz_files.py

mutations: setup
	$(BIN)/python -m tests.break_code

BENCHMARKS := training_step memory neuron_pass crossover losses scaling gpu
RECORD :=

bench: setup
	@for script in $(BENCHMARKS); do $(BIN)/python benchmarks/$$script.py $(RECORD) || exit; done

# The tools for a release have an environment of their own: the group "release" of pyproject.toml.
TOOLS := build/release/bin
TAG :=

$(TOOLS)/ready: pyproject.toml
	$(PYTHON) -m venv build/release
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" pyyaml nbformat
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check --group release
	@touch $@

package: $(TOOLS)/ready
	$(if $(TAG),$(TOOLS)/python tools/release.py --tag $(TAG))
	rm -rf dist
	$(TOOLS)/validate-pyproject pyproject.toml
	$(TOOLS)/cffconvert --validate --infile CITATION.cff
	$(TOOLS)/python -m build --outdir dist .
	$(TOOLS)/twine check --strict dist/*
	$(TOOLS)/check-wheel-contents dist/*.whl

release: setup
	$(BIN)/python tools/release.py $(VERSION)

clean:
	rm -rf book/_build build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
