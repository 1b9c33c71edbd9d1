# make book           all notebooks on the bundled model and some of its facts, then the book: book/_build/html/index.html
#                     FACTS=all RELATIONS=all takes all facts of all relations instead of 5 of 12 relations;
#                     REPOSITORY=https://github.com/... adds launch buttons
# make install        only what `make book` does first: the environment .venv, for notebooks of your own
# make test           lint, and all tests but those of the next two
# make test-endurance kills, downloads cut off, a SLURM cluster, oddly named folders, the same tables bit for bit, every model type; CI runs them
# make test-long      the long tests: every command of the book as it is shown, 50 kills
# make run            all notebooks for one relation: results/ and runs/P101/
# make clean          remove the built book and the caches of tools
# make distclean      the same, and .venv
# make clean-results  remove all tables and figures: results/, book/results/, figures/
# make clean-runs     remove the notebooks that `make run` executed: runs/
# KN_DATA_DIR may point at a local copy of the paper's data.

# the first that is there and new enough; constraints.txt was tested with 3.11
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$name && break; done)
FACTS ?= 5
RELATIONS ?= P19,P27,P36,P39,P101,P103,P106,P140,P176,P407,P463,P937
RELATION ?= P101
PARAMETERS ?=
BIN := .venv/bin

# where it is set, every process would compile all modules and tests anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install book test test-endurance test-long run clean distclean clean-results clean-runs

.venv/installed: pyproject.toml constraints.txt
	$(or $(PYTHON),$(error Python 3.11 or newer is needed: PYTHON=... names one)) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip  # Python 3.11's own takes twice as long
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --editable '.[workbench,book,test,cluster]'
	touch $@

install: .venv/installed

book: .venv/installed
	$(BIN)/snakemake --quiet rules progress --config n_facts=$(FACTS) relations=$(RELATIONS)
	@echo "The book is made: open book/_build/html/index.html"

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

test-endurance: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup -m "endurance and not long"

test-long: .venv/installed
	$(BIN)/python -m pytest -m long
	$(BIN)/python tests/faults.py --kills 50

run: .venv/installed
	mkdir -p runs/$(RELATION)
	for notebook in notebooks/0[1-7]*.ipynb; do \
	  $(BIN)/papermill --kernel python3 $$notebook runs/$(RELATION)/$$(basename $$notebook) -p relation $(RELATION) $(PARAMETERS) || exit 1; \
	done

clean:
	rm -rf book/_build book/_toc.yml book/api book/_extra/explorer/data book/notebooks book/relations book/figures
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv *.egg-info

clean-results:
	rm -rf results book/results figures

clean-runs:
	rm -rf runs
