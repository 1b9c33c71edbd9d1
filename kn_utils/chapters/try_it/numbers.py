"""Tables and sentences of notebook 11: what the neurons behind an answer are, and what follows if they are changed."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from kn_utils.chapters.try_it.table import Scores
from kn_utils.model.layouts import value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.model.value_words import head_logits
from kn_utils.plots.markup import scope
from kn_utils.stats.layers import first_upper_layer
from kn_utils.store.published import PublishedResults, published_results
from kn_utils.store.runs import FACT_KEY

WORDS = 5
CHANGES = {"none": "unchanged", "suppress": "off", "amplify": "doubled", "edit": "edited"}
FREQUENT = 3  # objects and relations named for each neuron
NEURON = ["layer", "neuron"]
NO_BREAK = "\N{NO-BREAK SPACE}"


def ten_best(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of `answers` side by side: a row per rank, a column per sentence, each cell with its probability."""
    cells = answers["answer"] + answers["probability"].map(lambda value: f" ({percent(value)})")
    wide = answers.assign(cell=cells).pivot(index="rank", columns="sentence", values="cell")
    return wide[answers["sentence"].unique()].rename_axis(columns=None).reset_index()


def standing(effects: pd.DataFrame) -> pd.DataFrame:
    """Return where the reader's answer stands in the unchanged model: columns sentence, best answer, probability, rank."""
    rows = effects[effects["change"] == "none"].reset_index(drop=True)
    return pd.DataFrame(
        {
            "sentence": rows["sentence"],
            "best answer": rows["best"],
            "P(answer)": rows["probability"].map(percent),
            "rank of the answer": rows["rank"],
        }
    )


def in_words(lm: LanguageModel, scores: Scores) -> pd.DataFrame:
    """Return the neurons with the words that each raises and lowers by its value vector, if its activation is as in these sentences.

    `rank of the answer` is its rank among all tokens, from the one raised most. For a model whose layers share neurons there are no words.
    """
    table = scores.neurons[["name", "sentences", "share", "activation"]].rename(columns={"name": "neuron"})
    if len(lm.blocks) < lm.n_layers:
        return table
    vectors = torch.stack([value_vectors(lm.downs[layer])[index] for layer, index in neuron_list(scores.neurons)])
    signs = torch.tensor(scores.neurons["activation"].to_numpy()).sign().to(vectors)
    logits = head_logits(lm, signs[:, None] * vectors)
    table.insert(1, "raises", [" · ".join(lm.words(tokens)) for tokens in logits.topk(WORDS).indices.tolist()])
    target = logits[:, scores.prompts[0].target]
    table.insert(2, "rank of the answer", (1 + (logits > target[:, None]).sum(1)).tolist())
    table.insert(3, "lowers", [" · ".join(lm.words(tokens)) for tokens in (-logits).topk(WORDS).indices.tolist()])
    return table


def published_facts(model: str, neurons: Sequence[Neuron]) -> pd.DataFrame:
    """Return the facts of our published results of a model that have one of the neurons.

    A row per neuron and fact: dataset, relation, fact, subject, object, layer, neuron. Empty for a model without published results.
    """
    found = [_facts_with(results, neurons) for results in published_results() if results.model == model]
    columns = ["dataset", *FACT_KEY, "subject", "object", *NEURON]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _facts_with(results: PublishedResults, neurons: Sequence[Neuron]) -> pd.DataFrame:
    table = results.read("knowledge_neurons", results.relations).query("method == 'attribution'")
    facts = results.read("facts", results.relations)[[*FACT_KEY, "subject", "object"]]
    rows = table.merge(pd.DataFrame(neurons, columns=NEURON)).merge(facts, on=FACT_KEY)
    return rows.assign(dataset=results.dataset)


def about_facts(lm: LanguageModel, facts: pd.DataFrame, names: dict[Neuron, str], answer: str) -> str:
    """Return a sentence on the published facts that have one of the neurons, and on how many have the reader's answer as object.

    `facts` are those of `published_facts`, and `names` are the names of the neurons.
    """
    published = "; ".join(scope(results, results.relations) for results in published_results() if results.model == lm.name)
    if not published:
        return f"There are no published results of {lm.name}."
    if facts.empty:
        return f"None of the published facts ({published}) has one of these neurons."
    distinct = facts.drop_duplicates(["dataset", *FACT_KEY])
    same = (distinct["object"].str.casefold() == answer.strip().casefold()).sum()
    most = facts.groupby(NEURON).size().idxmax()
    own = facts.set_index(NEURON).loc[most]["dataset"].value_counts(sort=False)
    by_dataset = " and ".join(f"{count:,} of {dataset}" for dataset, count in own.items())
    return (
        f"{len(distinct):,} published facts ({published}) have one of these neurons; {by_dataset} have {names[most]}. "
        f"The object is {answer!r} in {same:,} of them."
    )


