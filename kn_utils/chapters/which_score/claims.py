"""Claims on scores, which are ours and not the paper's.

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

from functools import partial

from kn_utils.chapters.which_score.numbers import INTERVAL, NAMES, differences
from kn_utils.chapters.which_score.table import ABLATIONS, RECALL_SIZES
from kn_utils.stats.rule import CLAIM, CONTROL, Claim, Condition, Tables, counted
from kn_utils.store.runs import PROMPT_KEY


def names_better(score: str, other: str, controls: tuple[str, ...], tables: Tables, seed: int) -> list[Condition]:
    """The neurons that a score names do more, together, than those that another names: sets of both sizes, set to zero.

    The same neurons set to their mean are controls, and so is the comparison with the scores `controls`.
    """
    sets = tables["score_sets"]
    size_of_sample = counted("prompts", sets.drop_duplicates(PROMPT_KEY)["relation"])
    conditions = []
    for ablation in ABLATIONS:
        found = differences(sets, ablation, seed).set_index(["a", "b", "size"])[INTERVAL]
        for against in (other, *controls):
            role = CLAIM if (ablation, against) == (ABLATIONS[0], other) else CONTROL
            for size in RECALL_SIZES:
                contrast = f"joint share (%) of {size} neurons set to {ablation}: {NAMES[score]} minus {NAMES[against]}"
                interval = found.loc[(score, against, size)]
                conditions.append(Condition(contrast, *interval, **size_of_sample, above=0, role=role))
    return conditions


_TABLES = ("score_sets",)
CLAIMS = (
    Claim(
        "14, beyond the paper",
        "gradient x activation names neurons that matter more than those of integrated gradients",
        _TABLES,
        partial(names_better, "gradient", "released", ("controlled",)),
    ),
    Claim(
        "14, beyond the paper",
        "integrated gradients name neurons that matter more than the most active ones",
        _TABLES,
        partial(names_better, "released", "activation", ()),
    ),
)
