"""Prepares a share of step 1: `python book/run_shard.py notebooks/01_attribution.ipynb '{"relation": "P101"}' 2-of-4`.

It attributes the second of four equal shares of each relation's facts, with the notebook's own parameters where none are given. Once all
four are done, on whatever machines share the results folder, the notebook finds them and joins them to the same tables.
"""

import ast
import json
import re
import sys
from pathlib import Path

from run_notebook import declared_parameters

from kn_utils.model.attribution import Method
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.store.results import Shard
from kn_utils.store.runs import Run
from kn_utils.chapters.attribution.table import attribute_relation


def run_shard(template: Path, parameters: dict, shard: Shard) -> None:
    """Attribute one share of the facts. Raises ValueError for a parameter that the notebook does not declare or a value not allowed."""
    declared = declared_parameters(template, parameters)
    given = {name: ast.literal_eval(one["default"]) for name, one in declared.items()} | parameters
    method, data = Method.among(given), load_dataset(given["dataset"])
    relations = data.select(given["relation"])
    lm = load_model(given["model"], given["device"])
    run = Run(lm.name, data, given["n_facts"], given["seed"], given["results_dir"])
    for relation in relations:
        attribute_relation(lm, run, relation, method, shard)


def shard_named(text: str) -> Shard:
    """Read "2-of-4". Raises ValueError if it is no such share."""
    numbers = re.fullmatch(r"(\d+)-of-(\d+)", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise ValueError(f"the share is {text!r}; it must be 1-of-N, 2-of-N, ... or N-of-N")
    return Shard(*map(int, numbers.groups()))


if __name__ == "__main__":
    run_shard(Path(sys.argv[1]), json.loads(sys.argv[2]), shard_named(sys.argv[3]))
