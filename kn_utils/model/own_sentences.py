"""Prompts from a reader's own sentences about one fact. What a model cannot be asked is one error that says what to do."""

import re
from collections.abc import Sequence
from pathlib import Path

from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.forward import probabilities
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import SAME_PROMPT, Prompt, encode, ends_with_object, prompt_text, stack
from kn_utils.model.scripts import FULL_STOPS, OTHER_ENDS, without_blanks
from kn_utils.parameters import check, did_you_mean

RELATION = "own sentences"  # stands for the relation of a reader's fact
SUBJECT = "[X]"  # so that this placeholder of data sets stays as it is written
MASK = "[MASK]"  # how a reader writes the mask of any model
SUGGESTIONS = 3
SIMILAR = 0.85  # to a word of the vocabulary, which has words that differ in a letter or two from any other


def sentence_list(sentences: str | Sequence[str]) -> list[str]:
    """Return the distinct sentences of a list, or of a text with a `|` or a line break between them.

    Raises ValueError if there is none, or if one is not text.
    """
    check(sentences=sentences)
    texts = re.split(r"[|\n]", sentences) if isinstance(sentences, str) else sentences
    found = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not found:
        raise ValueError(f"there is no sentence: write one or several, with {MASK} in place of the answer and | between them")
    return found


def sentence_prompts(lm: LanguageModel, sentences: str | Sequence[str]) -> list[Prompt]:
    """Return a prompt for each sentence, without an answer: `target` is the token at the prediction position.

    A sentence has one mask, written as `[MASK]`. For a left-to-right model it ends before the answer or with the mask.
    Raises ValueError, with what to do, for a sentence that cannot be asked.
    """
    fact = Fact(RELATION, 0, SUBJECT, "")
    found = []
    for index, template in enumerate(_templates(lm, sentences)):
        text = prompt_text(lm, fact, template)
        ids = tuple(lm.tokenizer(text)["input_ids"])
        if len(ids) > lm.max_length:
            raise ValueError(f"{text!r} has {len(ids)} tokens, and {lm.name} reads at most {lm.max_length}: shorten it")
        position = ids.index(lm.tokenizer.mask_token_id) if lm.masked else len(ids) - 1
        found.append(Prompt(fact, index, text, ids, position, ids[position]))
    return found


def answer_prompts(lm: LanguageModel, sentences: str | Sequence[str], answer: str, name: str = "answer") -> list[Prompt]:
    """Return a prompt for each sentence; `target` is the token of the answer.

    `name` is what the answer is called in errors. Raises ValueError as `sentence_prompts`, and for an answer that is not one token.
    """
    check(**{name: answer})
    if not answer.strip():
        raise ValueError(f"{name} is {answer!r}: give the word that belongs in place of {MASK}")
    without_answer = sentence_prompts(lm, sentences)
    fact = Fact(RELATION, 0, SUBJECT, answer.strip())
    templates = _templates(lm, sentences)
    dataset = Dataset(RELATION, {RELATION: [fact]}, {RELATION: templates}, {RELATION: RELATION}, _no_file)
    encoded = encode(lm, dataset, [fact])
    for prompt, item in zip(without_answer, encoded, strict=True):
        if isinstance(item, LeftOut) and item.reason == SAME_PROMPT:
            raise ValueError(f"{prompt.text!r} has the same tokens as a sentence before it: leave it out")
        if isinstance(item, LeftOut):
            raise ValueError(_not_one_token(lm, prompt, fact.object, name))
    return encoded


def best_answers(lm: LanguageModel, prompt: Prompt, n: int = 10) -> list[tuple[str, float]]:
    """Return the n most probable tokens of a prompt, as text, with their probabilities."""
    every = probabilities(lm, prompt_suffix(lm, stack([prompt], lm.device)))[0]
    best = every.topk(min(n, len(every)))
    return list(zip(token_texts(lm, best.indices.tolist()), best.values.tolist(), strict=True))


def token_texts(lm: LanguageModel, tokens: Sequence[int]) -> list[str]:
    """Return tokens as text without surrounding spaces; one of spaces or line breaks only is shown as in Python."""
    return [word or repr(lm.tokenizer.decode([token])) for word, token in zip(lm.words(tokens), tokens, strict=True)]


def _no_file(kind: str, relation: str) -> Path:
    raise FileNotFoundError("own sentences have no files")


def _templates(lm: LanguageModel, sentences: str | Sequence[str]) -> list[str]:
    """Return the sentences as templates of a data set, with [Y] in place of the mask."""
    return [_template(lm, text) for text in sentence_list(sentences)]


def _template(lm: LanguageModel, text: str) -> str:
    masks = {MASK, "[Y]", lm.tokenizer.mask_token or MASK}
    template, found = re.subn("|".join(map(re.escape, masks)), "[Y]", text)
    if found > 1:
        raise ValueError(f"{text!r} has {found} masks, and one answer is predicted at a time: leave one {MASK}")
    if lm.masked:
        if not found:
            raise ValueError(f"{text!r} has no mask, which {lm.name} needs: write {MASK} in place of the answer")
        return template
    if not found:
        if text[-1] in FULL_STOPS + OTHER_ENDS:
            raise ValueError(f"{text!r} is complete, and {lm.name} reads from left to right: end the sentence before the answer")
        return f"{text}[Y]" if without_blanks(text) else f"{text} [Y]"
    if not ends_with_object(template):
        raise ValueError(f"{text!r} goes on behind {MASK}, and {lm.name} reads from left to right: end it before the answer")
    if not template.partition("[Y]")[0].strip():
        raise ValueError(f"{text!r} begins with the answer, and {lm.name} reads from left to right: put words before it")
    return template


def _not_one_token(lm: LanguageModel, prompt: Prompt, answer: str, name: str) -> str:
    pieces = lm.tokenizer.tokenize(f" {answer}")
    if lm.tokenizer.unk_token in pieces:
        why = f"is not in the vocabulary of {lm.name}"
    elif len(pieces) > 1:
        why = f"is {len(pieces)} tokens of {lm.name}, {' + '.join(token_texts(lm, lm.tokenizer.convert_tokens_to_ids(pieces)))}"
    else:
        why = f"is not one token of {lm.name} in {prompt.text!r}"
    words = lm.words(range(len(lm.tokenizer)))
    best = ", ".join(word for word, _ in best_answers(lm, prompt, SUGGESTIONS))
    return (
        f"{name} {answer!r} {why}{did_you_mean(answer, words, SIMILAR)}; it must be one token. Choose another one; "
        f"the best answers of {lm.name} are: {best}"
    )
