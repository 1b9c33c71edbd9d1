"""Prompts: filled and tokenised templates, with the prediction position and the target token."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.models import LanguageModel

NOT_ONE_TOKEN = "the object is not one token of the model's vocabulary"
NOT_OBJECT_FINAL = "no template of the relation ends with the object, which left-to-right models need"
AMBIGUOUS_MASK = "the filled prompt holds more than one mask"
TOO_LONG = "the prompt is longer than the model can read"


@dataclass(frozen=True)
class Prompt:
    """A filled template. `index` is the 0-based number of the template, `position` the prediction position, `target` the object's token."""

    fact: Fact
    index: int
    text: str
    ids: tuple[int, ...]
    position: int
    target: int


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length as tensors: `ids` [prompts, tokens], `position` [prompts], `target` [prompts]."""

    ids: Tensor
    position: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.ids)


def ends_with_object(template: str) -> bool:
    """Return whether at most a full stop follows [Y], so that a left-to-right model can predict the object."""
    return re.search(r"\[Y\][ .]*$", template) is not None


def fill(template: str, subject: str, answer: str) -> str:
    """Return a template with [X] and [Y] replaced. A subject may contain these placeholders; they are not replaced."""
    filling = {"[X]": subject, "[Y]": answer}
    return re.sub(r"\[[XY]\]", lambda found: filling[found.group()], template)


def encode(lm: LanguageModel, dataset: Dataset, facts: Iterable[Fact]) -> list[Prompt | LeftOut]:
    """Return all prompts of the facts, in the order of facts and templates; a prompt that cannot be used is `LeftOut` with a reason.

    A masked model gets the template with the mask as object. A left-to-right model gets only templates that end with the object, cut before
    it. The target is the object's token in this context. If the object is several tokens or unknown, the prompt is left out.
    """
    filled = []
    for fact in facts:
        templates = list(enumerate(dataset.templates[fact.relation]))
        usable = [(fact, *template) for template in templates if lm.masked or ends_with_object(template[1])]
        filled += usable or [(fact, 0, None)]
    texts = [prompt_texts(lm, fact, template) for fact, _, template in filled]
    ids = [lm.tokenizer(list(column))["input_ids"] for column in zip(*texts, strict=True)]
    make = _masked_prompt if lm.masked else _cut_prompt
    return [
        LeftOut(fact, NOT_OBJECT_FINAL, index) if template is None else _checked(lm, make(lm, fact, index, text, blank, answered))
        for (fact, index, template), (text, _), blank, answered in zip(filled, texts, *ids, strict=True)
    ]


def usable_prompts(lm: LanguageModel, dataset: Dataset, fact: Fact) -> list[Prompt]:
    """Return the usable prompts of a fact."""
    return [prompt for prompt in encode(lm, dataset, [fact]) if isinstance(prompt, Prompt)]


def draw_facts(lm: LanguageModel, dataset: Dataset, relation: str, n_facts: int | None, seed: int) -> list[Fact]:
    """Return a sample of a relation's facts in which `n_facts` have a usable prompt; None means all facts.

    Facts without a usable prompt stay in the sample, so that they are counted. For each of them one more fact with prompts is drawn, if
    there is one.
    """
    drawn = dataset.draw(relation, n_facts, seed)
    if n_facts is None:
        return drawn
    missing = len(drawn) - len(_with_prompts(lm, dataset, drawn))
    spare = _with_prompts(lm, dataset, [fact for fact in dataset.facts[relation] if fact not in drawn]) if missing else []
    more = random.Random(f"{seed}-{relation}-more").sample(spare, min(missing, len(spare)))
    return drawn + sorted(more, key=lambda fact: fact.index)


def _with_prompts(lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact]) -> list[Fact]:
    return list(dict.fromkeys(item.fact for item in encode(lm, dataset, facts) if isinstance(item, Prompt)))


def prompt_texts(lm: LanguageModel, fact: Fact, template: str | None) -> tuple[str, str]:
    """Return the text of a prompt without and with the object; two empty texts if there is no template."""
    if template is None:
        return "", ""
    if lm.masked:
        return fill(template, fact.subject, lm.tokenizer.mask_token), fill(template, fact.subject, fact.object)
    cut = template[: template.index("[Y]")].rstrip()
    return fill(cut, fact.subject, ""), fill(f"{cut} [Y]", fact.subject, fact.object)


def _masked_prompt(lm: LanguageModel, fact: Fact, index: int, text: str, ids: list[int], answered: list[int]) -> Prompt | LeftOut:
    mask = lm.tokenizer.mask_token_id
    if ids.count(mask) != 1:
        return LeftOut(fact, AMBIGUOUS_MASK, index)
    at = ids.index(mask)
    one_token = len(ids) == len(answered) and ids[:at] + ids[at + 1 :] == answered[:at] + answered[at + 1 :]
    return Prompt(fact, index, text, tuple(ids), at, answered[at]) if one_token else LeftOut(fact, NOT_ONE_TOKEN, index)


def _cut_prompt(lm: LanguageModel, fact: Fact, index: int, text: str, ids: list[int], answered: list[int]) -> Prompt | LeftOut:
    one_token = len(answered) == len(ids) + 1 and answered[:-1] == ids
    return Prompt(fact, index, text, tuple(ids), len(ids) - 1, answered[-1]) if one_token else LeftOut(fact, NOT_ONE_TOKEN, index)


def _checked(lm: LanguageModel, prompt: Prompt | LeftOut) -> Prompt | LeftOut:
    if isinstance(prompt, LeftOut):
        return prompt
    if prompt.target == lm.tokenizer.unk_token_id:
        return LeftOut(prompt.fact, NOT_ONE_TOKEN, prompt.index)
    if len(prompt.ids) > lm.max_length:
        return LeftOut(prompt.fact, TOO_LONG, prompt.index)
    return prompt


def stack(prompts: list[Prompt], device: torch.device) -> Batch:
    """Return prompts of equal length as a batch."""
    columns = ([prompt.ids for prompt in prompts], [prompt.position for prompt in prompts], [prompt.target for prompt in prompts])
    return Batch(*(torch.tensor(column, device=device) for column in columns))


def group_by_length(prompts: Sequence[Prompt], limit: Callable[[int], int]) -> Iterator[list[int]]:
    """Yield groups of indexes of prompts (or other objects with `ids`) of equal length, at most `limit(length)` each, shortest first."""
    lengths: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt.ids), []).append(index)
    for length, indexes in sorted(lengths.items()):
        step = limit(length)
        for start in range(0, len(indexes), step):
            yield indexes[start : start + step]
