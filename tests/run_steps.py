"""Steps in a process of their own, 12, 1236 or all: run_steps.py STEPS MODEL DATASET RELATION N_FACTS RESULTS_DIR THREADS MAX_MEMORY_GB."""

import sys

import torch

from kn_utils.attribution import Method
from kn_utils.facts import load_dataset
from kn_utils.models import load_model
from kn_utils.neurons import Thresholds
from kn_utils.runs import Run
from kn_utils.sentences import read_corpus
from kn_utils.steps.attribution import attribute_relation
from kn_utils.steps.distant_prompts import read_sentences
from kn_utils.steps.edit_facts import edit_facts
from kn_utils.steps.erase_relation import erase_relation
from kn_utils.steps.knowledge_neurons import find_neurons
from kn_utils.steps.modify_activation import modify_activations
from kn_utils.steps.trigger_examples import rank_sentences

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that a tiny model has neurons that prompts share

steps, model, data, relation, n_facts, results_dir, threads, max_memory_gb = sys.argv[1:]
torch.set_num_threads(int(threads))
lm = load_model(model, "cpu")
run = Run(lm.name, load_dataset(data), int(n_facts), 42, results_dir)
attribute_relation(lm, run, relation, Method(max_memory_gb=float(max_memory_gb)))
find_neurons(run, relation, LOW)
if "3" in steps:
    modify_activations(lm, run, relation)
    edit_facts(lm, run, relation, common_share=0.9)
if "4" in steps:
    read_sentences(lm, run, relation, read_corpus(run.dataset))
    rank_sentences(run, relation)
    erase_relation(lm, run, relation, other_facts=1)
