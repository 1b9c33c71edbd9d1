"""Step 5 as a table: a fact's web sentences that trigger its knowledge neurons most and least."""

from pathlib import Path

import pandas as pd

from kn_utils.checks import check_whole
from kn_utils.facts import WebSentences
from kn_utils.results import compute_in_parts
from kn_utils.runs import Run
from kn_utils.sentences import digest

_COLUMNS = {"relation": str, "fact": "int32", "method": str, "sentence": "int32", "rank": "int32", "of": "int32"}
_COLUMNS |= {"score": "float64", "start": "int32", "end": "int32", "text": str}


def rank_sentences(run: Run, relation: str, n: int = 3) -> Path:
    """Make the table `trigger_examples` of a relation from step 4's and return its path (section 4.4).

    Per fact and method, the head-and-tail sentences are ranked by the summed activation of the fact's neurons; the `n` highest and the
    `n` lowest are kept, each once: `rank` counts from 1, the highest, to `of`; the masked word is between `start` and `end` of `text`.
    Raises FileNotFoundError if step 4 has not been run, and ValueError if it was with other facts, another draw or other sentences.
    """
    check_whole("n_examples", n)
    upstream = run.made_with("distant_prompts", relation)
    sentences = run.dataset.web_sentences(relation)
    if upstream["sentences"][relation] != digest(sentences):
        raise ValueError(f"the web sentences of {relation} have changed: run notebooks/04_distant_prompts.ipynb again")
    carried = {name: upstream[name] for name in ("weights", "settings", "dtype", "device")}
    inputs = run.inputs("trigger_examples", relation) | carried | {"n_examples": n, "distant_prompts": upstream}
    main = run.path("trigger_examples", relation)
    facts = run.read("facts", [relation])["fact"].tolist()

    def work(_) -> dict[str, pd.DataFrame]:
        return {"trigger_examples": rank(run.read("distant_prompts", [relation]), sentences, n)}

    compute_in_parts(main, (), inputs, facts, work, per_part=len(facts))
    return main


def rank(read: pd.DataFrame, sentences: list[WebSentences], n: int) -> pd.DataFrame:
    """Return the highest and lowest `n` head-and-tail sentences of every fact and method of step 4's table `read`, highest first.

    Equal scores keep the sentences' order. `sentences` are the relation's.
    """
    table = read.query("kind == 'head_and_tail'").copy()
    table["score"] = table["activation"] * table["neurons"]
    table = table.sort_values(["fact", "method", "score", "sentence"], ascending=[True, True, False, True])
    own = table.groupby(["fact", "method"])
    table["rank"], table["of"] = own.cumcount() + 1, own["sentence"].transform("size")
    kept = table[(table["rank"] <= n) | (table["rank"] > table["of"] - n)]
    texts = [sentences[fact].head_and_tail[index] for fact, index in zip(kept["fact"], kept["sentence"], strict=True)]
    return kept.assign(text=texts)[list(_COLUMNS)].astype(_COLUMNS).reset_index(drop=True)
