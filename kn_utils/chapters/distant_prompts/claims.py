"""The claim on web sentences (section 4.4)."""

import numpy as np

from kn_utils.chapters.distant_prompts.numbers import differences, fact_means, lost_without_tail
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, reported, untested
from kn_utils.store.runs import NothingToShowError

COMPARABLE = "activation, tail minus a comparable word of a head-only sentence"


def web_sentences(tables: Tables, seed: int) -> list[Condition]:
    """The neurons are more active at the tail than at a comparable word of a sentence without it, any such word, and random words."""
    means = fact_means(tables["distant_prompts"]).query("method == 'attribution'")
    if means.empty:
        raise NothingToShowError("no fact has knowledge neurons and both kinds of sentences")
    found = differences(means, seed).set_index("kind")
    if "head_only_comparable" not in found.index:
        raise NothingToShowError("no head-only sentence has a word that is comparable with the tail")
    paper = {kind: reported(np.subtract, "distant_head_and_tail", f"distant_{kind}") for kind in ("head_only", "random")}

    def contrast(kind: str, text: str, **more) -> Condition:
        if kind not in found.index:
            return untested(text, "there are no such sentences", more.get("role", CONTROL))
        row = found.loc[kind]
        return Condition(text, row["difference"], row["low"], row["high"], n=int(row["facts"]), above=0, **more)

    lost = [lost_without_tail(means, kind, seed) for kind in ("head_only_comparable", "head_only")]
    paper_lost = reported(lambda both, head: 100 * (1 - head / both), "distant_head_and_tail", "distant_head_only")
    text = "% of the activation that is lost without the tail"
    return [
        contrast("head_only_comparable", COMPARABLE),
        contrast("head_only", "activation, head and tail minus head only, any word", role=CONTROL, paper=paper["head_only"]),
        contrast("random", "activation, head and tail minus random sentences", role=CONTROL, paper=paper["random"]),
        Condition(f"{text}, comparable words", *lost[0], n=len(means), role=SHOWN),
        Condition(f"{text}, any word", *lost[1], n=len(means), role=SHOWN, paper=paper_lost),
    ]


CLAIMS = (Claim("4.4", "sentences that state the fact activate them more than others", ("distant_prompts",), web_sentences),)