def by_neuron(facts: pd.DataFrame, neurons: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """Return for each neuron how many published facts have it, and their most frequent relations and objects.

    `facts` are those of `published_facts`, `neurons` those of `Scores.neurons`; `labels` are the names of relations.
    """
    rows = []
    for layer, neuron, name in neurons[[*NEURON, "name"]].itertuples(index=False):
        of_neuron = facts[(facts["layer"] == layer) & (facts["neuron"] == neuron)]
        relations = of_neuron["relation"].map(lambda relation: labels.get(relation, relation))
        rows.append((name, len(of_neuron), _frequent(relations), _frequent(of_neuron["object"])))
    return pd.DataFrame(rows, columns=["neuron", "facts", "most frequent relations", "most frequent objects"])


def _frequent(values: pd.Series) -> str:
    counts = values.value_counts().head(FREQUENT)
    return ", ".join(f"{value} {count}" for value, count in counts.items()) or "none"


def closest_facts(facts: pd.DataFrame, names: dict[Neuron, str], labels: dict[str, str], n: int = 10) -> pd.DataFrame:
    """Return the n published facts that have most of the neurons: columns data set, relation, subject, object, neurons."""
    named = facts.assign(name=[names[neuron] for neuron in neuron_list(facts)])
    key = ["dataset", *FACT_KEY, "subject", "object"]
    shared = named.groupby(key, sort=False)["name"].agg(["size", ", ".join]).reset_index()
    top = shared.nlargest(n, "size").reset_index(drop=True)
    return pd.DataFrame(
        {
            "data set": top["dataset"],
            "relation": top["relation"].map(lambda relation: labels.get(relation, relation)),
            "subject": top["subject"],
            "object": top["object"],
            "neurons": top["join"],
        }
    )


def changed_answers(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the model's answers with the neurons unchanged, off and doubled: a row per sentence, matched neurons behind the others."""
    return _wide(effects, effects["best"], ("none", "suppress", "amplify"))


def changed_probabilities(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the probability and the rank of the reader's answer; rows and columns as `changed_answers`."""
    cells = effects["probability"].map(percent) + effects["rank"].map(f" (rank{NO_BREAK}{{:,}})".format)
    return _wide(effects, cells, ("none", "suppress", "amplify"))


def edited_answers(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the model's answers before and after the edit, with the probability of the new answer: a row per sentence."""
    cells = effects["best"] + effects["new_probability"].map(percent).map(" (new answer: {})".format)
    return _wide(effects, cells, ("none", "edit"))


def changed_elsewhere(elsewhere: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of `answers_elsewhere` in which the edit changes the answer, with the labels of their relations."""
    changed = elsewhere[elsewhere["changed"]]
    named = changed.assign(relation=changed["relation"].map(labels))
    return named[["relation", "sentence", "before", "after"]].reset_index(drop=True)


def _wide(effects: pd.DataFrame, cells: pd.Series, changes: Sequence[str]) -> pd.DataFrame:
    rows = effects.assign(cell=cells)[effects["change"].isin(changes)]
    names = rows["change"].map(CHANGES) + rows["neurons"].map({"own": "", "matched": ", matched neurons"})
    wide = rows.assign(name=names).pivot(index="sentence", columns="name", values="cell")
    return wide.loc[rows["sentence"].unique(), names.unique()].rename_axis(columns=None).reset_index()


def percent(share: float) -> str:
    """Return a probability in per cent: 37 %, 4.5 %, 0.31 %, < 0.01 %; a line is not broken inside."""
    value = 100 * share
    if 0 < value < 0.01:
        number = "< 0.01"
    else:
        number = f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return f"{number} %".replace(" ", NO_BREAK)


def about_answers(lm: LanguageModel, effects: pd.DataFrame, answer: str) -> str:
    """Return a sentence on the unchanged model's answers."""
    rows = effects[effects["change"] == "none"]
    low, high = percent(rows["probability"].min()), percent(rows["probability"].max())
    probability = low if low == high else f"{low} to {high}"
    if len(rows) > 1:
        right = (rows["rank"] == 1).sum()
        return f"The model {lm.name} answers {right} of {len(rows)} sentences with {answer!r}, which has a probability of {probability}."
    [row] = rows.itertuples()
    other = "" if row.rank == 1 else f"; the model's answer is {row.best!r}"
    return f"The model {lm.name} gives {answer!r} a probability of {probability}, rank {row.rank:,}{other}."


def about_neurons(lm: LanguageModel, scores: Scores) -> str:
    """Return sentences on which neurons were found: those of one sentence, or those that the sentences share."""
    n, found = len(scores.prompts), scores.neurons
    total = lm.n_layers * lm.n_neurons
    names = ", ".join(found["name"].head(5)) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    upper = first_upper_layer(lm.n_layers)
    where = f"{(found['layer'] >= upper).sum()} of {len(found)} in the upper third of the layers ({upper + 1} to {lm.n_layers})"
    if n == 1:
        return (
            f"Of {total:,} neurons these are the {len(found)} strongest of this one sentence, not those of a fact: {names}; {where}. "
            "With more sentences that state it differently you see which of them they share."
        )
    if scores.needed == 1:
        return (
            f"The sentences share no strong neuron. These {len(found)} of {total:,} are strong in one of them: {names}; {where}."
        )
    which = "all" if scores.needed == n else f"at least {scores.needed} of"
    return f"Of {total:,} neurons, {len(found)} are strong in {which} {n} sentences: {names}; {where}."


def about_changes(effects: pd.DataFrame, answer: str) -> str:
    """Return sentences on suppressing and amplifying the neurons, compared with matched ones."""
    mean = effects.groupby(["change", "neurons"])["probability"].mean()
    before, off, doubled = (mean[change, "own"] for change in ("none", "suppress", "amplify"))
    control = {change: value for (change, neurons), value in mean.items() if neurons == "matched"}
    matched = {change: f" (matched neurons: {percent(value)})" for change, value in control.items()}
    probability = "an average probability" if effects["sentence"].nunique() > 1 else "a probability"
    return (
        f"Without changes {answer!r} has {probability} of {percent(before)}; with the neurons off {percent(off)}"
        f"{matched.get('suppress', '')}, with the neurons doubled {percent(doubled)}{matched.get('amplify', '')}. "
        f"{_depends(before, off, control.get('suppress'))}"
    )


def _depends(before: float, off: float, matched_off: float | None) -> str:
    """Return what follows from probabilities of an answer before and after its neurons, or matched ones, are suppressed."""
    if off >= before:
        return "So the answer does not depend on these neurons."
    if matched_off is None:
        return "So the answer depends on these neurons; there are no matched ones to compare with."
    more = "more than" if off < matched_off else "no more than"
    return f"So the answer depends on these neurons, {more} on others as active."


def about_edit(effects: pd.DataFrame, instead: str) -> str:
    """Return sentences on the edit, compared with the same edit of matched neurons."""
    made = effects[effects["change"] == "edit"]
    right = (made["new_rank"] == 1).groupby(made["neurons"]).sum()
    own, n = right["own"], effects["sentence"].nunique()
    text = f"After the edit, {own} of {n} {'sentence is' if n == 1 else 'sentences are'} answered with {instead!r}"
    if "matched" not in right:
        return f"{text}; there are no matched neurons to compare with."
    if not own:
        follows = "So the edit fails."
    elif own > right["matched"]:
        follows = "So the edit needs these neurons."
    else:
        follows = "So the edit works, but it does not show that these neurons hold the fact: others as active work as well."
    return f"{text}; after the same edit of matched neurons, {right['matched']}. {follows}"


def about_elsewhere(elsewhere: pd.DataFrame, instead: str) -> str:
    """Return a sentence on what the edit does to other facts, from the table `answers_elsewhere`."""
    if elsewhere.empty:
        return "The model answers none of the other facts right that were tried, so nothing is known of what the edit harms."
    changed, new = elsewhere["changed"].sum(), (elsewhere["changed"] & elsewhere["new"]).sum()
    to_new = f"{new} of these {instead!r}" if new else f"none of these {instead!r}"
    return f"{len(elsewhere)} other facts were answered right before the edit; {changed} of them get another answer, {to_new}."
