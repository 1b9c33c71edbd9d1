"""Prompts: a fact's templates filled in and tokenised, with the position to predict at and the token to predict."""

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
    """A filled template: `index` is the template's 0-based number, `position` where the model predicts, `target` the object's token."""

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
    """Return whether nothing but a full stop follows [Y], so that a left-to-right model can predict it."""
    return re.search(r"\[Y\][ .]*$", template) is not None


def fill(template: str, subject: str, answer: str) -> str:
    """Return a template with [X] and [Y] replaced; placeholders inside the subject stay as they are."""
    filling = {"[X]": subject, "[Y]": answer}
    return re.sub(r"\[[XY]\]", lambda found: filling[found.group()], template)


def encode(lm: LanguageModel, dataset: Dataset, facts: Iterable[Fact]) -> list[Prompt | LeftOut]:
    """Return every prompt of the facts, in the order of facts and templates: tokenised, or left out with the reason.

    For a masked model the object is replaced by the mask. A left-to-right model takes only templates that end with the object, cut
    right before it. The target is the one token that the object is in that context; a fact whose object is not one token is left out,
    never scored as the unknown token.
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


def askable(lm: LanguageModel, dataset: Dataset, fact: Fact) -> list[Prompt]:
    """Return the prompts of a fact, without those that are left out."""
    return [prompt for prompt in encode(lm, dataset, [fact]) if isinstance(prompt, Prompt)]


def draw_facts(lm: LanguageModel, dataset: Dataset, relation: str, n_facts: int | None, seed: int) -> list[Fact]:
    """Return facts of a relation sampled with `seed`, `n_facts` of which have a prompt; all facts for None.

    Facts without a prompt stay in the sample, to be counted. For each of them another fact that has prompts is drawn, as long as there
    is one.
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
    """Return a prompt's text without and with its answer; two empty texts without a template."""
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
    """Return prompts of equal length as one batch of tensors."""
    columns = ([prompt.ids for prompt in prompts], [prompt.position for prompt in prompts], [prompt.target for prompt in prompts])
    return Batch(*(torch.tensor(column, device=device) for column in columns))


def group_by_length(prompts: Sequence[Prompt], limit: Callable[[int], int]) -> Iterator[list[int]]:
    """Yield the indexes of prompts (anything with `ids`) of equal length, at most `limit(length)` at a time, shortest first."""
    lengths: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt.ids), []).append(index)
    for length, indexes in sorted(lengths.items()):
        step = limit(length)
        for start in range(0, len(indexes), step):
            yield indexes[start : start + step]
