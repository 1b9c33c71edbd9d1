"""Data sets: facts (subject, relation, object), templates of each relation, and web sentences."""

import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from kn_utils.data.downloads import upstream_file
from kn_utils.data.forms import Content, read_form
from kn_utils.data.reading import check_relation, is_text, parse, read_lines, read_text
from kn_utils.parameters import ONE_TOKEN, check
from kn_utils.paths import DATA, result_name

FLAT = {
    "pairs": "query_pairs.json",
    "patterns": "patterns/{}.jsonl",
    "relations": "relations.jsonl",
    "sentences": "distant/{}.json",
}
UPSTREAM = {
    "pairs": "data/PARAREL/query_pairs.json",
    "patterns": "data/PARAREL/raw_data/patterns/{}.jsonl",
    "relations": "data/LAMA/raw_data/relations.jsonl",
    "sentences": "data/BingDistantTREx/final/final_distant_allbags_{}_new.json",
}


@dataclass(frozen=True)
class Fact:
    """A triple (subject, relation, object). `index` is its 0-based position in the list of its relation, and its key in all tables."""

    relation: str
    index: int
    subject: str
    object: str


@dataclass(frozen=True)
class LeftOut:
    """A prompt, a web sentence or an edit that is left out, and the reason.

    `index` is the number of the template or of the sentence; `kind` is the kind of sentence.
    """

    fact: Fact
    reason: str
    index: int = 0
    kind: str = ""


@dataclass(frozen=True)
class WebSentences:
    """Web sentences about one fact: with head and tail (subject and object), or with the head only."""

    head_and_tail: list[str]
    head_only: list[str]


@dataclass(frozen=True)
class Dataset:
    """A named set of relations; build it with `load_dataset`.

    `facts`, `templates` and `labels` map the id of a relation, such as "P101", to its facts, its templates with [X] (subject) and [Y]
    (object), and its name. `objects` says whether an object must be one token ("one-token") or is asked for by its first ("first-token").
    """

    name: str
    facts: dict[str, list[Fact]]
    templates: dict[str, list[str]]
    labels: dict[str, str]
    locate: Callable[[str], Path] = field(repr=False)
    objects: str = ONE_TOKEN

    @property
    def relations(self) -> list[str]:
        """The relations' ids in their numeric order."""
        return sorted(self.facts, key=lambda relation: (len(relation), relation))

    def select(self, relation: str | list[str]) -> list[str]:
        """Resolve a notebook's `relation` parameter ("P101", "P101,P36", a list, or "all") to relation ids.

        Raises ValueError for a relation this data set does not have.
        """
        if relation == "all":
            return self.relations
        names = split_relations(relation)
        unknown = [name for name in names if name not in self.facts]
        if unknown or not names:
            raise ValueError(f"data set {self.name!r} has no relation {unknown}; it has: {', '.join(self.relations)}, or 'all'")
        return names

    def draw(self, relation: str, n_facts: int | None, seed: int) -> list[Fact]:
        """Return `n_facts` facts of a relation, sampled with `seed`, in their order in the list. None, or too large a number, means all."""
        facts = self.facts[relation]
        if n_facts is None:
            return facts
        chosen = random.Random(f"{seed}-{relation}").sample(facts, min(n_facts, len(facts)))
        return sorted(chosen, key=lambda fact: fact.index)

    def digest(self, relation: str) -> str:
        """Return the SHA-256 of a relation's facts and templates."""
        return self._digests[relation]

    def digest_of_others(self, relation: str) -> str:
        """Return a single SHA-256 of the facts and templates of all other relations."""
        others = {name: digest for name, digest in self._digests.items() if name != relation}
        return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _digests(self) -> dict[str, str]:
        pairs = {name: [(fact.subject, fact.object) for fact in facts] for name, facts in self.facts.items()}
        content = {name: json.dumps([pairs[name], self.templates[name]]).encode() for name in self.facts}
        return {name: hashlib.sha256(text).hexdigest() for name, text in content.items()}

    def web_sentences(self, relation: str) -> list[WebSentences]:
        """Return the web sentences of every fact of a relation, in the order of `facts[relation]`.

        Raises FileNotFoundError if the data set has none and ValueError if the file is malformed.
        """
        path = self.locate("sentences", relation)
        bags = parse(read_text(path), str(path))
        count = len(self.facts[relation])
        if not isinstance(bags, list) or len(bags) != count or not all(map(_is_bag, bags)):
            raise ValueError(f'{path} must be a list of {count} entries {{"th_bags": [sentences], "h_bags": [sentences]}}')
        return [WebSentences(bag["th_bags"], bag["h_bags"]) for bag in bags]


