"""The claim on web sentences (section 4.4)."""

import numpy as np

from kn_utils.chapters.distant_prompts.numbers import differences, fact_means, lost_without_tail
from kn_utils.stats.rule import Claim, Condition, Tables, half_the_paper, reported
from kn_utils.store.runs import NothingToShowError


def web_sentences(tables: Tables, seed: int) -> list[Condition]:
    """Web sentences with head and tail activate the knowledge neurons more than sentences with the head only, and random ones."""
    means = fact_means(tables["distant_prompts"]).query("method == 'attribution'")
    if means.empty:
        raise NothingToShowError("no fact has knowledge neurons and both kinds of sentences")
    contrasts = differences(means, seed).set_index("kind").reindex(["head_only", "random", "head_only_comparable"])
    head, random, comparable = contrasts[["difference", "low", "high"]].to_numpy().tolist()
    facts = contrasts["facts"].fillna(0).astype(int).to_dict()
    paper = [reported(np.subtract, "distant_head_and_tail", f"distant_{kind}") for kind in ("head_only", "random")]
    paper_lost = reported(lambda both, head: 100 * (1 - head / both), "distant_head_and_tail", "distant_head_only")
    lost = Condition(
        "% of the activation that is lost without the tail", *lost_without_tail(means, seed), len(means), paper=paper_lost
    )
    against_comparable = "activation, tail minus a comparable word of a head-only sentence"
    return [
        Condition("activation, head and tail minus head only", *head, facts["head_only"], above=0, paper=paper[0]),
        Condition("activation, head and tail minus random sentences", *random, facts["random"], above=0, paper=paper[1]),
        Condition(against_comparable, *comparable, facts["head_only_comparable"], above=0),
        half_the_paper(lost),
    ]


CLAIMS = (Claim("4.4", "sentences that state the fact activate them more than others", ("distant_prompts",), web_sentences),)
