"""Steps 1 to 3 for all facts of a data set, one relation after another, and what the report keeps of them.

    KN_DATA_DIR=... python benchmarks/all_facts.py [--relations P463,P108] [--workers 2]

Relations with few prompts come first. Those that are kept already, made by today's code, are not run again, and a killed run goes on. All
of ParaRel takes about 15 hours of one core with `starter`; what is kept, in `data/published/all_facts`, is about 4 MB.
"""

import argparse
from pathlib import Path

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.report.all_facts import CHANGES, FOLDER, MADE_FROM, AllFacts, keep
from kn_utils.store.provenance import sources_digest
from kn_utils.store.runs import Run


def by_size(dataset: Dataset, relations: list[str]) -> list[str]:
    """Return relations, those with the fewest prompts first."""
    return sorted(relations, key=lambda name: len(dataset.facts[name]) * len(dataset.templates[name]))


def is_kept(every: AllFacts, lm: LanguageModel, dataset: Dataset, relation: str) -> bool:
    """Return whether a relation is kept, and was made by today's code from these weights and facts."""
    wanted = {
        "sources": sources_digest(f"kn_utils.chapters.{MADE_FROM[CHANGES]}.table"),
        "weights": lm.identity()["weights"],
        "facts_and_templates": dataset.digest(relation),
    }
    try:
        return wanted.items() <= every.kept.made_with(CHANGES, relation).items()
    except (FileNotFoundError, KeyError):
        return False


def run_relation(lm: LanguageModel, run: Run, relation: str, folder: Path) -> None:
    """Make the tables of steps 1 to 3 of a relation, and keep what the report needs."""
    attribute_relation(lm, run, relation, Quadrature("gauss-legendre"))
    find_neurons(run, relation)
    modify_activations(lm, run, relation)
    keep(run, relation, folder)


def main() -> None:
    """Run the relations that are not kept yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--dataset", default="pararel")
    parser.add_argument("--relations", default="all", help='with commas between them, or "all"')
    parser.add_argument("--results-dir", default="results")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    lm, dataset = load_model(given.model), load_dataset(given.dataset)
    run = Run(lm.name, dataset, results_dir=given.results_dir, workers=given.workers)
    every = AllFacts(lm.name, dataset.name, given.output)
    for relation in by_size(dataset, dataset.select(given.relations)):
        if not is_kept(every, lm, dataset, relation):
            run_relation(lm, run, relation, given.output)
            print(f"{relation}: {len(dataset.facts[relation])} facts are kept in {given.output}", flush=True)


if __name__ == "__main__":
    main()
