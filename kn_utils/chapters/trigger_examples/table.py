"""Step 5: the web sentences of a fact that activate its knowledge neurons most and least."""

from pathlib import Path

import pandas as pd

from kn_utils.data.facts import WebSentences
from kn_utils.model.sentences import digest
from kn_utils.parameters import check
from kn_utils.store.runs import Run

_COLUMNS = {"relation": str, "fact": "int32", "method": str, "sentence": "int32", "rank": "int32", "of": "int32"}
_COLUMNS |= {"score": "float64", "start": "int32", "end": "int32", "text": str}


def rank_sentences(run: Run, relation: str, n: int = 3) -> Path:
    """Make the table `trigger_examples` of a relation, and return its path (section 4.4).

    For each fact and method, the head-and-tail sentences are ranked by the sum of the activations of the fact's neurons. The `n` highest
    and the `n` lowest are kept. `rank` 1 is the highest, and `of` is the number of ranked sentences. The characters of `text` from
    `start` to before `end` are masked. Raises as `Run.made_with` for step 4, and ValueError if the web sentences have changed.
    """
    check(n_examples=n)
    sentences = run.dataset.web_sentences(relation)
    if run.made_with("distant_prompts", relation)["sentences"] != digest(sentences):
        raise ValueError(f"the web sentences of {relation} have changed: run notebooks/04_distant_prompts.ipynb again")
    facts = run.read("facts", [relation])["fact"].tolist()

    def work(_) -> dict[str, pd.DataFrame]:
        return {"trigger_examples": rank(run.read("distant_prompts", [relation]), sentences, n)}

    return run.make("trigger_examples", relation, facts, work, {"n_examples": n}, per_part=len(facts))


def rank(activations: pd.DataFrame, sentences: list[WebSentences], n: int) -> pd.DataFrame:
    """Return the `n` highest and the `n` lowest head-and-tail sentences of each fact and method, highest first.

    `activations` is step 4's table, `sentences` are the web sentences of the relation. Sentences with equal scores keep their order.
    """
    table = activations.query("kind == 'head_and_tail'").copy()
    table["score"] = table["activation"] * table["neurons"]
    table = table.sort_values(["fact", "method", "score", "sentence"], ascending=[True, True, False, True])
    ranked = table.groupby(["fact", "method"])
    table["rank"], table["of"] = ranked.cumcount() + 1, ranked["sentence"].transform("size")
    kept = table[(table["rank"] <= n) | (table["rank"] > table["of"] - n)]
    texts = [sentences[fact].head_and_tail[index] for fact, index in zip(kept["fact"], kept["sentence"], strict=True)]
    return kept.assign(text=texts)[list(_COLUMNS)].astype(_COLUMNS).reset_index(drop=True)
