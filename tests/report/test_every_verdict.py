"""Every claim can get every verdict: tables made by hand, in which an effect is there, unclear or the other way round."""

import math

import pandas as pd
import pytest

from kn_utils.report.judge import CLAIMS, judge
from kn_utils.stats.rule import CONTRADICTED, OPEN, PARTLY, SUPPORTED, UNTESTED

pytestmark = pytest.mark.usefixtures("few_resamples")
RELATIONS = ("P19", "P2", "P3", "P4")  # of which the paper erases P19
YES, NO, WRONG, MAYBE = (1.0, 1.1, 0.9, 1.0), (0.0, 0.0, 0.0, 0.0), (-1.0, -1.1, -0.9, -1.0), (3.0, -2.0, 2.5, -3.0)
FACTS = range(3)
ALL_KNOWN, ONE_UNKNOWN = (True, True, True), (True, True, False)


def by_relation(values):
    """(relation, fact, value): three facts of each relation."""
    return [(relation, fact, value) for relation, value in zip(RELATIONS, values, strict=True) for fact in FACTS]


def answers(own, other=(), known=ALL_KNOWN):
    """Step 3's table: changes of log-odds by relation for each method; suppressing changes by the negative of amplifying."""
    rows = [
        (relation, fact, 0, method, operation, target, known[fact], 0.0, sign * value, 0.5, 1 / (1 + math.exp(-sign * value)))
        for target, methods in (("own", own), ("other", dict(other)))
        for method, values in methods.items()
        for relation, fact, value in by_relation(values)
        for operation, sign in (("suppress", -1), ("amplify", 1))
    ]
    columns = ["relation", "fact", "prompt", "method", "operation", "target", "correct_before"]
    columns += ["log_odds_before", "log_odds_after", "probability_before", "probability_after"]
    return {"modify_activation": pd.DataFrame(rows, columns=columns)}


def changes(ours, matched=NO, known=ALL_KNOWN):
    return answers({"attribution": ours, "activation": NO, "random": NO, "matched": matched}, known=known)


def changes_that_cancel():
    """Half of the effect in other facts, up in one and down in the next."""
    tables = answers({"attribution": YES}, {"attribution": NO})
    other = tables["modify_activation"]["target"] == "other"
    tables["modify_activation"].loc[other, "log_odds_after"] = tables["modify_activation"]["fact"].map({0: 0.5, 1: -0.5, 2: 0.0})
    return tables


def rounds(before):
    rows = [(name, "attribution", number, 0.7, value) for name, value in zip(RELATIONS, before, strict=True) for number in (1, 2)]
    return {"refinement": pd.DataFrame(rows, columns=["relation", "method", "round", "prompt_share", "mean_neurons"])}


def found(ours, baseline, objects=("x", "y", "z")):
    """Steps 1 and 2: for each method, the neurons of fact `fact` of the relation number `relation`, as (layer, index)."""
    facts = [(name, fact, "subject", objects[fact], 3, "") for name in RELATIONS for fact in FACTS]
    rows = [
        (name, fact, method, *neuron)
        for method, neurons in (("attribution", ours), ("activation", baseline))
        for number, name in enumerate(RELATIONS)
        for fact in FACTS
        for neuron in neurons(number, fact)
    ]
    return {
        "facts": pd.DataFrame(facts, columns=["relation", "fact", "subject", "object", "prompts", "left_out_because"]),
        "knowledge_neurons": pd.DataFrame(rows, columns=["relation", "fact", "method", "layer", "neuron"]),
        "completeness": pd.DataFrame([(name, layer) for name in RELATIONS for layer in range(3)], columns=["relation", "layer"]),
    }


def high(number, fact):
    return [(2, 10 * number + fact)]


def low(number, fact):
    return [(0, 10 * number + fact)]


def sometimes_high(number, fact):
    return high(number, fact) if number % 2 else low(number, fact)


def of_relation(number, fact):
    """One neuron for all facts of a relation."""
    return [(2, number)]


def of_fact(number, fact):
    """One neuron of the fact alone."""
    return [(2, 10 * number + fact)]


def of_all(number, fact):
    """One neuron for all facts."""
    return [(2, 0)]


def of_first_two(number, fact):
    """The first two facts of a relation share a neuron."""
    return [(2, 10 * number + max(fact, 1))]


def across(number, fact):
    """Facts with the same number share a neuron across relations."""
    return [(2, fact)]


