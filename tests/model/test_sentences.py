"""Which word of a web sentence is masked, against sentences worked out by hand, and how each kind of model reads it."""

import random

import pytest

from kn_utils.data.facts import Fact, WebSentences
from kn_utils.model import sentences
from kn_utils.model.sentences import (
    KINDS,
    MASK_CUT_OFF,
    NAMES_TAIL,
    NO_HEAD,
    NO_TAIL,
    NO_WORD,
    NOT_COMPARABLE,
    NOTHING_BEFORE,
    NOTHING_BEHIND_HEAD,
    NOTHING_TO_COMPARE,
    SEVERAL_MASKS,
    TOO_LONG,
    Corpus,
    LeftOut,
    Slot,
    SlotPrompt,
    comparable_word,
    digest,
    distance,
    encode_slots,
    find_slots,
    random_word,
    read_corpus,
    tail,
    whole_words,
    words,
)

CAR = Fact("P176", 0, "Fiat Multipla", "Fiat")
OSLO = Fact("P36", 0, "Norway", "Oslo")
CURIE = Fact("P101", 1, "Marie Curie", "physics")


def text_of(sentence, found):
    return sentence[slice(*found)] if isinstance(found, tuple) else found


def span(sentence, word):
    assert sentence.count(word) == 1
    start = sentence.index(word)
    return start, start + len(word)


@pytest.mark.parametrize(
    "text, sentence, expected",
    [
        ("art", "Bart likes art, Art-Deco and artists", [(11, 14), (16, 19)]),
        ("C++", "C++ and C+++ but not C or XC++", [(0, 3), (8, 11)]),
        ("St. Louis", "St. Louis, not StXLouis", [(0, 9)]),
        ("Škoda", "škoda", [(0, 5)]),
        ("!!!", "the band !!! plays", [(9, 12)]),
    ],
)
def test_whole_words(text, sentence, expected):
    assert whole_words(text, sentence) == expected


def test_words_have_no_punctuation_around_them():
    sentence = '"Don\'t," said Jean-Luc (aged 40)—'
    assert [sentence[slice(*found)] for found in words(sentence)] == ["Don't", "said", "Jean-Luc", "aged", "40"]


@pytest.mark.parametrize(
    "fact, sentence, masked, left_to_right",
    [
        (CAR, "The Fiat Multipla was made by FIAT, by Fiat.", (30, 34), (30, 34)),
        (CAR, "Fiat made the Fiat Multipla, and only Fiat.", (0, 4), (38, 42)),
        (CAR, "Fiat made the Fiat Multipla.", (0, 4), NOTHING_BEHIND_HEAD),
        (CAR, "The Fiat Multipla of Fiats", NO_TAIL, NO_TAIL),
        (CAR, "Fiat made the Multipla", NO_HEAD, NO_HEAD),
        (Fact("P36", 3, "San Marino", "San Marino"), "In San Marino lies San Marino", NO_TAIL, NO_TAIL),
    ],
)
def test_the_tail_is_its_first_whole_word_outside_the_head(fact, sentence, masked, left_to_right):
    assert tail(sentence, fact, masked=True) == masked
    assert tail(sentence, fact, masked=False) == left_to_right


def random_words(sentence, fact, masked):
    return {text_of(sentence, random_word(sentence, fact, masked, random.Random(seed))) for seed in range(400)}


def test_a_random_word_is_one_of_the_first_fifty_and_not_of_the_head():
    sentence = "Old Marie Curie and " + " ".join(f"w{number}" for number in range(60))
    expected = {"Old", "and"} | {f"w{number}" for number in range(46)}
    assert random_words(sentence, CURIE, masked=True) == expected
    assert random_words(sentence, CURIE, masked=False) == expected - {"Old"}


def test_a_random_word_that_is_not_there():
    assert random_words("nobody here", CURIE, masked=True) == {NO_HEAD}
    assert random_words("Marie Curie!", CURIE, masked=True) == {NO_WORD}
    assert random_words("Here: Marie Curie", CURIE, masked=False) == {NOTHING_BEHIND_HEAD}
    assert random_words("w " * 50 + "Marie Curie and more", CURIE, masked=False) == {NOTHING_BEHIND_HEAD}


@pytest.mark.parametrize(
    "word, masked, left_to_right",
    [
        ("today", -5, None),
        ("with", -1, None),
        ("who", 1, 1),
        ("radium", -2, 4),
        ("later", -1, 5),
        ("school", 1, 1),
    ],
)
def test_distance_in_words_from_the_nearest_head(word, masked, left_to_right):
    sentence = "Even today we all talk with Marie Curie, who (1898) found radium; later Marie Curie's school."
    assert distance(sentence, CURIE, True, span(sentence, word)) == masked
    if left_to_right is not None:
        assert distance(sentence, CURIE, False, span(sentence, word)) == left_to_right


