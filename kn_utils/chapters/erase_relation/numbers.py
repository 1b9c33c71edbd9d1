"""Statistics of step 7's tables, for notebook 07 and the claim on erased relations."""

import numpy as np
import pandas as pd

from kn_utils.plots.markup import plain, relation_name
from kn_utils.plots.style import NAMES
from kn_utils.stats.intervals import independent_difference, interval_of_sums, number, with_interval

OWN, OTHERS = "the relation itself", "all other relations"
BEFORE, AFTER, RISE = "perplexity before", "perplexity after", "rise of perplexity (%)"
ACCURACY_BEFORE, ACCURACY_AFTER, LOSS = "accuracy before (%)", "accuracy after (%)", "change of accuracy (points)"
QUANTITIES = (BEFORE, AFTER, RISE, ACCURACY_BEFORE, ACCURACY_AFTER, LOSS)
ERASED_IN_THE_PAPER = ("P19", "P27", "P106", "P937")
LIMITS = np.transpose(
    [[1, np.inf], [1, np.inf], [-100, np.inf], [0, 100], [0, 100], [-100, 100]]
)  # of the values of `QUANTITIES`
KNOWN = 10  # %; a relation with fewer right answers is not known, and has nothing to erase
FEW_ERASURES = 4  # whose ratios a sentence can list
SCORES = ["prompts", "correct", "log_probability"]
SUMS = ["prompts", "log_probability"]
PAPER = {  # the ids of the paper's values are erase_<relation>_<this>
    (OWN, BEFORE): "before",
    (OWN, AFTER): "after",
    (OTHERS, BEFORE): "others_before",
    (OTHERS, AFTER): "others_after",
}


