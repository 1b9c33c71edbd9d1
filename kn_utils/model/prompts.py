"""Prompts: filled and tokenised templates, with the prediction position and the target token."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import torch
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.models import LanguageModel
from kn_utils.model.scripts import DIRECTION_MARKS, FULL_STOPS
from kn_utils.parameters import FIRST_TOKEN

NOT_ONE_TOKEN = "the object is not one token of the model's vocabulary"
NOT_OBJECT_FINAL = "no template of the relation ends with the object, which left-to-right models need"
AMBIGUOUS_MASK = "the filled prompt holds more than one mask"
MERGED = "the object is not read as tokens of its own: it merges with the text beside it"
NO_TOKEN = "the object's first token is a blank"
SAME_PROMPT = "another template of the fact gives the same tokens"
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
    """Return whether at most a full stop, of any script, follows [Y], so that a left-to-right model can predict the object."""
    return re.search(rf"\[Y\][\s{FULL_STOPS}{DIRECTION_MARKS}]*$", template) is not None


def fill(template: str, subject: str, answer: str) -> str:
    """Return a template with [X] and [Y] replaced. A subject may contain these placeholders; they are not replaced."""
    filling = {"[X]": subject, "[Y]": answer}
    return re.sub(r"\[[XY]\]", lambda found: filling[found.group()], template)


def encode(lm: LanguageModel, dataset: Dataset, facts: Iterable[Fact]) -> list[Prompt | LeftOut]:
    """Return all prompts of the facts, in the order of facts and templates; a prompt that cannot be used is `LeftOut` with a reason.

    A masked model gets the template with the mask as object. A left-to-right model gets only templates that end with the object, cut before
    it. The target is the object's token in this context. If the object is several tokens or unknown, the prompt is left out; if the data
    set's `objects` are "first-token", the target is the first of several tokens. Raises ValueError if a masked model is asked for these.
    """
    if lm.masked and dataset.objects == FIRST_TOKEN:
        raise ValueError(
            f"objects is {FIRST_TOKEN!r}, and {lm.name} is a masked model: it predicts one token in place of its one mask"
        )
    filled = []
    for fact in facts:
        templates = list(enumerate(dataset.templates[fact.relation]))
        usable = [(fact, *template) for template in templates if lm.masked or ends_with_object(template[1])]
        filled += usable or [(fact, 0, None)]
    texts = [_texts(lm, fact, template) for fact, _, template in filled]
    read = [lm.tokenizer(list(column))["input_ids"] for column in zip(*texts, strict=True)]
    ends = _ends(lm)
    make = partial(_prompt, lm, first_token=dataset.objects == FIRST_TOKEN)
    encoded = [
        LeftOut(fact, NOT_OBJECT_FINAL, index)
        if template is None
        else make(fact, index, template, before[: len(before) - ends], answered[: len(answered) - ends], whole)
        for (fact, index, template), before, answered, whole in zip(filled, *read, strict=True)
    ]
    return _distinct(encoded)


def _distinct(encoded: list[Prompt | LeftOut]) -> list[Prompt | LeftOut]:
    """Leave out prompts whose tokens are those of an earlier prompt of the fact, such as of templates that differ in blanks."""
    first: dict[tuple, int] = {}
    return [
        LeftOut(item.fact, SAME_PROMPT, item.index)
        if isinstance(item, Prompt) and first.setdefault((item.fact, item.ids, item.position), item.index) != item.index
        else item
        for item in encoded
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


def prompt_text(lm: LanguageModel, fact: Fact, template: str) -> str:
    """Return the text of a prompt: with the mask in place of the object, or cut before the object."""
    return fill(template, fact.subject, lm.tokenizer.mask_token) if lm.masked else fill(_cut(template), fact.subject, "")


def _cut(template: str) -> str:
    return template.partition("[Y]")[0].rstrip()


def _texts(lm: LanguageModel, fact: Fact, template: str | None) -> tuple[str, str, str]:
    """Return a filled template up to the object, with the object, and as a whole; left-to-right models read nothing behind the object."""
    if template is None:
        return "", "", ""
    cut, before = _cut(template), template.partition("[Y]")[0]
    up_to = f"{cut}[Y]" if cut == before else f"{cut} [Y]"
    whole = up_to + template.partition("[Y]")[2] if lm.masked else up_to
    return fill(cut, fact.subject, ""), *(fill(text, fact.subject, fact.object) for text in (up_to, whole))


def _ends(lm: LanguageModel) -> int:
    """Return how many special tokens the tokenizer adds behind a text."""
    alone, text = lm.tokenizer(["", "a"])["input_ids"]
    return len(alone) - sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(alone, text, strict=False)))


def _prompt(
    lm: LanguageModel,
    fact: Fact,
    index: int,
    template: str,
    before: list[int],
    answered: list[int],
    whole: list[int],
    first_token: bool,
) -> Prompt | LeftOut:
    """Return a prompt from the tokens before the object, those up to its end, and those of the whole text.

    A masked model reads the tokens of the whole text with the mask in place of the object's. So the tokens around the mask are those of
    plain text, also where a tokenizer would read a written mask differently.
    """
    at, of_object = len(before), answered[len(before) :]
    if lm.masked and lm.tokenizer.mask_token_id in whole:
        return LeftOut(fact, AMBIGUOUS_MASK, index)
    if answered[:at] != before or whole[: len(answered)] != answered:
        return LeftOut(fact, MERGED, index)
    if (len(of_object) != 1 and not (of_object and first_token)) or of_object[0] == lm.tokenizer.unk_token_id:
        return LeftOut(fact, NOT_ONE_TOKEN, index)
    if first_token and not lm.tokenizer.decode(of_object[:1]).strip():
        return LeftOut(fact, NO_TOKEN, index)
    ids = [*before, lm.tokenizer.mask_token_id, *whole[at + 1 :]] if lm.masked else before
    if len(ids) > lm.max_length:
        return LeftOut(fact, TOO_LONG, index)
    return Prompt(fact, index, prompt_text(lm, fact, template), tuple(ids), at if lm.masked else at - 1, of_object[0])


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
