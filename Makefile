# Everything sets itself up: Python 3.11, make and a package registry are all it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
SEED ?= 0
LOCK := requirements-dev.lock
TORCH := torch==2.13.0
# Without a GPU the CPU build is enough. Indexes that have one label it +cpu; elsewhere the plain build is installed.
GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
install_torch = $(if $(GPU),,$(1)/python -m pip install -q "$(TORCH)+cpu" 2>/dev/null ||) $(1)/python -m pip install -q "$(TORCH)"

.PHONY: help demo ablations test faults browser_test slow_test bench docs style quality lock vllm clean

## Usage: make TARGET (each installs what it needs into .venv)
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo           the whole method on two CPU cores, with a page of results (OUT=dir SEED=1)
demo: $(VENV)/installed
	$(BIN)/cadvi demo --config demo --out $(OUT) --seed $(SEED) $(ARGS)

## make ablations      the demo over three seeds, with parts left out
ablations: $(VENV)/installed
	$(BIN)/cadvi ablations --config demo --world.questions 400 --seed $(SEED) $(ARGS)

## make test           the tests: no network, no GPU, no server
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not browser"

## make slow_test      a server on the CPU, several processes, kills, every command of the documentation
slow_test: $(VENV)/installed vllm
	$(BIN)/python -m pytest -m slow tests/slow tests/faults

## make faults         the fault suite; writes docs/promises.md
# Every test that counts faults: nothing lost, duplicated or hanging, no traceback. Writes docs/promises.md.
faults: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not browser" --faults_table docs/promises.md

## make browser_test   cadvi view in Chromium
# `cadvi view` in Debian's Chromium. gradio needs a pillow below the locked one.
browser_test: $(VENV)/installed
	$(BIN)/python -m pip install -q -e ".[view]" selenium
	test -x /usr/bin/chromedriver || apt-get install -y chromium chromium-driver
	$(BIN)/python -m pytest -m browser tests/slow

## make docs           the documentation in out/site
# The site of docs/ in out/site. A broken link or any other warning is an error.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

## make bench          every script in benchmarks/
bench: $(VENV)/installed
	for script in $(filter-out benchmarks/preference.py benchmarks/verification.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

## make style          fixes what ruff can fix
style: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make quality        style, types and layers
# Style, types, layers, and the proof that types and layers are checked across rooms.
quality: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/test_quality.py

$(VENV)/installed: pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(call install_torch,$(BIN))
	$(BIN)/python -m pip install -q -c $(LOCK) -e ".[train,eval,docs,dev]"
	touch $@

## make lock           the newest versions that pyproject.toml allows
# The newest versions that the ranges in pyproject.toml allow. Run the tests before you commit the result.
# torch is left out: which of its builds is installed depends on the machine.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	$(call install_torch,.venv-lock/bin)
	.venv-lock/bin/python -m pip install -q -e ".[train,eval,docs,dev]"
	echo "# Versions of the development environment, made by \`make lock\`." > $(LOCK)
	.venv-lock/bin/python -m pip freeze --exclude-editable --exclude torch >> $(LOCK)
	rm -rf .venv-lock

vllm: .venv-vllm/installed

# The server's own environment: it pins another transformers. Two packages that it installs do not work beside a CPU
# torch; torchvision, which LLaVA needs, gets the names of two operators that it lacks.
.venv-vllm/installed: requirements-vllm.txt $(wildcard tests/slow/vllm_site/*)
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install -q -r requirements-vllm.txt
	.venv-vllm/bin/python -m pip uninstall -q -y torchaudio torchcodec
	cp tests/slow/vllm_site/* "$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	touch $@

## make clean          removes the environments
clean:
	rm -rf $(VENV) .venv-vllm .venv-lock
