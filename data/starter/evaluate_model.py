"""Examine the bundled model `starter` and write the tables into its model card, between the card's `<!-- name -->` comments.

Top-1 accuracy over the whole vocabulary, in float32, on seeded samples of ParaRel's facts with one-token objects: taught facts
and facts left out of training. The starter facts are examined too where `data/starter` has them. From the repository's root:

    nice python data/starter/evaluate_model.py
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean

import torch
from tqdm import tqdm
from train_model import answers, encode_pairs, held_out_pair_finder, single_token, training_pairs, whole_words
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM, PreTrainedTokenizerFast

from kn_utils.data.facts import FLAT, Dataset, Fact, load_dataset
from kn_utils.data.held_out import is_held_out_fact, is_held_out_sentence
from kn_utils.model.prompts import fill
from kn_utils.paths import DATA

Asked = list[tuple[Fact, bool]]
FOLDER = DATA / "starter" / "model"


class Examiner:
    """Asks a model for facts and says which prompts it answers right."""

    def __init__(self, folder: Path):
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
        self.model: BertForMaskedLM = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()

    def known(self, facts: Iterable[Fact]) -> list[Fact]:
        """Return the facts whose object is one token of the vocabulary."""
        return [fact for fact in facts if single_token(self.tokenizer, fact.object) is not None]

    def ask(self, rows: list[tuple[Fact, str]]) -> Asked:
        """Return, for each (fact, prompt), the fact and whether the model's first choice is its object."""
        given = answers(self.model, self.tokenizer, [prompt for _, prompt in rows])
        right = (token == single_token(self.tokenizer, fact.object) for (fact, _), token in zip(rows, given, strict=True))
        return [(fact, answer) for (fact, _), answer in zip(rows, right, strict=True)]

    def templates(self, dataset: Dataset, facts: list[Fact], count: int | None, seed: int) -> list[tuple[Fact, str]]:
        """Return (fact, prompt) for `count` templates drawn for each fact; all of them for None."""
        rows = []
        for fact in facts:
            templates = dataset.templates[fact.relation]
            chosen = templates if count is None else random.Random(f"{seed}-{fact}").sample(templates, min(count, len(templates)))
            rows += [(fact, fill(template, fact.subject, self.tokenizer.mask_token)) for template in chosen]
        return rows


def main() -> None:
    """Write all tables into the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=FOLDER, help="folder with the model, its card and its training log")
    parser.add_argument("--facts", type=int, default=100, help="facts per relation, taught and left out each")
    parser.add_argument("--templates", type=int, default=3, help="templates per fact")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    examiner, dataset = Examiner(arguments.model), load_dataset("pararel")
    log = [json.loads(line) for line in (arguments.model / "training_log.jsonl").read_text(encoding="utf-8").splitlines()]
    tables = {"data": data_table(dataset, examiner.tokenizer), "curve": curve_table(log)}
    samples = {name: sample(examiner, dataset, arguments, held_out) for name, held_out in (("taught", False), ("left out", True))}
    asked = {
        name: examiner.ask(examiner.templates(dataset, facts, arguments.templates, arguments.seed))
        for name, facts in samples.items()
    }
    tables["overall"] = overall_table(asked)
    tables["relations"] = relation_table(dataset, examiner, asked)
    tables["sentences"] = sentence_table(dataset, examiner, arguments.seed)
    if (DATA / "starter" / FLAT["pairs"]).is_file():
        tables["starter"] = starter_table(dataset, load_dataset("starter"), examiner)
    write_tables(arguments.model / "README.md", tables)


def write_tables(card: Path, tables: dict[str, str]) -> None:
    """Put each table between the card's comments `<!-- name -->` and `<!-- end -->`."""
    text = card.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    card.write_text(text, encoding="utf-8")


def sample(examiner: Examiner, dataset: Dataset, arguments: argparse.Namespace, held_out: bool) -> list[Fact]:
    """Draw up to `facts` facts of every relation, taught or left out."""
    facts = []
    for relation in dataset.relations:
        usable = [
            fact for fact in examiner.known(dataset.facts[relation]) if is_held_out_fact(fact.subject, fact.object) == held_out
        ]
        facts += random.Random(f"{arguments.seed}-{relation}").sample(usable, min(arguments.facts, len(usable)))
    return facts


