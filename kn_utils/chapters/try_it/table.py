"""One fact of the reader's own: the model's answers, the neurons behind one answer, and what follows if they are changed."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import pandas as pd
import torch
from torch import Tensor

from kn_utils.data.facts import Dataset
from kn_utils.model.attribution import Quadrature, integrated_gradients
from kn_utils.model.contexts import amplify, edit, suppress
from kn_utils.model.controls import matched_neurons
from kn_utils.model.forward import predict
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import MAX_NEURONS, MIN_PROMPTS, PROMPT_SHARE, SCORE_SHARE, neuron_list, neuron_name
from kn_utils.model.own_sentences import answer_prompts, best_answers, sentence_list, sentence_prompts, token_texts
from kn_utils.model.prompts import Prompt, group_by_length, stack, usable_prompts
from kn_utils.parameters import KEPT_SHARE

STRONGEST = 10  # neurons of a single sentence, at most
OTHER_FACTS = 3  # of each relation, to see what an edit harms
QUADRATURE = Quadrature("gauss-legendre")


def answers(lm: LanguageModel, sentences: str | Sequence[str], n: int = 10) -> pd.DataFrame:
    """Return the model's n most probable answers to each sentence: columns sentence, rank, answer, probability.

    Raises ValueError, with what to do, for a sentence that cannot be asked.

    >>> from kn_utils import answers, load
    >>> answers(load("starter"), "The capital of Norway is [MASK].", n=2)[["rank", "answer"]].values.tolist()
    [[1, 'oslo'], [2, 'bergen']]
    """
    rows = [
        (sentence, rank, *answer)
        for sentence, prompt in zip(sentence_list(sentences), sentence_prompts(lm, sentences), strict=True)
        for rank, answer in enumerate(best_answers(lm, prompt, n), start=1)
    ]
    return pd.DataFrame(rows, columns=["sentence", "rank", "answer", "probability"])


def find(lm: LanguageModel, sentences: str | Sequence[str], answer: str) -> pd.DataFrame:
    """Return the neurons with which the model gives `answer` to the sentences, with their scores; see `Scores.neurons`.

    Raises ValueError, with what to do, for a sentence that cannot be asked and an answer that is not one token.

    >>> from kn_utils import find, load
    >>> found = find(load("starter"), ["The Eiffel Tower is in [MASK].", "You can visit the Eiffel Tower in [MASK]."], "paris")
    >>> found[["layer", "neuron", "sentences"]].values.tolist()[0]
    [4, 377, 2]
    """
    return attribute(lm, answer_prompts(lm, sentences, answer)).neurons


def sentences_needed(strong_in: Tensor, n: int) -> int:
    """Return in how many of n sentences a neuron must be strong; `strong_in` [layers, neurons] are the counts of all neurons.

    At first it is as in chapter 2. It is raised while more than five neurons reach it, and lowered if none does.
    """
    needed = ceil(max(PROMPT_SHARE * n, min(n, MIN_PROMPTS)))
    while needed < n and (strong_in >= needed).sum() > MAX_NEURONS:
        needed += 1
    return min(needed, int(strong_in.max()))


@dataclass(frozen=True)
class Scores:
    """Integrated gradients of the answer to n sentences: `score` and `activation`, [n, layers, neurons]."""

    prompts: list[Prompt]
    score: Tensor
    activation: Tensor

    @cached_property
    def share(self) -> Tensor:
        """Each score as a share of its sentence's largest, [n, layers, neurons]."""
        return self.score.double() / self.score.double().amax((1, 2), keepdim=True)

    @cached_property
    def strong_in(self) -> Tensor:
        """The number of sentences in which each neuron is strong, [layers, neurons]."""
        return (self.share >= SCORE_SHARE).sum(0)

    @cached_property
    def needed(self) -> int:
        """The number of sentences in which a neuron must be strong, see `sentences_needed`."""
        return sentences_needed(self.strong_in, len(self.prompts))

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """The neurons that are strong in enough sentences, strongest first; of a single sentence at most ten.

        Columns layer and neuron (from 0), name, sentences (in which it is strong), and means over the sentences: share (of a sentence's
        largest score), score and activation.
        """
        layer, neuron = (self.strong_in >= self.needed).nonzero(as_tuple=True)
        columns = {
            name: getattr(self, name)[:, layer, neuron].double().mean(0).numpy() for name in ("share", "score", "activation")
        }
        table = _named(pd.DataFrame({"layer": layer.numpy(), "neuron": neuron.numpy()} | columns))
        table.insert(3, "sentences", self.strong_in[layer, neuron].numpy())
        ranked = table.sort_values("share", ascending=False, kind="stable", ignore_index=True)
        return ranked if len(self.prompts) > 1 else ranked.head(STRONGEST)

    @cached_property
    def matched(self) -> pd.DataFrame:
        """The control: for each neuron another one of its layer with the closest mean activation, which is weak in every sentence.

        Weak is a score below a tenth of the sentence's largest. Columns layer, neuron, name, activation; no rows if a layer has too few
        other neurons.
        """
        kept = (self.share >= KEPT_SHARE).any(0).nonzero().tolist()
        activation = self.activation.double().mean(0).numpy()
        found = matched_neurons(neuron_list(self.neurons), activation, map(tuple, kept)) or []
        table = pd.DataFrame(found, columns=["layer", "neuron"])
        return _named(table).assign(activation=activation[table["layer"].tolist(), table["neuron"].tolist()])


