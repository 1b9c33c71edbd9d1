"""The tables of the steps for few facts; as a command, of the bundled model and with parameters as JSON."""

import json
import sys

import torch

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.does_it_help_editing.table import compare_edits
from kn_utils.chapters.edit_facts.table import edit_facts
from kn_utils.chapters.erase_relation.table import erase_relation
from kn_utils.chapters.fact_or_word.table import swap_neurons
from kn_utils.chapters.how_few.table import shrink_sets
from kn_utils.chapters.how_much_passes.table import exchange_states
from kn_utils.chapters.is_it_knowledge.table import compare_knowledge
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.chapters.trigger_examples.table import rank_sentences
from kn_utils.chapters.which_score.table import compare_scores
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import load_model
from kn_utils.model.sentences import read_corpus
from kn_utils.steps import STEPS
from kn_utils.store.runs import Run

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that few facts have neurons that prompts share


def make_tables(
    model, data, relation, n_facts, results_dir, steps=tuple(step.name for step in STEPS), workers=1, max_memory_gb=2.0
) -> Run:
    """Make the tables of the steps of these names, in the book's order, and return their run."""
    lm = load_model(model, "cpu")
    run = Run(lm.name, load_dataset(data), n_facts, 42, results_dir, workers)
    make = {
        "attribution": lambda: attribute_relation(lm, run, relation, Quadrature(max_memory_gb=max_memory_gb)),
        "knowledge_neurons": lambda: find_neurons(run, relation, LOW),
        "modify_activation": lambda: modify_activations(lm, run, relation),
        "distant_prompts": lambda: read_sentences(lm, run, relation, read_corpus(run.dataset)),
        "trigger_examples": lambda: rank_sentences(run, relation),
        "edit_facts": lambda: edit_facts(lm, run, relation, common_share=0.9),
        "erase_relation": lambda: erase_relation(lm, run, relation, other_facts=1),
        "is_it_knowledge": lambda: compare_knowledge(lm, run, relation, n_chosen=1),
        "fact_or_word": lambda: swap_neurons(lm, run, relation, n_chosen=1),
        "which_score": lambda: compare_scores(lm, run, relation, n_prompts=1, min_probability=0, max_probability=1),
        "how_much_passes": lambda: exchange_states(lm, run, relation, n_pairs=2),
        "does_it_help_editing": lambda: compare_edits(lm, run, relation, n_edits=1, common_share=0.9),
        "how_few": lambda: shrink_sets(lm, run, relation, n_chosen=1),
    }
    for step in steps:
        make[step]()
    return run


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["workers"])  # which changes nothing either
    make_tables("starter", relation="P36", n_facts=3, **given)
