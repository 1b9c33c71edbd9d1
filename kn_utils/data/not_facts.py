"""What is no fact, in `data/not_facts`: items of grammar, in the layout of a data set, and names of nobody and nothing."""

import json

from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.paths import DATA

FOLDER = DATA / "not_facts"


def grammar_items() -> Dataset:
    """Return the data set whose objects follow from grammar: the number of a verb or noun, given the words before it."""
    return load_dataset(FOLDER)


def invented_subjects() -> list[str]:
    """Return names made up for this project; none is in a fact of the bundled data or of ParaRel."""
    return json.loads((FOLDER / "invented_subjects.json").read_text(encoding="utf-8"))
