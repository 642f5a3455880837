# Needs GNU make 4, Python 3.11 to 3.13 with its venv module, and a package registry. Everything
# else goes into .venv, at the versions of constraints.txt. Nothing outside this folder is touched.

.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
BUILD := build
# Overrides: make test PYTHON=python3.12 PYTEST_FLAGS="-k export"; make bench BENCH_FLAGS=--quick
PYTHON ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
# TensorFlow is heavy: more than two at a time do not fit a small machine.
WORKERS ?= 2

# -qq: errors only.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq
CONSTRAINED := -c constraints.txt --build-constraint constraints.txt

# The Debian that make pi emulates: bookworm or trixie.
PI ?= bookworm

.PHONY: help venv bench test check docs wheel footprint pi pi-instructions clean distclean

help: ## this list
	@echo "make bench      export the shipped model anew and measure it beside its float original"
	echo "make test       all tests"
	echo "make check      ruff, and mypy on the built wheel"
	echo "make docs       write the generated pages of docs/ anew"
	echo "make footprint  disk, memory and seconds of an install without extras"
	echo "make pi         the bundle in an emulated Raspberry Pi (PI=trixie: the newer system), its"
	echo "                answers beside this machine's; make pi-instructions also counts the"
	echo "                instructions of each export, into benchmarks/results"
	echo "make clean      remove what make built; make distclean: .venv as well"
	echo
	echo "Each sets up .venv first: some minutes once, then nothing until pyproject.toml,"
	echo "constraints.txt or the Python changes. PYTHON=python3.12 chooses another Python."

# The stamp holds the Python, this folder and a checksum of the two files: a checkout that only
# moves time stamps installs nothing, and an interrupted install is begun again.
venv:
	@python=
	crippled=
	for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do
	    "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	        2>/dev/null || continue
	    if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
	        python=$$candidate
	        break
	    fi
	    crippled=$$candidate
	done
	if [ -z "$$python" ]; then
	    if [ -n "$$crippled" ]; then
	        echo "$$crippled has no venv module: sudo apt install python3-venv" >&2
	    else
	        echo "$(or $(PYTHON),python3) is not Python 3.11, 3.12 or 3.13:" \
	            "sudo apt install python3 python3-venv, or make PYTHON=/path/to/python3.12" >&2
	    fi
	    exit 1
	fi
	made_by="$$("$$python" -c 'import sys; print(*sys.version.split()[:1], sys.base_prefix)') $(CURDIR)"
	wanted="$$made_by $$(cat pyproject.toml constraints.txt | cksum)"
	if [ "$$(cat $(VENV)/.ready 2>/dev/null)" = "$$wanted" ] && $(BIN)/python -c '' 2>/dev/null; then
	    exit 0
	fi
	echo "Installing into $(VENV) with Python $${made_by%% *} (some minutes, once) ..."
	case "$$(cat $(VENV)/.made-by 2>/dev/null)" in
	    "$$made_by") rm -f $(VENV)/.ready ;;
	    *)  "$$python" -m venv --clear $(VENV)
	        echo "$$made_by" > $(VENV)/.made-by ;;
	esac
	$(PIP_INSTALL) -c constraints.txt pip
	$(PIP_INSTALL) $(CONSTRAINED) -e '.[all]' --group dev
	echo "$$wanted" > $(VENV)/.ready

bench: venv
	@$(BIN)/edge-emotion export edge-cnn --out $(BUILD)/edge-cnn --overwrite
	$(BIN)/edge-emotion bench $(BUILD)/edge-cnn \
	    --json $(BUILD)/bench.json --html $(BUILD)/bench.html $(BENCH_FLAGS)
	echo "Report: $(CURDIR)/$(BUILD)/bench.html (figures: $(BUILD)/bench.json)"

test: venv
	@$(BIN)/pytest -n $(WORKERS) $(PYTEST_FLAGS)

# setuptools copies into build/lib and never removes from it: without rm, deleted modules ship.
wheel: venv
	@rm -rf $(BUILD)/lib $(BUILD)/bdist.* $(BUILD)/wheel
	mkdir -p $(BUILD)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(BUILD)/wheel >$(BUILD)/wheel.log 2>&1 || {
	    cat $(BUILD)/wheel.log >&2
	    exit 1
	}
	rm -rf $(BUILD)/lib $(BUILD)/bdist.*

# mypy reads the wheel, which is what users get: type checkers cannot see in the source tree that
# exporters/ is edge_emotion.exporters.
check: wheel
	@$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	rm -rf $(BUILD)/site
	$(PIP_INSTALL) --no-deps --target $(BUILD)/site $(BUILD)/wheel/*.whl
	cd $(BUILD)/site
	mypy() {
	    "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" \
	        --cache-dir "$(CURDIR)/.mypy_cache" "$$@"
	}
	mypy -p edge_emotion
	mypy "$(CURDIR)/docs/generate.py" "$(CURDIR)/.ci/footprint.py"

docs: venv
	@$(BIN)/python docs/generate.py

# A second environment: the wheel and what it depends on, as a user gets it without extras. pip
# stays outside, so that what is measured is what edge-emotion brings.
footprint: wheel
	@$(BIN)/python -m venv --clear --without-pip $(BUILD)/base
	$(BIN)/python -m pip --disable-pip-version-check --python $(BUILD)/base/bin/python \
	    install -qq -c constraints.txt $(BUILD)/wheel/*.whl
	$(BUILD)/base/bin/python -I .ci/footprint.py --check

# QEMU and Debian for ARM are unpacked into build/pi; nothing is installed on this machine.
pi: venv
	@$(BIN)/python -m tests.pi.prove --suite $(PI) --workers $(WORKERS)

pi-instructions: venv
	@$(BIN)/python -m tests.pi.prove --suite $(PI) --workers $(WORKERS) \
	    --write benchmarks/results/pi-instructions.json

clean:
	@rm -rf $(BUILD) dist edge_emotion.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