def sometimes_across(number, fact):
    """Two of four relations share within, two across."""
    return of_relation(number, fact) if number < 2 else [(2, 100 + fact)]


def several_of_all(number, fact):
    """Many neurons that all facts have."""
    return [(2, index) for index in range(5)]


def in_every_second(number, fact):
    return of_all(number, fact) if number % 2 else of_fact(number, fact)


def sentences(tail, comparable, any_word=NO):
    kinds = {"head_and_tail": tail, "head_only_comparable": comparable, "head_only": any_word, "random": any_word}
    rows = [
        (name, fact, "attribution", kind, value) for kind, values in kinds.items() for name, fact, value in by_relation(values)
    ]
    return {"distant_prompts": pd.DataFrame(rows, columns=["relation", "fact", "method", "kind", "activation"])}


def edits(ours, matched=(0, 0, 0, 0), harm=1.0):
    """Step 6's table: for each relation the number of the four other templates that an edit reaches; `harm` multiplies perplexity."""
    methods = {"attribution": ours, "matched": matched, "random": (1, 1, 1, 1)}
    harms = harm if isinstance(harm, tuple) else (harm,) * 4
    rows = []
    for method, counts in methods.items():
        for name, count, factor in zip(RELATIONS, counts, harms, strict=True):
            done = count > 1
            perplexities = (10.0, 10 * factor) * 2
            row = ("scaled", method, method != "attribution", done, done, count + done, count + done, 5, *perplexities)
            rows += [(name, fact, *row) for fact in FACTS]
    columns = ["relation", "fact", "rule", "method", "control", "changed", "success", "templates_changed", "templates_success"]
    columns += ["templates", *(f"perplexity_{kind}_{when}" for kind in ("same", "other") for when in ("before", "after"))]
    return {"edit_facts": pd.DataFrame(rows, columns=columns)}


def erasures(own, others=(1.0, 1.0, 1.0), baseline=(1.0, 1.0, 1.0), right=1):
    """Step 7's table: what an erasure of P19 multiplies the perplexity of its facts and of the other relations by."""
    factors = {"attribution": (own, others), "activation": (baseline, others), "random": ((1.0, 1.0, 1.0), others)}
    rows = [
        ("P19", method, evaluated, fact, phase, 2, 2 * right, -2 * math.log(factor if phase == "after" else 1) - 2)
        for method, (inside, outside) in factors.items()
        for evaluated, values in [("P19", inside), *((name, (value,) * 3) for name, value in zip(RELATIONS[1:], outside, strict=True))]
        for fact, factor in enumerate(values)
        for phase in ("before", "after")
    ]  # fmt: skip
    columns = ["relation", "method", "evaluated", "fact", "phase", "prompts", "correct", "log_probability"]
    return {"erase_facts": pd.DataFrame(rows, columns=columns)}


def score_sets(better, if_mean=None):
    """Notebook 14's table: by relation, how much better gradient x activation is than integrated gradients, and these than activation."""
    by_ablation = {"zero": better, "mean": if_mean or better}
    rows = [
        (name, 0, 0, score, ablation, size, 0.0, -effect)
        for ablation, values in by_ablation.items()
        for name, value in zip(RELATIONS, values, strict=True)
        for score, effect in {"exact": 1, "gradient": value, "released": 0, "controlled": 0, "activation": -value}.items()
        for size in (4, 20)
    ]
    columns = ["relation", "fact", "prompt", "score", "ablation", "size", "log_odds_before", "log_odds_after"]
    return {"score_sets": pd.DataFrame(rows, columns=columns)}


def knowledge(unknown, no_fact=NO, known=(2.0, 2.1, 1.9, 2.0)):
    """Notebook 12's table: by relation, the decrease of log-odds for known facts, for those never right, and for wrong objects."""
    groups = {"known": known, "never right": unknown, "wrong object": no_fact}
    rows = [
        (name, fact, group, 0.0, -value, 0.0) for group, values in groups.items() for name, fact, value in by_relation(values)
    ]
    columns = ["relation", "fact", "group", "log_odds_before", "log_odds_after", "log_odds_matched"]
    return {"is_it_knowledge": pd.DataFrame(rows, columns=columns)}


