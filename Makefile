# Both demo and test set themselves up in .venv; all they need is Python 3.11 or later,
# make and a package index.

VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT := demo-output

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The constraints hold for the build backend too; newer pips read the second name.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format clean FORCE

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/'

demo: $(VENV)/demo.stamp ## Compress a trained model and write a report to demo-output
	$(BIN)/hydropress demo --out $(DEMO_OUTPUT)

test: lint ## Check style, types and floors, then run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not slow"

lint: $(VENV)/test.stamp ## Check style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/test.stamp ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove everything that make and the tools have made
	rm -rf $(VENV) $(DEMO_OUTPUT) build dist .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is sound if no set-up of it was interrupted, it has not been moved (its scripts
# hold the path) and its Python is still there. If it is not, it is made anew.
SOUND := $(shell [ ! -e $(VENV)/unfinished ] && [ "$$(cat $(VENV)/path 2>/dev/null)" = "$$(pwd -P)" ] \
	&& $(BIN)/python -c '' 2>/dev/null && echo yes)

PYTHONS := $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

define create
	found=; for python in $(PYTHONS); do \
		if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "no Python with venv; required: 3.11 or later; install it or give PYTHON=path" >&2; \
		exit 1; \
	fi; \
	rm -f $(VENV)/path && rm -rf $(VENV) && mkdir $(VENV) && touch $(VENV)/unfinished && \
	"$$found" -m venv $(VENV) && pwd -P > $(VENV)/path
endef

define install
	@touch $(VENV)/unfinished
	$(BIN)/python -m pip install --quiet --editable '$(1)'
	@rm $(VENV)/unfinished
	@touch $@
endef

$(VENV)/demo.stamp: pyproject.toml constraints.txt $(if $(SOUND),,FORCE)
	@$(if $(SOUND),,$(create))
	@echo "Setting up $(VENV), which can take some minutes"
	$(call install,.[training])

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(call install,.[test])
