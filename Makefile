# make repro   rebuild every model and its validation pack from raw data
# make test    every check that has to pass before a change lands

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: repro test lint docs bench exact loop soak lock clean

repro: $(STAMP)
	$(BIN)/countermark build --all

test: lint
	$(BIN)/countermark compile --check
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20 --cov --cov-report=term:skip-covered

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src

docs: $(STAMP)
	$(BIN)/python docs/generate.py

exact: $(STAMP)
	$(BIN)/python .ci/exactness.py

loop: $(STAMP)
	$(BIN)/countermark simulate life

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak

bench: $(STAMP)
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock
	uv pip compile pyproject.toml --extra serve -c requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements-serve.lock

$(STAMP): requirements.lock pyproject.toml .ci/setup
	.ci/setup $(VENV)
	touch $(STAMP)

clean:
	rm -rf $(VENV) .dvc/cache .dvc/tmp data models/*/out reports
