"""What is no fact: the items of grammar and the invented subjects, and what the data card says of them."""

import re

import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.data.not_facts import grammar_items, invented_subjects
from kn_utils.model.models import load_model
from kn_utils.model.prompts import Prompt, encode, ends_with_object
from kn_utils.paths import ROOT

GRAMMAR = grammar_items()
SINGULAR = {"this", "that", "one", "single"}
PLURAL = {"these", "those", "two", "many"}


def assert_in_no_fact(dataset):
    texts = {text.lower() for facts in dataset.facts.values() for fact in facts for text in (fact.subject, fact.object)}
    found = [name for name in invented_subjects() if any(name.lower() in text for text in texts)]
    assert found == []


def test_invented_subjects_are_in_no_fact_of_the_bundled_data():
    assert len(set(invented_subjects())) == len(invented_subjects()) == 60
    assert_in_no_fact(load_dataset("starter"))


@pytest.mark.real_data
def test_invented_subjects_are_in_no_fact_of_pararel():
    assert_in_no_fact(load_dataset("pararel"))


def test_every_item_of_grammar_has_one_of_the_other_number():
    assert GRAMMAR.relations == ["noun-number", "verb-number"]
    for name in GRAMMAR.relations:
        facts, templates = GRAMMAR.facts[name], GRAMMAR.templates[name]
        assert len(facts) == len({fact.subject for fact in facts}) == 52 and len(templates) == 6
        assert all(map(ends_with_object, templates))
    for one, several in zip(GRAMMAR.facts["verb-number"][::2], GRAMMAR.facts["verb-number"][1::2], strict=True):
        assert (one.object, several.object) == ("is", "are")
        noun = one.subject.split()[1]
        assert several.subject.split()[1] in (f"{noun}s", f"{noun}es")
    for one, several in zip(GRAMMAR.facts["noun-number"][::2], GRAMMAR.facts["noun-number"][1::2], strict=True):
        assert one.subject.split()[-1] in SINGULAR and several.subject.split()[-1] in PLURAL
        assert several.object in one.subject.replace(",", "").split() and several.object != one.object
        assert several.object[:3] == one.object[:3]


def test_the_bundled_model_can_be_prompted_with_all_of_them():
    lm = load_model("starter", "cpu")
    items = [item for name in GRAMMAR.relations for item in encode(lm, GRAMMAR, GRAMMAR.facts[name])]
    assert len(items) == 624 and all(isinstance(item, Prompt) for item in items)


def test_the_card_counts_right():
    card = " ".join((ROOT / "data/README.md").read_text(encoding="utf-8").split())
    assert re.search(r"104 items in two relations, six templates each: 624 prompts", card)
    assert "60 invented names" in card