def swaps(word, same=NO, matched=NO, own=(2.0, 2.1, 1.9, 2.0), unrelated=NO):
    """Notebook 13's table: by relation, the decrease of log-odds by own neurons, and by those of facts with the same object."""
    sets = {"own": own, "same object, other relation": word, "same object, same relation": same, "matched": matched}
    sets |= {"other object, same relation": (0.2, 0.1, 0.2, 0.1), "other object, other relation": unrelated}
    rows = [
        (name, fact, which, "itself", 0.0, -value) for which, values in sets.items() for name, fact, value in by_relation(values)
    ]
    columns = ["relation", "fact", "neurons", "asked", "log_odds_before", "log_odds_after"]
    return {"fact_or_word": pd.DataFrame(rows, columns=columns)}


def passing(own, matched=NO):
    """Notebook 15's table: by relation, the share (%) that passes through knowledge neurons and through matched ones."""
    states = {"knowledge neurons": own, "matched neurons": matched, "other facts' neurons": NO}
    states |= {"all neurons": (90, 91, 89, 90), "all neurons at the subject": NO}
    rows = [
        (name, 0, 0, 1, 0, kind, 0, 4, 0.0, value / 100, 1.0, "fact")
        for kind, values in states.items()
        for name, value in zip(RELATIONS, values, strict=True)
    ]
    columns = ["relation", "fact", "prompt", "source", "pair", "states", "layer", "neurons"]
    columns += ["log_odds_before", "log_odds_after", "log_odds_source", "answer"]
    return {"how_much_passes": pd.DataFrame(rows, columns=columns)}


def lost(first, second=None, by_chance=512):
    """Notebook 17's table: by relation, at which size the first and the second set change the answer of each fact."""
    sizes = {"first": first, "second": second or first, "random": (by_chance,) * 4, "wrong object": (by_chance,) * 4}
    rows = [
        (name, fact, 0, 1, template, kind, size, size < at[number])
        for kind, at in sizes.items()
        for template in (("other", "own") if kind == "first" else ("other",))
        for number, name in enumerate(RELATIONS)
        for fact in FACTS
        for size in (1, 2, 3, 4, 5, 6, 8, 10, 100, 512)
    ]
    return {
        "how_few": pd.DataFrame(rows, columns=["relation", "fact", "chosen_on", "prompt", "template", "set", "size", "correct"])
    }


SCORE_CASES = {
    SUPPORTED: score_sets(YES),
    PARTLY: score_sets(YES, if_mean=WRONG),
    OPEN: score_sets(MAYBE),
    CONTRADICTED: score_sets(WRONG),
    UNTESTED: {"score_sets": score_sets(YES)["score_sets"].query("relation == 'P2'")},
}


def edited(gains, others=None, fixed=None):
    """Notebook 16's table: by relation, success minus bleed of the fact's own neurons minus that of matched ones and of other facts'."""
    by_rule = {"scaled": gains, "fixed": fixed or gains}
    rows = [
        (name, fact, method, rule, 1.0, 100, 50 + points, 100, 10, 10, points, 0.0)
        for rule, values in by_rule.items()
        for number, name in enumerate(RELATIONS)
        for fact in FACTS
        for method, points in {
            "attribution": values[number],
            "matched": 0,
            "another fact": 0 if others is None else values[number] - others,
        }.items()
    ]
    columns = ["relation", "fact", "method", "rule", "strength", "templates", "templates_success", "others", "others_success"]
    return {
        "does_it_help_editing": pd.DataFrame(
            rows, columns=[*columns, "others_changed", "log_odds_change", "others_log_odds_change"]
        )
    }


RISE, UNCLEAR_RISE, FALL = (2.0, 2.1, 1.9), (4.0, 0.3, 1.5), (0.5, 0.4, 0.5)
HALF_KEPT, TENTH_KEPT = (0.9, 0.1, 0.8, 0.2), (0.1, 0.1, 0.1, 0.1)

