"""ParaRel as the paper used it: the counts and the peculiarities that data/README.md states."""

from collections import Counter

import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.model.prompts import ends_with_object

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def pararel():
    return load_dataset("pararel")


@pytest.fixture(scope="module")
def facts(pararel):
    return [fact for relation in pararel.relations for fact in pararel.facts[relation]]


def test_counts(pararel):
    sizes = [(len(pararel.facts[name]), pararel.templates[name]) for name in pararel.relations]
    assert len(sizes) == 34
    assert sum(size for size, _ in sizes) == 27_738
    assert sum(len(templates) for _, templates in sizes) == 318
    assert sum(size * len(templates) for size, templates in sizes) == 253_448


def test_counts_of_templates_that_end_with_the_object(pararel):
    final = {name: sum(map(ends_with_object, templates)) for name, templates in pararel.templates.items()}
    assert sum(final.values()) == 203
    assert sum(len(pararel.facts[name]) * count for name, count in final.items()) == 160_934


def test_repeated_facts_and_subjects(facts):
    rows = Counter((fact.relation, fact.subject, fact.object) for fact in facts)
    subjects = Counter((fact.relation, fact.subject) for fact in facts)
    assert rows.total() - len(rows) == 21
    assert sum(count > 1 for count in subjects.values()) == 851
    assert sum(count for count in subjects.values() if count > 1) == 3_114


def test_objects_that_the_subject_gives_away(facts):
    assert sum(fact.subject == fact.object for fact in facts) == 64
    inside = Counter(fact.relation for fact in facts if fact.object.lower() in fact.subject.lower())
    assert inside.total() == 2_855
    assert inside.most_common(3) == [("P176", 791), ("P279", 490), ("P138", 485)]


def test_the_most_frequent_object(pararel):
    top = {name: Counter(fact.object for fact in rows).most_common(1)[0] for name, rows in pararel.facts.items()}
    name = max(top, key=lambda name: top[name][1] / len(pararel.facts[name]))
    assert (name, top[name], len(pararel.facts[name])) == ("P30", ("Antarctica", 705), 975)


def test_web_sentences(pararel):
    bags = [bag for name in pararel.relations for bag in pararel.web_sentences(name)]
    assert sum(len(bag.head_and_tail) for bag in bags) == 210_217
    assert sum(len(bag.head_only) for bag in bags) == 266_020
    assert sum(bool(bag.head_and_tail and bag.head_only) for bag in bags) == 26_236