def split_relations(relation: str | list[str]) -> list[str]:
    """Return the distinct names in a text such as "P101, P36", or in a list."""
    names = map(str, relation) if isinstance(relation, list | tuple) else re.split(r"[,\s]+", str(relation).strip())
    return list(dict.fromkeys(names))


def load_dataset(name: str | Path, objects: str = ONE_TOKEN) -> Dataset:
    """Load "starter" (bundled), "pararel" (the paper's; downloaded at first use), a folder in the layout of either, or another form.

    The other forms are those of `kn_utils.data.forms`.
    With `objects="first-token"` the data set's name ends so, too: its results lie in a folder of their own.
    Raises FileNotFoundError if the data set or one of its files is missing, and ValueError if a file is malformed.
    """
    check(objects=objects)
    dataset = _load(name)
    return dataset if objects == ONE_TOKEN else replace(dataset, name=f"{dataset.name}-{objects}", objects=objects)


def _load(name: str | Path) -> Dataset:
    if name == "pararel":
        return _read(name, lambda kind, relation="": upstream_file(UPSTREAM[kind].format(relation)), labelled=True)
    folder = DATA / "starter" if name == "starter" else Path(os.path.expanduser(str(name)))
    if name != "starter" and (content := read_form(folder)):
        return _of_form(result_name(name), folder, content)
    layout = UPSTREAM if (folder / UPSTREAM["pairs"]).is_file() else FLAT
    if not (folder / layout["pairs"]).is_file():
        raise FileNotFoundError(
            f"unknown data set {str(name)!r}: use 'starter', 'pararel', or a folder that holds {FLAT['pairs']} "
            f"and {FLAT['patterns'].format('<relation>')} (or {UPSTREAM['pairs']} ...), or facts in another of the forms in "
            "book/own_model_and_facts.md"
        )

    def locate(kind: str, relation: str = "") -> Path:
        path = folder / layout[kind].format(relation)
        if not path.is_file():
            raise FileNotFoundError(f"data set {folder} has no {layout[kind].format(relation)}")
        return path

    return _read(result_name(name), locate)


def _read(name: str, locate: Callable[..., Path], labelled: bool = False) -> Dataset:
    path = locate("pairs")
    pairs = parse(read_text(path), str(path))
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError(f'{path} must be {{"relation": [["subject", "object"], ...]}}')
    facts = {relation: list(_facts(path, relation, rows)) for relation, rows in pairs.items()}
    templates = {relation: _patterns(locate("patterns", relation)) for relation in facts}
    try:
        labels = {line["relation"]: line["label"] for line in read_lines(locate("relations"), ("relation", "label"))}
    except FileNotFoundError:
        if labelled:
            raise
        labels = {}
    return _labelled(name, facts, templates, labels, locate)


def _of_form(name: str, path: Path, content: Content) -> Dataset:
    """Return the data set of facts in another form than ParaRel's; it has no web sentences."""

    def no_sentences(kind: str, relation: str = "") -> Path:
        raise FileNotFoundError(f"data set {path} has no web sentences: its form has no place for them")

    if not content.rows:
        raise ValueError(f"{path} has no facts")
    facts = {relation: list(_facts(path, relation, rows)) for relation, rows in content.rows.items()}
    templates = {relation: _templates(path, content.templates[relation]) for relation in facts}
    return _labelled(name, facts, templates, content.labels, no_sentences)


def _labelled(name: str, facts: dict, templates: dict, labels: dict, locate: Callable[..., Path]) -> Dataset:
    return Dataset(name, facts, templates, {relation: labels.get(relation, relation) for relation in facts}, locate)


def _patterns(path: Path) -> list[str]:
    return _templates(path, [line["pattern"] for line in read_lines(path, ("pattern",))])


def _facts(path: Path, relation: str, rows: object) -> Iterator[Fact]:
    check_relation(relation, path)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: relation {relation} has no list of facts")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 2 or not all(is_text(text) and text.strip() for text in row):
            raise ValueError(f'{path}: fact {index} of {relation} is {row!r}; it must be ["subject", "object"]')
        yield Fact(relation, index, *map(_clean, row))


def _templates(path: Path, given: list[str]) -> list[str]:
    templates = [_clean(template) for template in given]
    for template in templates:
        if template.count("[X]") != 1 or template.count("[Y]") != 1:
            raise ValueError(f"{path}: template {template!r} must hold [X] and [Y] once each")
    if not templates:
        raise ValueError(f"{path} has no templates")
    return templates


def _clean(text: str) -> str:
    """Return a text without blanks around it, and with composed letters: é as one character, as tokenizers know it."""
    return normalize("NFC", text.strip())


def _is_bag(bag: object) -> bool:
    return isinstance(bag, dict) and all(
        isinstance(bag.get(kind), list) and all(map(is_text, bag[kind])) for kind in ("th_bags", "h_bags")
    )