CASES = {
    "two to five": {
        SUPPORTED: rounds((3, 3.2, 2.9, 3.1)),
        OPEN: rounds((1, 6, 2, 7)),
        CONTRADICTED: rounds((9, 10, 9, 11)),
        UNTESTED: {"refinement": rounds((3, 3, 3, 3))["refinement"].query("relation == 'P2'")},
    },
    "in the upper layers": {
        SUPPORTED: found(high, low),
        PARTLY: found(high, high),
        OPEN: found(sometimes_high, low),
        CONTRADICTED: found(low, high),
        UNTESTED: found(lambda *_: [], low),
    },
    "two facts of one relation share": {
        SUPPORTED: found(of_relation, of_fact),
        PARTLY: found(of_first_two, of_fact, objects=("x", "x", "z")),
        OPEN: found(sometimes_across, of_fact),
        CONTRADICTED: found(across, of_fact),
        UNTESTED: {},
    },
    "share fewer of them than of neurons picked": {
        SUPPORTED: found(of_fact, of_all),
        PARTLY: found(of_all, several_of_all),
        OPEN: found(of_all, of_all),
        CONTRADICTED: found(of_all, of_fact),
        UNTESTED: {},
    },
    "suppressing": {
        SUPPORTED: changes(YES),
        PARTLY: changes(YES, matched=YES),
        OPEN: changes(MAYBE),
        CONTRADICTED: changes(WRONG),
        UNTESTED: {},
    },
    "amplifying": {
        SUPPORTED: changes(YES),
        PARTLY: changes(YES, known=ONE_UNKNOWN),
        OPEN: changes(MAYBE),
        CONTRADICTED: changes(WRONG),
        UNTESTED: {},
    },
    "did not choose them": {
        SUPPORTED: answers({"same templates": YES, "held-out templates": YES}),
        OPEN: answers({"same templates": YES, "held-out templates": HALF_KEPT}),
        CONTRADICTED: answers({"same templates": YES, "held-out templates": TENTH_KEPT}),
        UNTESTED: changes(YES),
    },
    "other relations hardly change": {
        SUPPORTED: answers({"attribution": YES}, {"attribution": NO}),
        PARTLY: changes_that_cancel(),
        OPEN: answers({"attribution": YES}, {"attribution": (0.3, -0.2, 0.3, 0.0)}),
        CONTRADICTED: answers({"attribution": YES}, {"attribution": YES}),
        UNTESTED: answers({"attribution": YES}),
    },
    "sentences that state": {
        SUPPORTED: sentences(YES, NO),
        PARTLY: sentences(YES, NO, any_word=YES),
        OPEN: sentences(MAYBE, NO),
        CONTRADICTED: sentences(NO, YES),
        UNTESTED: sentences(YES, (math.nan,) * 4),
    },
    "change the answer": {
        SUPPORTED: edits((4, 4, 3, 4)),
        PARTLY: edits((4, 4, 3, 4), matched=(4, 4, 3, 4)),
        OPEN: edits((0, 4, 0, 3)),
        CONTRADICTED: edits((0, 0, 0, 0)),
        UNTESTED: {"edit_facts": edits((4, 4, 4, 4))["edit_facts"].query("method == 'random'")},
    },
    "the new object the answer": {
        SUPPORTED: edits((4, 4, 3, 4)),
        PARTLY: edits((4, 4, 3, 4), harm=5.0),
        OPEN: edits((0, 4, 0, 3)),
        CONTRADICTED: edits((0, 0, 0, 0)),
        UNTESTED: {"edit_facts": edits((4, 4, 4, 4))["edit_facts"].query("method == 'random'")},
    },
    "hardly harm": {
        SUPPORTED: edits((4, 4, 3, 4)),
        OPEN: edits((4, 4, 3, 4), harm=(0.9, 1.3, 0.9, 1.3)),
        CONTRADICTED: edits((4, 4, 3, 4), harm=5.0),
        UNTESTED: {"edit_facts": edits((4, 4, 4, 4))["edit_facts"].query("method == 'random'")},
    },
    "erasing P19": {
        SUPPORTED: erasures(RISE),
        PARTLY: erasures(RISE, baseline=RISE),
        OPEN: erasures(UNCLEAR_RISE),
        CONTRADICTED: erasures(FALL),
        UNTESTED: erasures(RISE, right=0),
    },
    "localisation helps editing": {
        SUPPORTED: edited((20, 22, 18, 21)),
        PARTLY: edited((20, 22, 18, 21), fixed=(0, 1, 0, -1)),
        OPEN: edited((20, -15, 20, -5)),
        CONTRADICTED: edited((0, 1, -1, 0)),
        UNTESTED: {"does_it_help_editing": edited((20, 22, 18, 21))["does_it_help_editing"].query("method != 'matched'")},
    },
    "harms what the model knows": {
        SUPPORTED: knowledge(NO),
        PARTLY: knowledge(NO, no_fact=YES),
        OPEN: knowledge((0.6, 0.9, 0.6, 0.9)),  # between a quarter and a half
        CONTRADICTED: knowledge((2.0, 2.1, 1.9, 2.0)),
        UNTESTED: knowledge(YES, known=NO),
    },
    "serve the answer word": {
        SUPPORTED: swaps((1.5, 1.6, 1.4, 1.5)),
        PARTLY: swaps((1.5, 1.6, 1.4, 1.5), matched=(1.9, 1.8, 1.9, 1.8)),
        OPEN: swaps((0.0, 2.0, 0.1, 1.9)),
        CONTRADICTED: swaps(NO),
        UNTESTED: swaps(YES, own=NO),
    },
    "belongs to the fact alone": {
        SUPPORTED: swaps(YES, same=NO),
        PARTLY: swaps(YES, same=NO, unrelated=(1.9, 1.8, 1.9, 1.8)),
        OPEN: swaps(YES, same=(0.0, 2.0, 0.1, 1.9)),
        CONTRADICTED: swaps(YES, same=(1.9, 1.8, 1.9, 1.8)),
        UNTESTED: swaps(YES, own=NO),
    },
    "more than those of integrated gradients": SCORE_CASES,
    "more than the most active ones": SCORE_CASES,
    "five neurons or fewer": {
        SUPPORTED: lost((4, 3, 4, 4)),
        PARTLY: lost((4, 3, 4, 4), by_chance=3),
        OPEN: lost((3, 100, 3, 100)),
        CONTRADICTED: lost((100, 512, 100, 100)),
        UNTESTED: {},
    },
    "a second set": {
        SUPPORTED: lost((4, 3, 4, 4), second=(5, 4, 4, 6)),
        PARTLY: lost((4, 3, 4, 4), second=(5, 4, 4, 6), by_chance=4),
        OPEN: lost((4, 4, 4, 4), second=(5, 100, 5, 100)),
        CONTRADICTED: lost((4, 4, 4, 4), second=(100, 512, 100, 100)),
        UNTESTED: lost((1000, 1000, 1000, 1000)),
    },
    "passes through their knowledge neurons": {
        SUPPORTED: passing((80, 82, 79, 80)),
        PARTLY: passing((80, 82, 79, 80), matched=(80, 81, 80, 81)),
        OPEN: passing((30, 31, 29, 30)),
        CONTRADICTED: passing((3, 4, 3, 4)),
        UNTESTED: {"how_much_passes": passing(NO)["how_much_passes"].query("relation == 'P2'")},
    },
}


