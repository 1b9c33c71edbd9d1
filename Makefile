# make book   all notebooks over all relations on the bundled model and facts, then the book: book/_build/html/index.html
#             FACTS=all takes all facts instead of 10 per relation; REPOSITORY=https://github.com/... adds launch buttons
# make test   lint and all tests
# make run    all notebooks for one relation: results/ and runs/P101/
# make clean  remove what these made
# KN_DATA_DIR may point at a local copy of the paper's data (see README.md).

PYTHON ?= python3.11
FACTS ?= 10
RELATION ?= P101
PARAMETERS ?=
BIN := .venv/bin

.PHONY: book test run clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[book,test,cluster]'
	touch $@

book: .venv/installed
	$(BIN)/snakemake --quiet rules --config n_facts=$(FACTS)

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

run: .venv/installed
	mkdir -p runs/$(RELATION)
	for notebook in notebooks/0[1-7]*.ipynb; do \
	  $(BIN)/papermill --kernel python3 $$notebook runs/$(RELATION)/$$(basename $$notebook) -p relation $(RELATION) $(PARAMETERS) || exit 1; \
	done

clean:
	rm -rf .venv .snakemake runs results figures book/_build book/_toc.yml book/notebooks book/relations book/results book/figures *.egg-info
