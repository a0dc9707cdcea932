# Everything sets itself up: Python 3.11, make and a package registry are all it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
SEED ?= 0
TORCH := torch==2.13.0
# Where there is no GPU the CPU build does; indexes that have one label it +cpu, others get the plain build.
GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)

.PHONY: demo test browser_test slow_test bench style quality vllm clean

demo: $(VENV)/installed
	$(BIN)/cadvi demo --config demo --out $(OUT) --seed $(SEED) $(ARGS)

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not browser"

slow_test: $(VENV)/installed vllm
	$(BIN)/python -m pytest -m slow tests/slow

# `cadvi view` in Debian's Chromium.
browser_test: $(VENV)/installed
	$(BIN)/python -m pip install -q -e ".[view]" selenium
	test -x /usr/bin/chromedriver || apt-get install -y chromium chromium-driver
	$(BIN)/python -m pytest -m browser tests/slow

bench: $(VENV)/installed
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

style: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(GPU),,$(BIN)/python -m pip install -q "$(TORCH)+cpu" 2>/dev/null ||) $(BIN)/python -m pip install -q "$(TORCH)"
	$(BIN)/python -m pip install -q -e ".[train,eval,dev]"
	touch $@

vllm: .venv-vllm/installed

# The server's own environment: it pins another transformers. Two packages that it brings break beside a CPU torch;
# torchvision, which LLaVA needs, is told the names of two operators that it lacks.
.venv-vllm/installed: requirements-vllm.txt $(wildcard tests/slow/vllm_site/*)
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install -q -r requirements-vllm.txt
	.venv-vllm/bin/python -m pip uninstall -q -y torchaudio torchcodec
	cp tests/slow/vllm_site/* "$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	touch $@

clean:
	rm -rf $(VENV) .venv-vllm