def judged(claim, tables):
    def read(name, relations):
        if name not in tables:
            raise FileNotFoundError(name)
        return tables[name]

    return judge(claim, read, RELATIONS, seed=0)


@pytest.mark.parametrize("text, expected", [(text, expected) for text, cases in CASES.items() for expected in cases])
def test_every_claim_can_get_every_verdict(text, expected):
    [claim] = [claim for claim in CLAIMS if text in claim.text]
    found = judged(claim, CASES[text][expected])
    assert found.verdict == expected, found.conditions
    assert (found.explanation == "") == (expected == SUPPORTED)


def test_no_claim_is_left_out():
    """The erasures of the other relations are the same claim; two claims have no number."""
    others = [claim for claim in CLAIMS if claim.conditions and not any(text in claim.text for text in CASES)]
    assert [claim.relation for claim in others] == ["P27", "P106", "P937"]


def test_the_failing_control_is_named():
    [claim] = [claim for claim in CLAIMS if "suppressing" in claim.text]
    assert judged(claim, changes(YES, matched=YES)).explanation.startswith(
        "change minus that by neurons of the same layers and activation: 0.00 [0.00, 0.00]"
    )


def test_a_claim_whose_controls_have_no_rows_is_judged_without_them():
    [claim] = [claim for claim in CLAIMS if "suppressing" in claim.text]
    found = judged(claim, answers({"attribution": YES, "activation": NO, "random": NO}))
    assert found.verdict == SUPPORTED
    assert [condition.reason for condition in found.untested_controls] == [
        "step 3's table has no rows of the method 'matched'",
        "step 3's table has no rows of the method 'same object'",
        "all facts are answered right at least once",
    ]
    [claim] = [claim for claim in CLAIMS if "new object" in claim.text]
    without = edits((4, 4, 3, 4))["edit_facts"].query("method != 'matched'")
    assert judged(claim, {"edit_facts": without}).verdict == SUPPORTED
