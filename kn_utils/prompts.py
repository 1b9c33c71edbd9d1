"""Prompts: a fact's templates filled in and tokenised, with the position to predict at and the token to predict."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_utils.facts import Dataset, Fact
from kn_utils.models import LanguageModel

NOT_ONE_TOKEN = "the object is not one token of the model's vocabulary"
NOT_OBJECT_FINAL = "no template of the relation ends with the object, which left-to-right models need"
AMBIGUOUS_MASK = "the filled prompt holds more than one mask"
TOO_LONG = "the prompt is longer than the model can read"


@dataclass(frozen=True)
class Prompt:
    """One filled template; `index` is the template's 0-based place, `position` where the model predicts, `target` the object's token."""

    fact: Fact
    index: int
    text: str
    ids: tuple[int, ...]
    position: int
    target: int


@dataclass(frozen=True)
class LeftOut:
    """A prompt that cannot be asked, and why."""

    fact: Fact
    index: int
    reason: str


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length as tensors: `ids` [prompts, tokens], `position` [prompts], `target` [prompts]."""

    ids: Tensor
    position: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Tensor) -> "Batch":
        """Return the prompts at `rows`."""
        return Batch(self.ids[rows], self.position[rows], self.target[rows])


def ends_with_object(template: str) -> bool:
    """Tell whether nothing but a full stop follows [Y], so that a left-to-right model can be asked for it."""
    return re.search(r"\[Y\][ .]*$", template) is not None


def fill(template: str, subject: str, answer: str) -> str:
    """Return a template with its subject and its answer in place; placeholders inside the subject stay as they are."""
    filling = {"[X]": subject, "[Y]": answer}
    return re.sub(r"\[[XY]\]", lambda found: filling[found.group()], template)


def encode(lm: LanguageModel, dataset: Dataset, facts: Iterable[Fact]) -> list[Prompt | LeftOut]:
    """Return every prompt of the facts, in the order of facts and templates, tokenised or left out with its reason.

    Masked models read the template with a mask in the object's place; left-to-right models read it up to the object, and only
    templates that end with it. The target is the one token that the object adds in that context; a fact whose object is not one
    token is left out, never scored as the unknown token.
    """
    asked = [
        (fact, index, template)
        for fact in facts
        for index, template in enumerate(dataset.templates[fact.relation])
        if lm.masked or ends_with_object(template)
    ]
    if not asked:
        return [LeftOut(fact, 0, NOT_OBJECT_FINAL) for fact in facts]
    make = _masked_prompt if lm.masked else _cut_prompt
    answered = [fill(template if lm.masked else _cut(template) + " [Y]", fact.subject, fact.object) for fact, _, template in asked]
    blank = [
        fill(template, fact.subject, lm.tokenizer.mask_token) if lm.masked else fill(_cut(template), fact.subject, "")
        for fact, _, template in asked
    ]
    blank_ids, answered_ids = lm.tokenizer(blank)["input_ids"], lm.tokenizer(answered)["input_ids"]
    return [make(lm, *row) for row in zip(asked, blank, blank_ids, answered_ids, strict=True)]


def _cut(template: str) -> str:
    return template[: template.index("[Y]")].rstrip()


def _masked_prompt(lm: LanguageModel, asked: tuple, text: str, ids: list[int], answered: list[int]) -> Prompt | LeftOut:
    fact, index, _ = asked
    mask = lm.tokenizer.mask_token_id
    if ids.count(mask) != 1:
        return LeftOut(fact, index, AMBIGUOUS_MASK)
    position = ids.index(mask)
    same = len(ids) == len(answered) and ids[:position] == answered[:position] and ids[position + 1 :] == answered[position + 1 :]
    return _checked(lm, Prompt(fact, index, text, tuple(ids), position, answered[position] if same else -1))


def _cut_prompt(lm: LanguageModel, asked: tuple, text: str, ids: list[int], answered: list[int]) -> Prompt | LeftOut:
    fact, index, _ = asked
    one_more = len(answered) == len(ids) + 1 and answered[:-1] == ids
    return _checked(lm, Prompt(fact, index, text, tuple(ids), len(ids) - 1, answered[-1] if one_more else -1))


def _checked(lm: LanguageModel, prompt: Prompt) -> Prompt | LeftOut:
    if prompt.target in (-1, lm.tokenizer.unk_token_id):
        return LeftOut(prompt.fact, prompt.index, NOT_ONE_TOKEN)
    if len(prompt.ids) > lm.max_length:
        return LeftOut(prompt.fact, prompt.index, TOO_LONG)
    return prompt


def stack(prompts: list[Prompt], device: torch.device) -> Batch:
    """Return prompts of equal length as one batch of tensors."""
    columns = ([prompt.ids for prompt in prompts], [prompt.position for prompt in prompts], [prompt.target for prompt in prompts])
    return Batch(*(torch.tensor(column, device=device) for column in columns))


def group_by_length(prompts: list[Prompt], limit) -> Iterator[list[int]]:
    """Yield the indexes of prompts that share a length, at most `limit(length)` at a time, shortest first."""
    lengths: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt.ids), []).append(index)
    for length, indexes in sorted(lengths.items()):
        step = limit(length)
        for start in range(0, len(indexes), step):
            yield indexes[start : start + step]
