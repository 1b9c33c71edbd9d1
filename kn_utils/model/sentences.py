"""Web sentences (section 4.4): choose the word to mask, and tokenise the sentence."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import regex

from kn_utils.data.facts import Dataset, Fact, LeftOut, WebSentences
from kn_utils.model.models import LanguageModel
from kn_utils.model.scripts import CHARACTER, WORD, begins_word, ends_word

KINDS = ("head_and_tail", "head_only", "head_only_comparable", "random")
FIRST_WORDS = 50  # the released code masks one of the first 50 words of a head-only sentence
MIN_LETTERS = 4  # of a comparable word, unless the tail itself is shorter
MAX_TOKENS = 512

NO_HEAD = "the head is not in the sentence as a whole word"
NO_TAIL = "the tail is not in the sentence as a whole word outside the head"
NO_WORD = "there is no word to mask outside the head"
NOTHING_BEHIND_HEAD = "there is nothing to predict after the head, which a left-to-right model must have read"
NAMES_TAIL = "the head-only sentence names the tail after all"
NOT_COMPARABLE = "no word of the sentence is comparable to the tail"
NOTHING_TO_COMPARE = "the fact has no head-and-tail sentence to compare with"
MASK_CUT_OFF = "the mask is behind the last token that the model reads"
SEVERAL_MASKS = "the sentence holds more than one mask"
NOTHING_BEFORE = "no word stands before the one to predict"
TOO_LONG = "the sentence up to the word is longer than the model reads"

Span = tuple[int, int]  # characters, [start, end)


@dataclass(frozen=True)
class Slot:
    """A web sentence, and the span [start, end) of the characters to mask.

    `index` is the 0-based number of the sentence in its list; for a random sentence, the number of the draw.
    """

    fact: Fact
    kind: str
    index: int
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class SlotPrompt:
    """A tokenised slot with its prediction position."""

    slot: Slot
    ids: tuple[int, ...]
    position: int


@dataclass(frozen=True)
class Corpus:
    """All web sentences of a data set, by relation and in the order of its facts; build it with `read_corpus`."""

    relations: dict[str, list[WebSentences]]

    @cached_property
    def sentences(self) -> list[str]:
        """All sentences of all relations, of both kinds."""
        return [text for webs in self.relations.values() for web in webs for text in web.head_and_tail + web.head_only]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the sentences of all relations."""
        return hashlib.sha256("".join(map(digest, self.relations.values())).encode()).hexdigest()

    def of(self, fact: Fact) -> WebSentences:
        """Return the sentences of a fact."""
        return self.relations[fact.relation][fact.index]


def read_corpus(dataset: Dataset) -> Corpus:
    """Read the web sentences of all relations. Raises as `Dataset.web_sentences`."""
    return Corpus({relation: dataset.web_sentences(relation) for relation in dataset.relations})


def digest(sentences: list[WebSentences]) -> str:
    """Return the SHA-256 of a relation's web sentences."""
    bags = [(web.head_and_tail, web.head_only) for web in sentences]
    return hashlib.sha256(json.dumps(bags).encode()).hexdigest()


def find_slots(corpus: Corpus, fact: Fact, seed: int, masked: bool) -> list[Slot | LeftOut]:
    """Return the slots of a fact, of all `KINDS`. A random choice depends on `seed`, the fact and the sentence only.

    * head_and_tail: the first whole-word occurrence of the tail outside the head.
    * head_only: a random one of the first 50 words, outside the head.
    * head_only_comparable: the word of the same sentence that compares best with the tail of a random head-and-tail sentence, see
      `comparable_word`.
    * random: a random word of a random sentence of all relations; as many sentences as the fact has with head and tail.

    `masked` is False for left-to-right models; they can only predict words after the head.
    """
    sentences = corpus.of(fact)
    tails = [
        _slot(fact, "head_and_tail", index, text, tail(text, fact, masked)) for index, text in enumerate(sentences.head_and_tail)
    ]
    found = [slot for slot in tails if isinstance(slot, Slot)]
    heads_only = []
    for index, text in enumerate(sentences.head_only):
        word = random_word(text, fact, masked, _draw(seed, "head_only", fact, index))
        alike = _comparable(text, fact, masked, found, _draw(seed, "head_only_comparable", fact, index))
        heads_only += [_slot(fact, "head_only", index, text, word), _slot(fact, "head_only_comparable", index, text, alike)]
    return tails + heads_only + _random_slots(corpus, fact, seed)


