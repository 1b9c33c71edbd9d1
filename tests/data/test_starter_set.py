"""The starter set keeps the rules of its datasheet, and the datasheet counts it right."""

import json
import re

import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.model.prompts import ends_with_object
from kn_utils.paths import DATA

STARTER = load_dataset("starter")
DATASHEET = (DATA / "README.md").read_text(encoding="utf-8")
every_relation = pytest.mark.parametrize("relation", STARTER.relations)


def has_word(word, text):
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def row(*cells):
    return f"| {' | '.join(map(str, cells))} |\n"


def test_size():
    assert len(STARTER.relations) == 34
    assert sum(map(len, STARTER.facts.values())) >= 1400


@every_relation
def test_facts(relation):
    facts = STARTER.facts[relation]
    assert len({fact.subject for fact in facts}) == len(facts) >= 40
    assert not [fact for fact in facts if has_word(fact.object, fact.subject)]
    if relation != "P138":  # named after: names contain names
        assert not [fact for fact in facts if fact.object.lower() in fact.subject.lower()]
    assert not [fact for fact in facts if fact.object.split() != [fact.object] or fact.subject.strip() != fact.subject]


@every_relation
def test_templates(relation):
    templates = STARTER.templates[relation]
    assert len(set(templates)) == len(templates) >= 8
    assert 4 <= sum(map(ends_with_object, templates)) < len(templates)


@every_relation
def test_sentences(relation):
    entries = json.loads((DATA / f"starter/distant/{relation}.json").read_text(encoding="utf-8"))
    assert [(entry["subject"], entry["object"]) for entry in entries] == [
        (fact.subject, fact.object) for fact in STARTER.facts[relation]
    ]
    for fact, sentences in zip(STARTER.facts[relation], STARTER.web_sentences(relation), strict=True):
        assert len(sentences.head_and_tail) >= 2 and len(sentences.head_only) >= 2
        for sentence in sentences.head_and_tail + sentences.head_only:
            assert fact.subject in sentence
            in_it = has_word(fact.object, sentence.replace(fact.subject, " "))
            assert in_it == (sentence in sentences.head_and_tail), f"{fact}: {sentence}"


def test_no_sentence_stands_twice():
    bags = [bag for relation in STARTER.relations for bag in STARTER.web_sentences(relation)]
    sentences = [sentence for bag in bags for sentence in bag.head_and_tail + bag.head_only]
    assert len(set(sentences)) == len(sentences)


def test_the_datasheet_counts_right():
    total, prompts = [0] * 6, 0
    for relation in STARTER.relations:
        facts, templates, bags = STARTER.facts[relation], STARTER.templates[relation], STARTER.web_sentences(relation)
        counts = [
            len(facts),
            len({fact.object for fact in facts}),
            len(templates),
            sum(map(ends_with_object, templates)),
            sum(len(bag.head_and_tail) for bag in bags),
            sum(len(bag.head_only) for bag in bags),
        ]
        assert row(relation, STARTER.labels[relation], *counts) in DATASHEET
        total = [sum(pair) for pair in zip(total, counts, strict=True)]
        prompts += len(facts) * len(templates)
    assert row("all", "", *(f"{count:,}" for count in total)) in DATASHEET
    assert f"make {prompts:,} prompts" in " ".join(DATASHEET.split())


@pytest.mark.real_data
def test_no_template_is_one_of_pararel():
    def letters(templates):
        return {re.sub(r"[^a-z\[\] ]", "", template.lower()).strip() for template in templates}

    pararel = load_dataset("pararel")
    assert not [name for name in STARTER.relations if letters(STARTER.templates[name]) & letters(pararel.templates[name])]


@pytest.mark.real_data
def test_the_datasheet_lists_every_disagreement_with_pararel():
    pararel = load_dataset("pararel")
    found, disagreements = 0, set()
    for relation in STARTER.relations:
        known = {}
        for fact in pararel.facts[relation]:
            known.setdefault(fact.subject.lower(), set()).add(fact.object.lower())
        for fact in STARTER.facts[relation]:
            objects = known.get(fact.subject.lower())
            found += objects is not None
            if objects and fact.object.lower() not in objects:
                disagreements.add((relation, fact.subject, fact.object))
    listed = re.findall(r"^\| (P\d+) \| ([^|]+) \| ([^|]+) \| [^|]+ \| [^|]+ \|$", DATASHEET, re.MULTILINE)
    assert sorted(listed) == sorted(disagreements)
    assert f"{found} stand in ParaRel; the two agree on {found - len(disagreements)}." in " ".join(DATASHEET.split())