@pytest.mark.parametrize(
    "wanted, masked, left_to_right",
    [
        (-9, "yesterday", "radiation"),  # the only alike word before the head
        (1, "radiation", "radiation"),  # "the" is too short, "famous2" no word of letters
        (6, "chemistry", "chemistry"),  # at 5; "Poland" is nearer and a capitalised word
        (40, "school", "school"),
    ],
)
def test_the_comparable_word_is_the_nearest_that_looks_like_the_tail(wanted, masked, left_to_right):
    sentence = "So yesterday, Marie Curie, the famous2 radiation, of chemistry Poland at a school4 school."
    assert distance(sentence, CURIE, True, span(sentence, "radiation")) == 3
    assert distance(sentence, CURIE, True, span(sentence, "chemistry")) == 5
    assert text_of(sentence, comparable_word(sentence, CURIE, True, wanted)) == masked
    assert text_of(sentence, comparable_word(sentence, CURIE, False, wanted)) == left_to_right


def test_of_two_comparable_words_as_near_the_later_is_taken():
    sentence = "Marie Curie found and then lost"
    assert text_of(sentence, comparable_word(sentence, CURIE, True, 2)) == "then"


BOTH = "The Fiat Multipla of Italy"


def test_a_capitalised_tail_wants_a_capitalised_word_and_a_short_one_a_short_word():
    sentence = "Norway, says old King Harald of Asia"
    assert text_of(sentence, comparable_word(sentence, OSLO, True, 1)) == "King"
    assert text_of(sentence, comparable_word(sentence, Fact("P101", 0, "Norway", "art"), True, 2)) == "old"
    assert text_of(sentence, comparable_word(sentence, Fact("P101", 0, "Norway", "arts"), True, 2)) == "says"
    assert comparable_word("Norway is of low age", OSLO, True, 1) == NOT_COMPARABLE
    assert comparable_word("Norway: an Oslo for Kings", OSLO, True, 1) == NAMES_TAIL
    assert text_of(BOTH, comparable_word(BOTH, CAR, True, 1)) == "Italy"  # a tail inside the head does not count
    assert comparable_word("King of Norway", OSLO, False, 1) == NOTHING_BEHIND_HEAD
    assert comparable_word("no one is here", OSLO, True, 1) == NO_HEAD


WEBS = {
    "P36": [
        WebSentences(["Norway's Oslo", "Oslo, Norway", "Oslo alone"], ["Norway has many fine fjords", "no one"]),
        WebSentences([], ["Peru is high"]),
    ],
    "P101": [WebSentences(["one", "..."], ["two", "three"])],
}
CORPUS = Corpus(WEBS)


def by_kind(found):
    return {kind: [item for item in found if item.kind == kind] for kind in KINDS}


def shown(items):
    return [(item.index, item.reason if isinstance(item, LeftOut) else item.text[item.start : item.end]) for item in items]


def test_slots_of_a_fact():
    found = by_kind(find_slots(CORPUS, OSLO, 42, True))
    assert shown(found["head_and_tail"]) == [(0, "Oslo"), (1, "Oslo"), (2, NO_HEAD)]
    [(_, word), second] = shown(found["head_only"])
    assert word in {"has", "many", "fine", "fjords"} and second == (1, NO_HEAD)
    assert shown(found["head_only_comparable"]) == [(0, NOT_COMPARABLE), (1, NO_HEAD)]
    assert [item.index for item in found["random"]] == [0, 1, 2]
    assert all(item.fact == OSLO for items in found.values() for item in items)


def test_the_comparable_word_stands_where_a_random_tail_does():
    corpus = Corpus({"P36": [WebSentences(["Norway's Oslo", "Norway is 1 long way off Oslo"], ["Norway: Alps to Bergen"] * 60)]})
    chosen = [word for _, word in shown(by_kind(find_slots(corpus, OSLO, 1, True))["head_only_comparable"])]
    assert set(chosen) == {"Alps", "Bergen"}
    nearer = Corpus({"P36": [WebSentences(["Norway's Oslo"], ["Norway: Alps to Bergen"] * 60)]})
    assert {word for _, word in shown(by_kind(find_slots(nearer, OSLO, 1, True))["head_only_comparable"])} == {"Alps"}


def test_without_a_tail_nothing_is_comparable_and_nothing_random():
    found = by_kind(find_slots(CORPUS, Fact("P36", 1, "Peru", "Lima"), 42, True))
    assert shown(found["head_only_comparable"]) == [(0, NOTHING_TO_COMPARE)]
    assert found["random"] == [] and isinstance(found["head_only"][0], Slot)