def tail(text: str, fact: Fact, masked: bool) -> Span | str:
    """Return the span of the first occurrence of the tail that can be predicted, or the reason why there is none."""
    heads = whole_words(fact.subject, text)
    tails = outside(whole_words(fact.object, text), heads)
    return _choose(heads, tails, NO_TAIL, masked, lambda spans: spans[0])


def random_word(text: str, fact: Fact, masked: bool, draw: random.Random) -> Span | str:
    """Return the span of a random one of the first 50 words, outside the head, or the reason why there is none."""
    heads = whole_words(fact.subject, text)
    return _choose(heads, outside(words(text)[:FIRST_WORDS], heads), NO_WORD, masked, draw.choice)


def comparable_word(text: str, fact: Fact, masked: bool, wanted: int) -> Span | str:
    """Return the span of the comparable word with the distance from the head nearest to `wanted`, or the reason why there is none.

    Comparable words are those of `words_like`. Of two words at equal distance the later one is taken. A sentence that names the tail is not
    a control and has no such word.
    """
    heads = whole_words(fact.subject, text)
    if outside(whole_words(fact.object, text), heads):
        return NAMES_TAIL
    alike = outside(words_like(fact.object, text), heads)

    def nearest(spans: list[Span]) -> Span:
        return min(spans, key=lambda span: (abs(distance(text, fact, masked, span) - wanted), -span[0]))

    return _choose(heads, alike, NOT_COMPARABLE, masked, nearest)


def distance(text: str, fact: Fact, masked: bool, span: Span) -> int:
    """Return the distance in words from the nearest head to a span: positive after the head, negative before; 1 or -1 for neighbours.

    For left-to-right models only heads before the span count.
    """
    start, end = span
    heads = [head for head in whole_words(fact.subject, text) if masked or head[1] <= start]
    places = words(text)

    def between(left: int, right: int) -> int:
        return 1 + sum(left <= first and last <= right for first, last in places)

    return min((between(head[1], start) if head[1] <= start else -between(end, head[0]) for head in heads), key=abs)


def whole_words(text: str, sentence: str) -> list[Span]:
    """Return the spans of all whole-word occurrences of a text in a sentence, ignoring case.

    In a script without blanks between words nothing marks the ends of a word, so every occurrence counts.
    """
    spans: list[Span] = []
    for match in regex.finditer(regex.escape(text), sentence, regex.IGNORECASE, overlapped=True):
        start, end = match.span()
        if (not spans or start >= spans[-1][1]) and begins_word(sentence, start) and ends_word(sentence, end):
            spans.append((start, end))
    return spans


def words(sentence: str) -> list[Span]:
    """Return the spans of the words of a sentence, without punctuation.

    A letter's marks (accents, vowel signs) belong to it. In a script without blanks between words every character counts as a word.
    """
    return [match.span() for match in regex.finditer(WORD, sentence)]


def words_like(answer: str, sentence: str) -> list[Span]:
    """Return the spans of the words that look like the answer.

    Such a word has letters only, is capitalised if and only if the answer is, and has at least 4 letters (or as many as a shorter answer).
    For an answer in a script without blanks between words, these are all runs of as many characters.
    """
    if regex.fullmatch(rf"{CHARACTER}+", answer):
        run = rf"{CHARACTER}{{{len(regex.findall(CHARACTER, answer))}}}"
        return [match.span() for match in regex.finditer(run, sentence, overlapped=True)]
    return [span for span in words(sentence) if _looks_like(sentence[slice(*span)], answer)]


def outside(spans: Iterable[Span], heads: Sequence[Span]) -> list[Span]:
    """Return the spans that do not overlap a head."""
    return [(start, end) for start, end in spans if not any(start < last and first < end for first, last in heads)]


