"""Statistics of the tables of notebook 14."""

import time
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from kn_utils.chapters.which_score.table import EXACT, RECALL_SIZES
from kn_utils.model.forward import probability_of
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, stack, usable_prompts
from kn_utils.model.scores import scores_of
from kn_utils.stats.intervals import INTERVAL, mean_of_relations, side_by_side, with_interval
from kn_utils.stats.means import group_sums, relation_means
from kn_utils.store.runs import PROMPT_KEY, NothingToShowError, Run
from kn_utils.store.workers import one_thread

NAMES = {
    "released": "integrated gradients, released",
    "controlled": "integrated gradients, error-controlled",
    "log_odds": "integrated gradients of the log-odds",
    "gradient": "gradient x activation",
    "frozen_norms": "gradient x activation, norms frozen",
    "log_probability": "log-probability increase",
    "static_logit": "static logit contribution",
    "activation": "activation (the paper's baseline)",
    "magnitude": "|activation| x |value vector|",
    EXACT: "exact effects",
}
RANKS = {"rank_correlation": "rank correlation"} | {f"recall_{size}": f"recall, {size} neurons" for size in RECALL_SIZES}
SHARES = {size: f"joint share, {size} neurons (%)" for size in RECALL_SIZES}
AREA = "area (%)"


class JointShares:
    """What the named set of each score does, as a share of what the best set does: [scores, sizes, relations].

    The share of a relation is the sum over its prompts of the decrease by the named set, divided by the same sum for the set with the
    largest exact effects. `probability` takes the decrease of the object's probability in place of that of its log-odds.
    Raises NothingToShowError if there is no prompt.
    """

    def __init__(self, sets: pd.DataFrame, ablation: str, probability: bool = False):
        rows = _chosen(sets, ablation)
        scale = probability_of if probability else np.asarray
        drops = rows.assign(drop=scale(rows["log_odds_before"]) - scale(rows["log_odds_after"]))
        wide = drops.pivot(index=PROMPT_KEY, columns=["score", "size"], values="drop").sort_index(axis="columns")
        self.relations = wide.index.get_level_values("relation")
        names, self.sizes = (list(level) for level in wide.columns.levels)
        values = wide.to_numpy(float).reshape(len(wide), len(names), len(self.sizes))
        self.scores = [name for name in NAMES if name in names and name != EXACT]
        self.best = values[:, names.index(EXACT)]
        self.named = values[:, [names.index(name) for name in self.scores]]

    def __call__(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the shares (%); NaN for a relation in which the best set has no effect."""
        best = group_sums(self.best[rows], groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = 100 * group_sums(self.named[rows], groups) / np.where(best > 0, best, np.nan)[:, None]
        return np.moveaxis(shares, 0, -1)

    def at(self, sizes: Sequence[int]) -> list[int]:
        """Return the places of some sizes."""
        return [self.sizes.index(size) for size in sizes]


def _chosen(table: pd.DataFrame, ablation: str) -> pd.DataFrame:
    if table.empty:
        raise NothingToShowError("no prompt of these relations has a probability in the range that notebook 14 asks for")
    return table[table["ablation"] == ablation]


def leaderboard(ranks: pd.DataFrame, sets: pd.DataFrame, ablation: str, seed: int) -> pd.DataFrame:
    """Return every statistic of every score, as means over relations: columns score, quantity, `INTERVAL`.

    `ranks` and `sets` are the tables `which_score` and `score_sets`. The area is the mean joint share over the logarithm of the set's size.
    """
    share = JointShares(sets, ablation)
    sizes, chosen = np.log2(share.sizes), share.at(RECALL_SIZES)

    def shares(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:  # [scores, quantities, relations]
        found = share(rows, groups)
        area = np.trapezoid(found, sizes, axis=1) / (sizes[-1] - sizes[0])
        return np.concatenate([found[:, chosen], area[:, None]], axis=1)

    wide = _chosen(ranks, ablation).pivot(index=PROMPT_KEY, columns="score", values=list(RANKS))
    means = relation_means(np.stack([wide[name][share.scores].to_numpy(float) for name in RANKS], axis=-1))
    limits = (np.array([-1, *[0] * len(RECALL_SIZES)]), 1)  # of a correlation, and of recall
    found = [
        _long(mean_of_relations(means, share.relations, seed, limits), share.scores, RANKS.values()),
        _long(mean_of_relations(shares, share.relations, seed), share.scores, [*SHARES.values(), AREA]),
    ]
    return pd.concat(found, ignore_index=True)


def _long(found: Sequence[np.ndarray], first: Sequence, second: Sequence) -> pd.DataFrame:
    """Return arrays [first, second] as rows: columns score, quantity, `INTERVAL`."""
    index = pd.MultiIndex.from_product([first, second], names=["score", "quantity"])
    return pd.DataFrame({name: np.ravel(array) for name, array in zip(INTERVAL, found, strict=True)}, index=index).reset_index()


def curves(sets: pd.DataFrame, ablation: str, seed: int) -> pd.DataFrame:
    """Return the mean joint share of each score and size of the set: columns score, size, `INTERVAL`."""
    share = JointShares(sets, ablation)
    found = _long(mean_of_relations(share, share.relations, seed), share.scores, share.sizes)
    return found.rename(columns={"quantity": "size"})


def differences(sets: pd.DataFrame, ablation: str, seed: int, probability: bool = False) -> pd.DataFrame:
    """Return the difference of the joint shares of every two scores, at both sizes of the rule: columns a, b, size, `INTERVAL`.

    The difference is a minus b, in points.
    """
    share = JointShares(sets, ablation, probability)
    pairs = list(permutations(range(len(share.scores)), 2))
    a, b = np.transpose(pairs)
    chosen = share.at(RECALL_SIZES)

    def difference(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        found = share(rows, groups)[:, chosen]
        return found[a] - found[b]

    found = _long(mean_of_relations(difference, share.relations, seed), range(len(pairs)), RECALL_SIZES)
    names = {"a": [share.scores[a[pair]] for pair in found["score"]], "b": [share.scores[b[pair]] for pair in found["score"]]}
    return pd.DataFrame(names).join(found.drop(columns="score").rename(columns={"quantity": "size"}))


def beats(differences: pd.DataFrame) -> pd.DataFrame:
    """Return whether score a (rows) beats score b (columns): at both sizes the whole interval of the difference is above zero."""
    above = differences.assign(above=differences["low"] > 0).groupby(["a", "b"])["above"].all()
    order = [name for name in NAMES if name in set(differences["a"])]
    return above.unstack(fill_value=False).loc[order, order]


def named_table(board: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `leaderboard` for display: a row per score, best area first, and "value [low, high]" for each quantity."""
    wide = side_by_side(board, ["score"], ["quantity"])[[*RANKS.values(), *SHARES.values(), AREA]]
    order = board[board["quantity"] == AREA].sort_values("value", ascending=False)["score"]
    return wide.loc[order].rename(index=NAMES).rename_axis(index="score", columns=None)


def named_beats(beaten: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `beats` for display: a dot where the score of the row beats that of the column, named by its number."""
    numbered = {name: f"{number}" for number, name in enumerate(beaten.columns, start=1)}
    rows = {name: f"{numbered[name]} {NAMES[name]}" for name in beaten.index}
    shown = beaten.map(lambda above: "●" if above else "–").rename(index=rows, columns=numbered)
    return shown.rename_axis(index="score", columns=None)


def counted_dots(beaten: pd.DataFrame) -> str:
    """Return how many dots `named_beats` shows, or a sentence that there is none."""
    dots, pairs = int(beaten.to_numpy().sum()), len(beaten) * (len(beaten) - 1)
    return f"Dots: {dots} of {pairs} possible." if dots else "There is no dot: no score beats another here."


def named_differences(differences: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Return the differences of some scores from all others for display, a column per size of the set."""
    rows = differences[differences["a"].isin(scores)]
    names = [f"{NAMES[row.a]} minus {NAMES[row.b]}" for row in rows.itertuples()]
    named = rows.assign(size=[f"{size} neurons" for size in rows["size"]], **{"difference (points)": names})
    wide = side_by_side(named, ["difference (points)"], ["size"], INTERVAL)
    return wide[[f"{size} neurons" for size in RECALL_SIZES]].rename_axis(columns=None)


def finding(board: pd.DataFrame, beaten: pd.DataFrame) -> str:
    """Return sentences on the best score, the paper's and the baseline; `board` and `beaten` are of `leaderboard` and `beats`."""
    four = board[board["quantity"] == SHARES[RECALL_SIZES[0]]].set_index("score")
    best = four["value"].idxmax()
    shown = dict.fromkeys([best, "gradient", "released", "activation"])
    text = [f"{NAMES[name]} {with_interval(*four.loc[name, INTERVAL[:3]], unit=' %')}" for name in shown]
    winners = [f"{NAMES[name]} ({int(row.sum())} of {len(row) - 1})" for name, row in beaten.iterrows() if row.any()]
    return (
        f"The four neurons with the highest scores, ablated together, do this share of what the best four do: {'; '.join(text)}. "
        f"By the rule above, these scores beat others: {'; '.join(winners) or 'none'}."
    )


def prompt_of(lm: LanguageModel, run: Run, ranks: pd.DataFrame) -> Prompt:
    """Return the first prompt of the table `which_score`."""
    relation, fact, index = ranks[PROMPT_KEY].iloc[0]
    return next(prompt for prompt in usable_prompts(lm, run.dataset, run.dataset.facts[relation][fact]) if prompt.index == index)


def core_seconds(lm: LanguageModel, prompt: Prompt) -> pd.Series:
    """Return the processor time of each score for a prompt, in seconds on one thread; each is called once before, to warm up."""
    batch, found = stack([prompt], lm.device), {}
    with one_thread():
        for name, score in scores_of(lm).items():
            score(lm, batch)
            began = time.process_time()
            score(lm, batch)
            found[name] = time.process_time() - began
    return pd.Series(found)
