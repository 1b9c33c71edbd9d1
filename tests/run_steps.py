"""Steps in a process of their own, 12 or all: run_steps.py STEPS MODEL DATASET RELATION N_FACTS RESULTS_DIR WORKERS MAX_MEMORY_GB."""

import sys

import torch

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.edit_facts.table import edit_facts
from kn_utils.chapters.erase_relation.table import erase_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.chapters.trigger_examples.table import rank_sentences
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import load_model
from kn_utils.model.sentences import read_corpus
from kn_utils.store.runs import Run

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that few facts have neurons that prompts share

steps, model, data, relation, n_facts, results_dir, workers, max_memory_gb = sys.argv[1:]
torch.set_num_threads(int(workers))  # which changes nothing either
lm = load_model(model, "cpu")
run = Run(lm.name, load_dataset(data), int(n_facts), 42, results_dir, int(workers))
attribute_relation(lm, run, relation, Quadrature(max_memory_gb=float(max_memory_gb)))
find_neurons(run, relation, LOW)
if "3" in steps:
    modify_activations(lm, run, relation)
    edit_facts(lm, run, relation, common_share=0.9)
    read_sentences(lm, run, relation, read_corpus(run.dataset))
    rank_sentences(run, relation)
    erase_relation(lm, run, relation, other_facts=1)