def encode_slots(lm: LanguageModel, slots: Sequence[Slot]) -> list[SlotPrompt | LeftOut]:
    """Tokenise slots, with at most 512 tokens or the limit of the model; a slot that cannot be used is `LeftOut` with a reason.

    A masked model gets the truncated sentence with one mask in place of the span. A left-to-right model gets the text before the span and
    predicts at its last token.
    """
    limit = min(MAX_TOKENS, lm.max_length)
    return _mask(lm, slots, limit) if lm.masked else _cut(lm, slots, limit)


def _mask(lm: LanguageModel, slots: Sequence[Slot], limit: int) -> list[SlotPrompt | LeftOut]:
    texts = [slot.text[: slot.start] + lm.tokenizer.mask_token + slot.text[slot.end :] for slot in slots]
    mask = lm.tokenizer.mask_token_id
    encoded = []
    for slot, ids in zip(slots, _tokens(lm, texts, limit), strict=True):
        if ids.count(mask) == 1:
            encoded.append(SlotPrompt(slot, tuple(ids), ids.index(mask)))
        else:
            encoded.append(_left_out(slot, SEVERAL_MASKS if mask in ids else MASK_CUT_OFF))
    return encoded


def _cut(lm: LanguageModel, slots: Sequence[Slot], limit: int) -> list[SlotPrompt | LeftOut]:
    texts = [slot.text[: slot.start].rstrip() for slot in slots]
    encoded = []
    for slot, text, ids in zip(
        slots, texts, _tokens(lm, texts, limit + 1), strict=True
    ):  # one token more shows which are too long
        if text and len(ids) <= limit:
            encoded.append(SlotPrompt(slot, tuple(ids), len(ids) - 1))
        else:
            encoded.append(_left_out(slot, TOO_LONG if text else NOTHING_BEFORE))
    return encoded


def _tokens(lm: LanguageModel, texts: list[str], limit: int) -> list[list[int]]:
    return lm.tokenizer(texts, truncation=True, max_length=limit)["input_ids"] if texts else []


def _left_out(slot: Slot, reason: str) -> LeftOut:
    return LeftOut(slot.fact, reason, slot.index, slot.kind)


def _slot(fact: Fact, kind: str, index: int, text: str, found: Span | str) -> Slot | LeftOut:
    return LeftOut(fact, found, index, kind) if isinstance(found, str) else Slot(fact, kind, index, text, *found)


def _draw(seed: int, kind: str, fact: Fact, *sentence: int) -> random.Random:
    return random.Random("-".join(map(str, (seed, kind, fact.relation, fact.index, *sentence))))


def _comparable(text: str, fact: Fact, masked: bool, tails: Sequence[Slot], draw: random.Random) -> Span | str:
    if not tails:
        return NOTHING_TO_COMPARE
    drawn = draw.choice(tails)
    return comparable_word(text, fact, masked, distance(drawn.text, fact, masked, (drawn.start, drawn.end)))


def _random_slots(corpus: Corpus, fact: Fact, seed: int) -> list[Slot | LeftOut]:
    draw = _draw(seed, "random", fact)
    slots = []
    for index, text in enumerate(draw.sample(corpus.sentences, len(corpus.of(fact).head_and_tail))):
        candidates = words(text)
        slots.append(_slot(fact, "random", index, text, draw.choice(candidates) if candidates else NO_WORD))
    return slots


def _choose(
    heads: Sequence[Span], candidates: list[Span], none_found: str, masked: bool, choose: Callable[[list[Span]], Span]
) -> Span | str:
    """Choose one of the candidates, for left-to-right models one after the first head; or return the reason why there is none."""
    if not heads:
        return NO_HEAD
    if not candidates:
        return none_found
    behind = candidates if masked else [span for span in candidates if span[0] >= heads[0][1]]
    return choose(behind) if behind else NOTHING_BEHIND_HEAD


def _looks_like(word: str, answer: str) -> bool:
    return (
        regex.fullmatch(r"[\p{L}\p{M}]+", word) is not None
        and word[0].isupper() == answer[0].isupper()
        and len(word) >= min(MIN_LETTERS, len(answer))
    )
