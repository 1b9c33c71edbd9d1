"""Whether web sentences activate a fact's knowledge neurons more once the neurons' signs are counted (section 4.4).

In the gated layers of many decoders a neuron's activation is a product of either sign, and a neuron can speak for the answer by a negative
activation. So each activation is taken twice: as it is, and times the sign of the neuron's mean activation over its fact's prompts. Facts
are those of `decoder_prompts.py`, sentences those of notebook 04.

`python benchmarks/signed_sentences.py --output data/published/signed_sentences.json`
"""

import pandas as pd
import torch
from decoder_prompts import mean_activations, run, sampled
from torch import Tensor
from tqdm import tqdm

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.forward import activations_of
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import usable_prompts
from kn_utils.model.sentences import Corpus, Slot, SlotPrompt, encode_slots, find_slots, read_corpus
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.store.published import PublishedResults

DECIMALS = 5  # of what is written


def by_kind(lm: LanguageModel, corpus: Corpus, fact: Fact, neurons: Tensor, signs: Tensor, seed: int) -> pd.DataFrame:
    """Return a row per kind of a fact's sentences: how many there are and the mean activation, as it is and `aligned` with `signs`.

    `neurons` are [2, neurons], layers and indexes; `signs` [neurons].
    """
    slots = [slot for slot in find_slots(corpus, fact, seed, lm.masked) if isinstance(slot, Slot)]
    prompts = [prompt for prompt in encode_slots(lm, slots) if isinstance(prompt, SlotPrompt)]
    read = dict(activations_of(lm, prompts))
    found = [read[index][tuple(neurons)] for index in range(len(prompts))]
    table = pd.DataFrame(
        {
            "kind": [prompt.slot.kind for prompt in prompts],
            "activation": [values.mean().item() for values in found],
            "aligned": [(values * signs).mean().item() for values in found],
        }
    )
    means = table.groupby("kind", sort=False)
    return means[["activation", "aligned"]].mean().round(DECIMALS).assign(sentences=means.size()).reset_index()


def measured(lm: LanguageModel, dataset: Dataset, results: PublishedResults, facts: int, seed: int) -> list[dict]:
    """Return the rows of `by_kind` for a sample of the published facts, those of it that have neurons of integrated gradients."""
    corpus, rows = read_corpus(dataset), []
    for relation in tqdm(with_enough_prompts(results.read, results.relations), desc=lm.name, unit="relation"):
        drawn = results.read("facts", [relation])
        neurons = results.read("knowledge_neurons", [relation]).query("method == 'attribution'")
        for fact in sampled(dataset, drawn[drawn["prompts"] > 0], relation, facts, seed):
            places = torch.tensor(neurons.loc[neurons["fact"] == fact.index, ["layer", "neuron"]].to_numpy().T, dtype=torch.long)
            if places.numel():
                signs = mean_activations(lm, usable_prompts(lm, dataset, fact))[fact.index][tuple(places)].sign()
                table = by_kind(lm, corpus, fact, places, signs, seed)
                rows += table.assign(model=lm.name, relation=relation, fact=fact.index).to_dict("records")
    return rows


if __name__ == "__main__":
    run(__doc__, measured, lambda rows: rows.groupby(["model", "kind"], sort=False)[["activation", "aligned"]].mean())