def perplexity_rise(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the rise (%) of perplexity, which is exp(-mean ln P(object)), given the means of ln P(object) before and after."""
    return 100 * np.expm1(before - after)


def erasures(facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return perplexity and accuracy before and after each erasure; `facts` is step 7's table `erase_facts`.

    Columns relation, method, neurons, where (`OWN` or `OTHERS`), quantity (of `QUANTITIES`), value, low, high, facts, prompts. Intervals
    for the relation itself are from its facts, those for others from relations.
    """
    rows = []
    for place, group in facts.groupby(["relation", "method", "neurons", _where(facts)], sort=False):
        pairs = group.pivot(index=["evaluated", "fact"], columns="phase", values=SCORES)
        values = pairs[[(score, phase) for phase in ("before", "after") for score in SCORES]]
        found = interval_of_sums(_quantities, values, pairs.index.get_level_values("evaluated"), seed, LIMITS)
        counts = (len(pairs), int(values.iloc[:, 0].sum()))
        rows += [(*place, *row, *counts) for row in zip(QUANTITIES, *found, strict=True)]
    names = ["relation", "method", "neurons", "where", "quantity", "value", "low", "high", "facts", "prompts"]
    return pd.DataFrame(rows, columns=names)


def log_rises(facts: pd.DataFrame, method: str, seed: int, minus: str = "") -> tuple[float, float, float]:
    """Return ln(perplexity after / before) of the evaluated facts, for one method or as its difference to another: (estimate, low, high).

    `facts` has rows of step 7's table `erase_facts` for one erasure. Of one relation, the interval is from its facts, else from relations.
    """
    methods = [method, minus] if minus else [method]
    wide = facts.pivot(index=["evaluated", "fact"], columns=["method", "phase"], values=["prompts", "log_probability"])
    values = wide[[(name, method, phase) for method in methods for phase in ("before", "after") for name in SUMS]]

    def rise(sums: np.ndarray) -> np.ndarray:
        prompts_before, before, prompts_after, after, *other = np.moveaxis(sums, -1, 0)
        own = before / prompts_before - after / prompts_after
        return own - (other[1] / other[0] - other[3] / other[2]) if other else own

    return interval_of_sums(rise, values, wide.index.get_level_values("evaluated"), seed)


def relative_rise(own: pd.DataFrame, others: pd.DataFrame, seed: int) -> tuple[float, float, float]:
    """Return the perplexity of the erased relation, after / before, divided by that of all others: (estimate, low, high).

    `own` and `others` are the rows of step 7's table `erase_facts` for one erasure.
    """
    rises = (log_rises(facts, "attribution", seed) for facts in (own, others))
    return tuple(np.exp(independent_difference(*rises)))


def right_before(own: pd.DataFrame) -> float:
    """Return the share (%) of the erased relation's prompts that were answered right before the erasure."""
    before = own[(own["phase"] == "before") & (own["method"] == "attribution")]
    return 100 * before["correct"].sum() / before["prompts"].sum()


def _where(table: pd.DataFrame) -> np.ndarray:
    return np.where(table["evaluated"] == table["relation"], OWN, OTHERS)


def _quantities(sums: np.ndarray) -> np.ndarray:
    """Return `QUANTITIES`, given the sums of `SCORES` before and after, as the last axis."""
    phases = np.split(np.moveaxis(sums, -1, 0), 2)
    logs = [log_probability / prompts for prompts, _, log_probability in phases]
    accuracies = [100 * correct / prompts for prompts, correct, _ in phases]
    found = [*np.exp(np.negative(logs)), perplexity_rise(*logs), *accuracies, accuracies[1] - accuracies[0]]
    return np.stack(found, axis=-1)


def sizes(erasures: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of facts, prompts, and erased neurons of each method, for each erasure and where it was evaluated."""
    once = erasures.drop_duplicates(["relation", "where", "method"])
    counts = once.groupby(["relation", "where"], sort=False)[["facts", "prompts"]].first()
    neurons = once.pivot(index=["relation", "where"], columns="method", values="neurons").reindex(columns=list(NAMES))
    return counts.join(neurons.rename(columns=lambda method: f"neurons, {NAMES[method]}"))


def counted(evaluated: pd.DataFrame) -> str:
    """Return the numbers of evaluated facts as text, for titles; from the table of `erasures` or `doses`."""
    facts = evaluated.groupby("where")["facts"].max().reindex([OWN, OTHERS], fill_value=0)
    return f"up to {facts[OWN]} of its facts, {facts[OTHERS]} of others"


def finding(erasures: pd.DataFrame) -> str:
    """Return sentences on the effect of erasures on perplexity, from the table of `erasures`."""
    rises = erasures[erasures["quantity"] == RISE].pivot(index="relation", columns=["method", "where"], values="value")
    own, random, others = (rises.get(place) for place in (("attribution", OWN), ("random", OWN), ("attribution", OTHERS)))
    if own is None:
        return "None of the erased relations could be evaluated."
    medians = " (medians over the erased relations)" * (len(rises) > 1)
    beside = "" if others is None else f" and that of all other relations by {number(others.median())} %"
    return (
        f"An erasure changes the perplexity of the relation by {number(own.median())} %{beside}; "
        f"if random neurons are erased, that of the relation changes by {number(random.median())} %{medians}."
    )


def comparison(facts: pd.DataFrame, labels: dict[str, str], seed: int) -> str:
    """Return Markdown: in how many erasures the relation suffers more than all others, by the interval, and which are not tested.

    `facts` is step 7's table `erase_facts`. The claim's controls are not in it.
    """
    ratios, unknown = {}, []
    for relation, rows in facts.groupby("relation", sort=False):
        is_own = rows["evaluated"] == relation
        if is_own.all() or not is_own.any():
            continue
        name, right = plain(relation_name(relation, labels)), right_before(rows[is_own])
        if right < KNOWN:
            unknown.append(f"{name}, {number(right)} %")
        else:
            ratios[name] = relative_rise(rows[is_own], rows[~is_own], seed)
    sentences = [_above_one(ratios)] if ratios else []
    if unknown:
        sentences.append(
            f"Not tested, since fewer than {KNOWN} % of the prompts were answered right before: {'; '.join(unknown)}."
        )
    return " ".join(sentences)


def _above_one(ratios: dict[str, tuple[float, float, float]]) -> str:
    above = sum(low > 1 for _, low, _ in ratios.values())
    listed = f": {'; '.join(f'{name} {with_interval(*ratio)}' for name, ratio in ratios.items())}"
    return (
        "The perplexity of the relation, after / before, divided by that of all others, is above 1 with its whole 95 % interval in "
        f"{above} of {len(ratios)} tested erasures{listed if len(ratios) <= FEW_ERASURES else ''}."
    )


def by_paper_id(erasures: pd.DataFrame) -> dict[str, tuple[float, float, float, int]]:
    """Return our (perplexity, low, high, number of facts) for each id of the paper's values."""
    same = erasures[(erasures["method"] == "attribution") & erasures["relation"].isin(ERASED_IN_THE_PAPER)]
    return {
        f"erase_{row.relation}_{PAPER[row.where, row.quantity]}": (row.value, row.low, row.high, row.facts)
        for row in same.itertuples()
        if (row.where, row.quantity) in PAPER
    }


def rises_by_relation(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the rise of perplexity (%) of every evaluated relation (columns, erased ones first) for each erasure (rows) by one method."""
    means = table[table["method"] == method].assign(mean=lambda rows: rows["log_probability"] / rows["prompts"])
    wide = means.pivot(index="relation", columns=["phase", "evaluated"], values="mean")
    rises = perplexity_rise(wide["before"], wide["after"])
    erased, evaluated = (list(dict.fromkeys(table[column])) for column in ("relation", "evaluated"))
    return rises.loc[erased, sorted(evaluated, key=lambda name: erased.index(name) if name in erased else len(erased))]


def most_harmed(rises: pd.DataFrame, n: int = 3) -> pd.DataFrame:
    """Return the n other relations with the largest rise of perplexity for each erasure: columns erased, evaluated, rise (%)."""
    most = {name: rises.loc[name].drop(name, errors="ignore").nlargest(n) for name in rises.index}
    rows = [(name, other, rise) for name, others in most.items() for other, rise in others.items()]
    return pd.DataFrame(rows, columns=["erased", "evaluated", RISE])


def doses(table: pd.DataFrame) -> pd.DataFrame:
    """Return the perplexity for each number of erased neurons; `table` is step 7's `erase_dose`.

    Columns relation, method, where, neurons, facts, perplexity, ratio (to the perplexity without erasure).
    """
    keys = ["relation", "method", "where", "neurons"]
    ordered = table.assign(where=_where(table)).sort_values("neurons", kind="stable")
    sums = ordered.groupby(keys, sort=False)[["facts", *SCORES]].sum().reset_index()
    sums["perplexity"] = np.exp(-sums["log_probability"] / sums["prompts"])
    sums["ratio"] = sums["perplexity"] / sums.groupby(keys[:-1])["perplexity"].transform("first")
    return sums[[*keys, "facts", "perplexity", "ratio"]]