def table(heads: list[str], rows: list[list]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(values: Iterable[bool | float]) -> str:
    """Return a mean as a percentage; a dash if there is nothing."""
    values = list(values)
    return f"{100 * fmean(values):.1f} %" if values else "-"


def by_relation(asked: Asked, keep: Callable[[Fact], bool] = lambda fact: True) -> dict[str, float]:
    """Return the share of right answers of each relation, over the facts to keep."""
    relations = {fact.relation for fact, _ in asked if keep(fact)}
    return {name: fmean(right for fact, right in asked if fact.relation == name and keep(fact)) for name in sorted(relations)}


def object_in_subject(fact: Fact) -> bool:
    """Say whether the object stands in the subject, as in (Nokia N9, Nokia)."""
    return fact.object.casefold() in fact.subject.casefold()


def data_table(dataset: Dataset, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what the model was trained on, counted; checks that nothing held out is in it.

    Raises ValueError if it is.
    """
    pairs = training_pairs(dataset)
    facts = {(fact.subject, fact.object) for relation in dataset.relations for fact in dataset.facts[relation]}
    held_out = {pair for pair in facts if is_held_out_fact(*pair)}
    names_held_out = held_out_pair_finder(held_out)
    if any(is_held_out_sentence(text) or names_held_out(text) for texts in pairs.values() for text in texts):
        raise ValueError("held-out facts or sentences are among the training sentences")
    examples = encode_pairs(pairs, tokenizer)
    rows = [
        ["different (head, tail) of ParaRel", f"{len(facts):,}"],
        ["of these left out", f"{len(held_out):,}"],
        ["trained on: with a one-token tail and a usable sentence", f"{len(examples):,}"],
        ["sentences trained on", f"{sum(map(len, examples)):,}"],
        ["tokens per sentence, mean", f"{fmean(len(example.tokens) for one in examples for example in one):.1f}"],
    ]
    return table(["", "count"], rows)


def curve_table(log: list[dict]) -> str:
    """Return the training curve: the log's rows with accuracies, losses averaged since the row before."""
    rows, losses = [], []
    for row in log:
        losses.append(row["loss"])
        if "taught" in row:
            shown = [row["step"], f"{row['seconds'] / 60:.0f}", f"{row['lr']:.1e}", f"{fmean(losses):.2f}"]
            rows.append([*shown, percent([row["taught"]]), percent([row["left_out"]])])
            losses = []
    return table(["step", "minutes", "learning rate", "loss", "taught", "left out"], rows)


def overall_table(asked: dict[str, Asked]) -> str:
    """Return the accuracy over all relations, with and without the facts whose object stands in the subject."""
    rows = []
    for name, answered in asked.items():
        rest = by_relation(answered, lambda fact: not object_in_subject(fact))
        rows.append([name, f"{len(answered):,}", percent(by_relation(answered).values()), percent(rest.values())])
    return table(["facts", "prompts", "accuracy (mean of relations)", "same, object not in the subject"], rows)


def relation_table(dataset: Dataset, examiner: Examiner, asked: dict[str, Asked]) -> str:
    """Return the accuracy by relation beside the share of its most frequent object."""
    shares = {name: by_relation(answered) for name, answered in asked.items()}
    counts = {name: Counter(fact.relation for fact in {fact for fact, _ in answered}) for name, answered in asked.items()}
    rows = []
    for relation in dataset.relations:
        objects = Counter(fact.object for fact in examiner.known(dataset.facts[relation]))
        row = [relation, dataset.labels[relation], percent([max(objects.values()) / objects.total()])]
        for name, share in shares.items():
            row += [counts[name][relation], percent([share[relation]] if relation in share else [])]
        rows.append(row)
    return table(["relation", "name", "most frequent object", "facts taught", "accuracy", "facts left out", "accuracy"], rows)


def sentence_table(dataset: Dataset, examiner: Examiner, seed: int, per_relation: int = 100) -> str:
    """Return how often the model finds the tail masked in unseen web sentences of taught and of left-out facts."""
    rows = []
    for name, held_out in (("taught", False), ("left out", True)):
        chosen = []
        for relation in dataset.relations:
            found = list(unseen_sentences(dataset, relation, examiner, held_out))
            chosen += random.Random(f"{seed}-{relation}").sample(found, min(per_relation, len(found)))
        answered = [
            pair
            for part in tqdm([chosen[start : start + 512] for start in range(0, len(chosen), 512)])
            for pair in examiner.ask(part)
        ]
        rows.append([name, f"{len(chosen):,}", percent(by_relation(answered).values())])
    return table(["facts", "held-out sentences", "accuracy (mean of relations)"], rows)


def unseen_sentences(dataset: Dataset, relation: str, examiner: Examiner, held_out: bool) -> Iterable[tuple[Fact, str]]:
    """Yield (fact, sentence with its first tail masked) for the held-out sentences of up to 60 words that name the tail once."""
    for fact, web in zip(dataset.facts[relation], dataset.web_sentences(relation), strict=True):
        if is_held_out_fact(fact.subject, fact.object) != held_out or single_token(examiner.tokenizer, fact.object) is None:
            continue
        for sentence in filter(is_held_out_sentence, web.head_and_tail):
            spans = whole_words(fact.object, sentence)
            if len(spans) == 1 and not object_in_subject(fact) and len(sentence.split()) <= 60:
                start, end = spans[0]
                yield fact, sentence[:start] + examiner.tokenizer.mask_token + sentence[end:]


def starter_table(pararel: Dataset, starter: Dataset, examiner: Examiner) -> str:
    """Return the accuracy on the starter facts with all their templates, by what training had of them."""
    known = {fact_pair(fact) for relation in pararel.relations for fact in pararel.facts[relation]}
    asked = examiner.ask(
        examiner.templates(starter, examiner.known(fact for name in starter.relations for fact in starter.facts[name]), None, 0)
    )
    groups = {
        "all": lambda fact: True,
        "pairs in ParaRel, taught": lambda fact: fact_pair(fact) in known and not is_held_out_fact(fact.subject, fact.object),
        "pairs in ParaRel, left out": lambda fact: fact_pair(fact) in known and is_held_out_fact(fact.subject, fact.object),
        "pairs not in ParaRel": lambda fact: fact_pair(fact) not in known,
    }
    rows = []
    for name, keep in groups.items():
        kept = [(fact, right) for fact, right in asked if keep(fact)]
        rows.append([name, len({fact for fact, _ in kept}), f"{len(kept):,}", percent(by_relation(kept).values())])
    return table(["facts", "count", "prompts", "accuracy (mean of relations)"], rows)


def fact_pair(fact: Fact) -> tuple[str, str]:
    """Return a fact's texts whatever their case and order."""
    return tuple(sorted((fact.subject.casefold(), fact.object.casefold())))


if __name__ == "__main__":
    main()