def test_random_sentences_come_from_both_bags_of_all_relations():
    draws = [by_kind(find_slots(CORPUS, OSLO, seed, True))["random"] for seed in range(60)]
    texts = {item.text for draw in draws for item in draw if isinstance(item, Slot)}
    everything = {text for webs in WEBS.values() for web in webs for text in web.head_and_tail + web.head_only}
    assert texts == everything - {"..."}
    assert NO_WORD in {item.reason for draw in draws for item in draw if isinstance(item, LeftOut)}
    assert all(len({item.text for item in draw if isinstance(item, Slot)} - {"..."}) >= 2 for draw in draws)
    assert {
        item.text[item.start : item.end] for draw in draws for item in draw if getattr(item, "text", "") == "Peru is high"
    } == {
        "Peru",
        "is",
        "high",
    }


def test_choices_depend_on_the_seed_and_the_fact_alone():
    first = find_slots(CORPUS, OSLO, 42, True)
    random.seed(1)
    find_slots(CORPUS, Fact("P101", 0, "one", "two"), 42, True)
    assert find_slots(Corpus(dict(WEBS)), OSLO, 42, True) == first
    assert any(find_slots(CORPUS, OSLO, seed, True) != first for seed in range(5))


def test_the_digest_tells_sentences_and_bags_apart():
    webs = [
        [WebSentences(["a"], ["b"])],
        [WebSentences(["a", "b"], [])],
        [WebSentences(["a"], ["c"])],
        [WebSentences(["ab"], [])],
    ]
    assert len({digest(sentences) for sentences in webs}) == 4
    assert digest(webs[0]) == digest([WebSentences(["a"], ["b"])])


def test_a_data_set_without_sentences_is_an_error(tiny_dataset):
    with pytest.raises(FileNotFoundError, match="has no distant/P30.json"):
        read_corpus(tiny_dataset)


def slot(text, word):
    return Slot(OSLO, "head_and_tail", 7, text, *span(text, word))


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_a_masked_model_reads_one_mask_in_the_words_place(model_type, loaded):
    lm = loaded(model_type)
    [prompt] = encode_slots(lm, [slot("The capital of Norway is Burkina Faso, known to Peru.", "Burkina Faso")])
    expected = lm.tokenizer(f"The capital of Norway is {lm.tokenizer.mask_token}, known to Peru.")["input_ids"]
    assert prompt.ids == tuple(expected)
    assert prompt.ids[prompt.position] == lm.tokenizer.mask_token_id
    assert prompt.slot.index == 7


def test_a_masked_model_reads_as_many_tokens_as_it_can(loaded):
    lm = loaded("bert")
    early, edge, late, twice = encode_slots(
        lm,
        [
            slot("Oslo " + "in " * 90, "Oslo"),
            slot("in " * 61 + "Oslo", "Oslo"),
            slot("in " * 62 + "Oslo", "Oslo"),
            slot("The [MASK] of Oslo", "Oslo"),
        ],
    )
    assert len(early.ids) == len(edge.ids) == lm.max_length == 64
    assert early.ids[-1] == lm.tokenizer.sep_token_id and early.position == 1 and edge.position == 62
    assert late == LeftOut(OSLO, MASK_CUT_OFF, 7, "head_and_tail")
    assert twice == LeftOut(OSLO, SEVERAL_MASKS, 7, "head_and_tail")


def test_no_model_reads_more_than_512_tokens(loaded, monkeypatch):
    monkeypatch.setattr(sentences, "MAX_TOKENS", 10)
    [prompt] = encode_slots(loaded("bert"), [slot("Oslo " + "in " * 30, "Oslo")])
    assert len(prompt.ids) == 10
    [prompt] = encode_slots(loaded("gpt2"), [slot("in " * 30 + "Oslo", "Oslo")])
    assert prompt.reason == TOO_LONG


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_left_to_right_model_reads_up_to_the_word(model_type, loaded):
    lm = loaded(model_type)
    inside, first, longest, too_long = encode_slots(
        lm,
        [
            slot("The capital of Norway is Oslo, known to Peru.", "Oslo"),
            slot("Oslo is the capital", "Oslo"),
            slot("The" + " in" * 63 + " Oslo", "Oslo"),
            slot("The" + " in" * 64 + " Oslo", "Oslo"),
        ],
    )
    assert inside.ids == tuple(lm.tokenizer("The capital of Norway is")["input_ids"])
    assert inside.position == len(inside.ids) - 1
    assert first.reason == NOTHING_BEFORE
    assert isinstance(longest, SlotPrompt) and len(longest.ids) == lm.max_length == 64
    assert too_long.reason == TOO_LONG


def test_nothing_to_encode(loaded):
    assert encode_slots(loaded("bert"), []) == encode_slots(loaded("gpt2"), []) == []
