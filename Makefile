PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: run test lint clean browser

run: $(STAMP)
	$(BIN)/fairshare up --demo

test: $(STAMP) browser lint
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -q

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf var

browser:
	@sh tests/install_browser.sh

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)
