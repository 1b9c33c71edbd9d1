"""The steps that a notebook needs, run where their tables are neither among the results nor published."""

from collections.abc import Callable, Sequence

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.sentences import read_corpus
from kn_utils.steps import STEP_OF, Step
from kn_utils.store.runs import Run

Load = Callable[[], LanguageModel]
MAKERS = {  # of the steps that others need, with the parameters that their notebooks have by default
    "attribution": lambda load, run, relation: attribute_relation(load(), run, relation),
    "knowledge_neurons": lambda load, run, relation: find_neurons(run, relation),
    "distant_prompts": lambda load, run, relation: read_sentences(load(), run, relation, read_corpus(run.dataset)),
}


def make_earlier_steps(load: Load, run: Run, relations: Sequence[str], step: str) -> None:
    """Make the tables that a step needs of each relation and that are missing, with default parameters, and print which.

    `load` returns the model; it is called only if a missing table needs it. Raises as these steps do, and ValueError as `Run.made_with` for
    a table that is there and does not fit.
    """
    for relation in relations:
        _make_missing(load, run, relation, STEP_OF[step])


def _make_missing(load: Load, run: Run, relation: str, step: Step) -> None:
    for table in sorted(step.needs, key=list(STEP_OF).index):  # a table made now makes published tables of later steps unfit
        if not run.has(table, [relation]):
            earlier = STEP_OF[table]
            _make_missing(load, run, relation, earlier)
            print(f"{earlier.notebook} of {relation} has not been run: it is run now, with default parameters")
            MAKERS[earlier.name](load, run, relation)
