"""Step 4: the activation of knowledge neurons in web sentences with head and tail, with the head only, and in random ones."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from kn_utils.data.facts import Fact, LeftOut
from kn_utils.model.forward import activations_of
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS
from kn_utils.model.sentences import Corpus, Slot, SlotPrompt, digest, encode_slots, find_slots
from kn_utils.store.runs import Run

FACTS_PER_PART = 64  # many, so that sentences of equal length share a pass
_COLUMNS = {
    "distant_prompts": {"relation": str, "fact": "int32", "method": str, "kind": str, "sentence": "int32"}
    | {"start": "int32", "end": "int32", "neurons": "int32", "activation": "float64"},
    "sentences_left_out": {"relation": str, "fact": "int32", "kind": str, "reason": str, "count": "int32"},
}


def read_sentences(lm: LanguageModel, run: Run, relation: str, corpus: Corpus) -> Path:
    """Make the tables `distant_prompts` and `sentences_left_out` of a relation, and return the path of the first (section 4.4).

    `distant_prompts` has, for each sentence of `kn_utils.model.sentences.find_slots` and each method, the mean activation of the fact's
    neurons at the masked word; the characters from `start` to before `end` are masked. `sentences_left_out` counts sentences that cannot
    be used. Raises as `Run.made_with` for step 2.
    """
    inputs = {"sentences": digest(corpus.relations[relation]), "all_sentences": corpus.digest}
    neurons = _neurons(run, relation)

    def work(part: Sequence[Fact]) -> dict[str, pd.DataFrame]:
        return _tables(lm, corpus, part, neurons, run.seed)

    return run.make("distant_prompts", relation, run.facts(relation, lm), work, inputs, lm, FACTS_PER_PART)


def _neurons(run: Run, relation: str) -> dict[int, dict[str, torch.Tensor]]:
    """Return the neurons of each fact and method as [2, neurons]: layers and indexes."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    for (fact, method), rows in run.read("knowledge_neurons", [relation]).groupby(["fact", "method"]):
        found.setdefault(fact, {})[method] = torch.tensor(rows[["layer", "neuron"]].to_numpy().T, dtype=torch.long)
    return found


def _tables(
    lm: LanguageModel, corpus: Corpus, facts: Sequence[Fact], neurons: dict[int, dict[str, torch.Tensor]], seed: int
) -> dict[str, pd.DataFrame]:
    found = [item for fact in facts if fact.index in neurons for item in find_slots(corpus, fact, seed, lm.masked)]
    slots = [item for item in found if not isinstance(item, LeftOut)]
    tokenised = iter(encode_slots(lm, slots))
    encoded = [item if isinstance(item, LeftOut) else next(tokenised) for item in found]
    prompts = [item for item in encoded if isinstance(item, SlotPrompt)]
    left_out = Counter(
        (item.fact.relation, item.fact.index, item.kind, item.reason) for item in encoded if isinstance(item, LeftOut)
    )
    rows = {
        "distant_prompts": _rows(lm, prompts, neurons),
        "sentences_left_out": [(*place, count) for place, count in left_out.items()],
    }
    return {name: pd.DataFrame(rows[name], columns=list(columns)).astype(columns) for name, columns in _COLUMNS.items()}


def _rows(lm: LanguageModel, prompts: Sequence[SlotPrompt], neurons: dict[int, dict[str, torch.Tensor]]) -> list[tuple]:
    rows: list[list[tuple]] = [[] for _ in prompts]
    for index, values in activations_of(lm, prompts):
        slot = prompts[index].slot
        by_method = neurons[slot.fact.index]
        rows[index] = [_row(slot, method, values[tuple(by_method[method])]) for method in METHODS if method in by_method]
    return [row for of_prompt in rows for row in of_prompt]


def _row(slot: Slot, method: str, values: torch.Tensor) -> tuple:
    """Return the row of a slot; `values` [neurons] are the activations of the fact's neurons by one method."""
    place = (slot.fact.relation, slot.fact.index, method, slot.kind, slot.index, slot.start, slot.end)
    return (*place, len(values), values.double().mean().item())