def _named(table: pd.DataFrame) -> pd.DataFrame:
    table.insert(2, "name", [neuron_name(*neuron) for neuron in neuron_list(table)])
    return table


def attribute(lm: LanguageModel, prompts: Sequence[Prompt], quadrature: Quadrature = QUADRATURE) -> Scores:
    """Return the integrated gradients of the prompts. Raises ValueError if no neuron makes an answer more probable."""
    score = torch.zeros(len(prompts), lm.n_layers, lm.n_neurons)
    activation = torch.zeros_like(score)
    for group in group_by_length(prompts, lambda length: quadrature.prompts_at_once(lm, length)):
        found = integrated_gradients(lm, stack([prompts[index] for index in group], lm.device), quadrature)
        score[group], activation[group] = found.score.float(), found.activation.float()
    for prompt, largest in zip(prompts, score.amax((1, 2)), strict=True):
        if largest <= 0:
            best = ", ".join(word for word, _ in best_answers(lm, prompt, 3))
            raise ValueError(
                f"no neuron of {lm.name} makes {prompt.fact.object!r} more probable in {prompt.text!r}: "
                f"choose an answer that the model gives, such as {best}"
            )
    return Scores(list(prompts), score, activation)


def check_instead(lm: LanguageModel, sentences: str | Sequence[str], answer: str, instead: str) -> None:
    """Raise ValueError, before anything is computed, if `answer` cannot be edited to `instead`; "" makes no edit."""
    if instead:
        answer_prompts(lm, sentences, instead, "instead")
        with edit(lm, [], sentence_list(sentences)[0], answer, instead):
            pass


def effects(lm: LanguageModel, sentences: str | Sequence[str], scores: Scores, instead: str = "") -> pd.DataFrame:
    """Return the answers to the sentences with the neurons unchanged, suppressed, amplified and edited, and the same for matched neurons.

    A row per change ("none", "suppress", "amplify", and "edit" if `instead` is given), neurons ("own" or "matched") and sentence.
    Columns best (the model's answer); probability and rank of the reader's answer; new_probability and new_rank of `instead`.
    Raises ValueError as `kn_utils.model.contexts.edit`.
    """
    prompts, texts = scores.prompts, sentence_list(sentences)
    new = answer_prompts(lm, texts, instead, "instead") if instead else prompts
    tokens = [(prompt.target, other.target) for prompt, other in zip(prompts, new, strict=True)]
    rows = []
    for change, neurons, context in _changes(lm, texts[0], scores, instead):
        with context:
            asked = predict(lm, prompts, tokens)
        columns = {"sentence": texts, "best": token_texts(lm, asked.top.tolist())}
        for place, name in enumerate(("", "new_")):
            columns |= {f"{name}probability": asked.probability[:, place], f"{name}rank": asked.rank[:, place]}
        rows.append(pd.DataFrame({"change": change, "neurons": neurons} | columns))
    return pd.concat(rows, ignore_index=True)


def _changes(lm: LanguageModel, sentence: str, scores: Scores, instead: str) -> Iterator[tuple[str, str, AbstractContextManager]]:
    """Yield the name of each change, whose neurons are changed, and the context manager; an edit uses the words of `sentence`."""
    yield "none", "own", nullcontext()
    for name, neurons in {"own": scores.neurons, "matched": scores.matched}.items():
        if len(neurons):
            yield "suppress", name, suppress(lm, neurons)
            yield "amplify", name, amplify(lm, neurons)
            if instead:
                yield "edit", name, edit(lm, neurons, sentence, scores.prompts[0].fact.object, instead)


def answers_elsewhere(
    lm: LanguageModel, dataset: Dataset, sentences: str | Sequence[str], scores: Scores, instead: str, seed: int = 42
) -> pd.DataFrame:
    """Return the answers to sentences on other facts before and after the edit: a row for each that was answered right before.

    The first sentence is asked of each of `OTHER_FACTS` facts per relation, drawn with the seed; the reader's own fact is left out.
    Columns relation, sentence, before, after (the model's answers), changed, new (whether the answer is now `instead`).
    Raises ValueError as `kn_utils.model.contexts.edit`.
    """
    text, answer = sentence_list(sentences)[0], scores.prompts[0].fact.object
    facts = [fact for relation in dataset.relations for fact in dataset.draw(relation, OTHER_FACTS, seed)]
    others = [fact for fact in facts if fact.subject.lower() not in text.lower() or fact.object.lower() != answer.lower()]
    prompts = [prompt for fact in others for prompt in usable_prompts(lm, dataset, fact)[:1]]
    if not prompts:
        return pd.DataFrame(columns=["relation", "sentence", "before", "after", "changed", "new"])
    targets = [prompt.target for prompt in prompts]
    tokens = [[target] for target in targets]
    before = predict(lm, prompts, tokens).top
    with edit(lm, scores.neurons, text, answer, instead):
        after = predict(lm, prompts, tokens).top
    [new] = answer_prompts(lm, [text], instead, "instead")
    rows = {"relation": [prompt.fact.relation for prompt in prompts], "sentence": [prompt.text for prompt in prompts]}
    rows |= {"before": token_texts(lm, before.tolist()), "after": token_texts(lm, after.tolist())}
    table = pd.DataFrame(rows | {"changed": after != before, "new": after == new.target})
    return table[before == targets].reset_index(drop=True)
