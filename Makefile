# Two commands do all the set-up that there is: `make demo` and `make test`.
#
#   make demo       a support desk of 24 agents on an embedded model, through a crash
#   make test       all tests; TESTERS=6 on a larger machine
#   make test-engines   real engines: VLLM=… TRITON=… name environments that have them
#   make check      what CI runs: format, lint, types, floors, tests
#   make simulate   the whole kernel in virtual time; SEEDS=1000 for more
#   make bench      all measurements, into bench/results/
#   make clean      removes what these commands made, except the pulled models
#
# A better model for the demo: make demo ENGINE=name=http://host:8000/v1 MODEL=the-models-name

PYTHON ?= python3
SEEDS ?= 50
TESTERS ?= 3
ENGINE ?=
MODEL ?=
VLLM ?=
TRITON ?=

BIN := .venv/bin
READY := .venv/.ready

# A file's tests share what they start.  Whoever tests waits much of the time, for kernels that start
# and that were killed, so there are more testers than cores of a small machine.  Files are taken as
# they are named, which leaves many short ones for the end; xdist's own order leaves the longest.
PYTEST := $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-engines check simulate bench clean setup pulled

demo: pulled
	$(BIN)/python examples/support_desk/demo.py $(if $(ENGINE),--engine '$(ENGINE)') $(if $(MODEL),--model '$(MODEL)')

test: pulled
	$(PYTEST)

# What a real engine is needed for and is not there is skipped, and said so.  Recipes for VLLM and
# TRITON (virtual environments of their own) are in docs/how-to/test-real-engines.md.
test-engines: pulled
	ORLOP_VLLM_VENV='$(VLLM)' ORLOP_TRITON_VENV='$(TRITON)' $(BIN)/python -m pytest tests/engines -rs

check: pulled
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

simulate: $(READY)
	ORLOP_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/simulation

# The rivals that some benchmarks measure in the same run have a lock file of their own.
bench: pulled
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/rivals.lock
	mkdir -p bench/results
	for question in door http agents journal stores takeover restore restart cold_start soak budgets \
		decision rights effects isolation memory files decisions programs_simulated programs_real cloud_limits; do \
		$(BIN)/python -m bench.$$question --json bench/results/$$question.json || exit 1; \
	done

clean:
	rm -rf .venv .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: pulled

# pip checks every file against the lock's hashes; the checkout itself is installed last, with the
# build tool that the lock names.
$(READY): requirements/dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Models lie outside the checkout, for all homes of this user; what is there is only checked.
pulled: $(READY)
	$(BIN)/orlop pull smollm2 minilm
