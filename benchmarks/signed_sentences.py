"""Whether web sentences activate a fact's knowledge neurons more once the neurons' signs are counted (section 4.4).

In the gated layers of many decoders a neuron's activation is a product of either sign, and a neuron can speak for the answer by a negative
one. So each activation is taken twice: as it is, and times the sign of the neuron's mean activation over its fact's own prompts. Facts are
those of `decoder_prompts.py`, sentences those of notebook 04.

`python benchmarks/signed_sentences.py --output data/published/signed_sentences.json`
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from attribution import machine
from decoder_prompts import MODELS, QUICK, mean_activations, sampled
from torch import Tensor
from tqdm import tqdm

from kn_utils.claims.side_by_side import with_enough_prompts
from kn_utils.facts import Dataset, Fact, load_dataset
from kn_utils.forward import activations, prompts_at_once
from kn_utils.models import LanguageModel, load_model
from kn_utils.prompts import askable, group_by_length
from kn_utils.published import PublishedResults
from kn_utils.sentences import Corpus, Slot, SlotPrompt, encode_slots, find_slots, read_corpus

DECIMALS = 5  # of what is written


def sentence_activations(lm: LanguageModel, prompts: Sequence[SlotPrompt], neurons: Tensor) -> list[Tensor]:
    """Return the activations [neurons] of a fact's neurons, given as [2, neurons], layers and indexes, in each of its sentences."""
    found: list[Tensor] = [torch.empty(0)] * len(prompts)
    for group in group_by_length(prompts, prompts_at_once):
        ids = torch.tensor([prompts[index].ids for index in group], device=lm.device)
        position = torch.tensor([prompts[index].position for index in group], device=lm.device)
        for index, values in zip(group, activations(lm, ids, position).cpu(), strict=True):
            found[index] = values[tuple(neurons)]
    return found


def by_kind(lm: LanguageModel, corpus: Corpus, fact: Fact, neurons: Tensor, signs: Tensor, seed: int) -> pd.DataFrame:
    """Return a row per kind of a fact's sentences: how many there are and the mean activation, as it is and `aligned` with `signs`.

    `neurons` are [2, neurons], layers and indexes; `signs` [neurons].
    """
    slots = [slot for slot in find_slots(corpus, fact, seed, lm.masked) if isinstance(slot, Slot)]
    prompts = [prompt for prompt in encode_slots(lm, slots) if isinstance(prompt, SlotPrompt)]
    found = sentence_activations(lm, prompts, neurons)
    table = pd.DataFrame(
        {
            "kind": [prompt.slot.kind for prompt in prompts],
            "activation": [values.mean().item() for values in found],
            "aligned": [(values * signs).mean().item() for values in found],
        }
    )
    means = table.groupby("kind", sort=False)
    return means[["activation", "aligned"]].mean().round(DECIMALS).assign(sentences=means.size()).reset_index()


def measured(
    lm: LanguageModel, dataset: Dataset, corpus: Corpus, results: PublishedResults, facts: int, seed: int
) -> pd.DataFrame:
    """Return the rows of `by_kind` for a sample of the published facts, those of it that have neurons of integrated gradients."""
    tables = []
    for relation in tqdm(with_enough_prompts(results.read, results.relations), desc=lm.name, unit="relation"):
        drawn = results.read("facts", [relation])
        neurons = results.read("knowledge_neurons", [relation]).query("method == 'attribution'")
        for fact in sampled(dataset, drawn[drawn["prompts"] > 0], relation, facts, seed):
            own = torch.tensor(neurons.loc[neurons["fact"] == fact.index, ["layer", "neuron"]].to_numpy().T, dtype=torch.long)
            if own.numel():
                signs = mean_activations(lm, askable(lm, dataset, fact))[fact.index][tuple(own)].sign()
                table = by_kind(lm, corpus, fact, own, signs, seed)
                tables.append(table.assign(model=lm.name, relation=relation, fact=fact.index))
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Measure, print a summary and write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dataset", default="pararel")
    parser.add_argument("--facts", type=int, default=12, help="of each relation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    parser.add_argument(
        "--quick", action="store_true", help="one fact of each relation of the bundled model, to see that it runs"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        vars(chosen).update(QUICK)
    made = machine() | {"dataset": chosen.dataset, "seed": chosen.seed, "facts": chosen.facts}
    dataset, tables = load_dataset(chosen.dataset), []
    corpus = read_corpus(dataset)
    for name in chosen.models:
        lm = load_model(name)
        tables.append(measured(lm, dataset, corpus, PublishedResults(lm.name, dataset.name), chosen.facts, chosen.seed))
    rows = pd.concat(tables, ignore_index=True)
    print(rows.groupby(["model", "kind"], sort=False)[["activation", "aligned"]].mean().to_string())
    if chosen.output:
        chosen.output.write_text(json.dumps({"machine": made, "rows": rows.to_dict("records")}) + "\n")


if __name__ == "__main__":
    main()
