"""The last page of part two: what its experiments say together about the paper's thesis, that knowledge neurons store facts."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_utils.report.judge import Judged
from kn_utils.stats.rule import CONTRADICTED, OPEN, PARTLY, SUPPORTED, UNTESTED, signed

FOR, FAILS, AGAINST, UNCLEAR, NOT_TESTED = "for it", "for it, but a control fails", "against it", "open", "not tested"
DIFFERS = "runs differ"
STANCES = {SUPPORTED: FOR, PARTLY: FAILS, CONTRADICTED: AGAINST, OPEN: UNCLEAR, UNTESTED: NOT_TESTED}
SECTIONS = "1"  # with which the sections of its claims begin, 12 to 17; those of the paper begin with 3, 4 and 5


@dataclass(frozen=True)
class Experiment:
    """An experiment that tests the thesis: its notebook, its question, and what follows if it speaks `FOR` or `AGAINST` the thesis.

    `mind` is a result that would speak for the thesis, where its answer does not; `others` is what published work found. Its claims are
    worded so that a supported one speaks for the thesis, but for those in `opposed`, which speak against it
    if they are supported with their controls. The thesis stands and falls with it if `decides`.
    """

    notebook: str
    question: str
    if_for: str
    if_against: str
    mind: str
    others: str
    opposed: tuple[str, ...] = ()
    decides: bool = True

    def claims(self, judged: Sequence[Judged]) -> list[Judged]:
        """Return the results that are of this experiment's notebook."""
        return [result for result in judged if result.claim.section.split(",")[0] == self.notebook[:2]]

    def stance(self, judged: Sequence[Judged]) -> str:
        """Return what its claims say of the thesis: the least favourable stance of those that were tested, or `NOT_TESTED`."""
        found = {self.stance_of_claim(result) for result in self.claims(judged)}
        return next((stance for stance in (AGAINST, UNCLEAR, FAILS, FOR) if stance in found), NOT_TESTED)

    def stance_of_claim(self, result: Judged) -> str:
        """Return what one of its claims says of the thesis."""
        stance = STANCES[result.verdict]
        if result.claim.text not in self.opposed:
            return stance
        return {FOR: AGAINST, FAILS: UNCLEAR, AGAINST: FOR}.get(stance, stance)


EXPERIMENTS = (
    Experiment(
        "12_is_it_knowledge",
        "Does suppression tell what the model knows from what it does not know?",
        "suppression harms what the model knows, so its effect is evidence of knowledge",
        "suppression harms answers that were never known more than half as much as known ones, so it is no evidence of knowledge",
        "an effect on facts that were never learnt of less than a quarter of that on known ones",
        "Niu et al. (ICLR 2024) find patterns of grammar by the same method, and call the thesis an oversimplification",
    ),
    Experiment(
        "13_fact_or_word",
        "Do the neurons belong to the fact or to its answer word?",
        "most of the effect is that of the fact's own neurons, whatever the answer word is",
        "more than half of the effect is shared with other facts that have the same answer word",
        "another fact with the same answer word, whose neurons have little effect",
        "Chen et al. (ICLR 2025) find that for many facts the neurons depend on how one asks",
        opposed=("neurons serve the answer word, in whatever relation",),
    ),
    Experiment(
        "14_which_score",
        "Does the paper's score find the neurons that matter?",
        "the paper's score names the neurons that matter",
        "a cheaper score names neurons that matter more, so those of the paper are not the best candidates",
        "another order of the scores in a larger model",
        "Yu and Ananiadou (EMNLP 2024) propose another cheap score",
        opposed=("gradient x activation names neurons that matter more than those of integrated gradients",),
        decides=False,
    ),
    Experiment(
        "15_how_much_passes",
        "How much of a fact passes through its neurons?",
        "most of what tells two facts apart passes through their knowledge neurons",
        "most of what tells two facts apart does not pass through their knowledge neurons",
        "a model in which more than half of it passes through a handful of neurons",
        "Geva et al. (EMNLP 2023) find that attention reads the answer from the subject's position; Meng et al. (NeurIPS 2022) find "
        "facts in feed-forward layers, but at the subject",
    ),
    Experiment(
        "16_does_it_help_editing",
        "Is a fact edited better through its own neurons than through others?",
        "a fact is edited better through its own neurons, so it pays to find them",
        "a fact is edited as well through matched neurons, so an edit that works does not show where the fact is",
        "a gain of more than five points, for example with optimised edits",
        "Hase et al. (NeurIPS 2023) find that causal tracing hardly says which layer to edit; Wang and Veitch (2025) find that optimised "
        "edits of random attention heads do as well as those of located ones",
        decides=False,
    ),
    Experiment(
        "17_how_few",
        "Do few neurons suffice, and no others?",
        "few neurons hold the answer, and no others do",
        "many neurons are needed, or other ones do as well",
        "five neurons or fewer that change most right answers, on templates that did not choose them, and no second such set",
        "Chen et al. (AAAI 2024) find several sets of neurons for the same fact",
        opposed=("a second set, without any of these neurons, does the same",),
    ),
)


DECIDING = ", ".join(experiment.notebook[:2] for experiment in EXPERIMENTS if experiment.decides)


def thesis_verdict(judged: Sequence[Judged]) -> str:
    """Return the verdict on the thesis, by the rule of the notebook; one of `kn_utils.stats.rule.VERDICTS`."""
    stances = _deciding_stances(judged).values()
    if AGAINST in stances:
        return CONTRADICTED
    if set(stances) == {FOR}:
        return SUPPORTED
    return UNTESTED if set(stances) == {NOT_TESTED} else OPEN


def _deciding_stances(judged: Sequence[Judged]) -> dict[Experiment, str]:
    return {experiment: experiment.stance(judged) for experiment in EXPERIMENTS if experiment.decides}


def experiments_against(judged: Sequence[Judged]) -> list[str]:
    """Return the numbers of the experiments that decide and speak against the thesis."""
    return [name.notebook[:2] for name, stance in _deciding_stances(judged).items() if stance == AGAINST]


def conclusion(judged: Sequence[Judged]) -> str:
    """Return a sentence on the thesis, by the rule of the notebook."""
    stances, verdict = _deciding_stances(judged), thesis_verdict(judged)
    if verdict == CONTRADICTED:
        return f"**The thesis does not stand as it is worded**: {_experiments(experiments_against(judged))} against it."
    if verdict == SUPPORTED:
        return "**The thesis stands**: every experiment that decides speaks for it, with its controls."
    unclear, missing = (
        [name.notebook[:2] for name, stance in stances.items() if stance in states]
        for states in ((UNCLEAR, FAILS), (NOT_TESTED,))
    )
    reasons = {"open or with a control that fails": unclear, "not tested": missing}
    listed = "; ".join(f"{', '.join(names)} {reason}" for reason, names in reasons.items() if names)
    return f"**The thesis is not decided here**: {listed}."


def _experiments(numbers: Sequence[str]) -> str:
    return f"experiment {numbers[0]} speaks" if len(numbers) == 1 else f"experiments {', '.join(numbers)} speak"


def stances(runs: dict[str, Sequence[Judged]]) -> pd.DataFrame:
    """Return a row per experiment: its question, and for each run whether it speaks for the thesis, with the verdicts on its claims."""
    rows = [
        {"experiment": experiment.notebook[:2], "question": experiment.question}
        | {name: _cell(experiment, judged) for name, judged in runs.items()}
        for experiment in EXPERIMENTS
    ]
    return pd.DataFrame(rows)


def _cell(experiment: Experiment, judged: Sequence[Judged]) -> str:
    stance = experiment.stance(judged)
    tested = [result for result in experiment.claims(judged) if result.verdict != UNTESTED]
    if len(tested) < 2:
        return "\n".join([stance, *(signed(result.verdict) for result in tested)])
    return "\n".join([stance, *(_with_stance(result.verdict, experiment.stance_of_claim(result)) for result in tested)])


def _with_stance(verdict: str, stance: str) -> str:
    return signed(verdict) if verdict == stance else f"{signed(verdict)}, so {stance}"


def _stance_of_all(found: Sequence[str]) -> str:
    """Return what runs say together: a run that is open contradicts no other."""
    clear = set(found) - {UNCLEAR}
    if len(clear) > 1:
        return DIFFERS if AGAINST in clear else FAILS
    return clear.pop() if clear else UNCLEAR if found else NOT_TESTED


def consequences(runs: dict[str, Sequence[Judged]]) -> str:
    """Return a Markdown list of what follows from each experiment over all runs, what would change that, and what published work found.

    An experiment that was run is linked to its page.
    """
    lines = []
    for experiment in EXPERIMENTS:
        found = [stance for judged in runs.values() if (stance := experiment.stance(judged)) != NOT_TESTED]
        stance = _stance_of_all(found)
        share = (
            f" (in {found.count(stance)} of {len(found)} runs)" if stance in found and found.count(stance) < len(found) else ""
        )
        follows = {FOR: experiment.if_for, FAILS: f"{experiment.if_for}, but a control fails", AGAINST: experiment.if_against}
        follows |= {UNCLEAR: "these data do not decide it", NOT_TESTED: "not tested", DIFFERS: "the runs above do not agree"}
        number = experiment.notebook[:2]
        title = number if stance == NOT_TESTED else f"[{number}]({experiment.notebook}.html)"
        mind = f"another model in which {experiment.if_against}" if stance in (FOR, FAILS) else experiment.mind
        text = f"{follows[stance]}{share}. *What would change one's mind:* {mind}. *Others:* {experiment.others}."
        lines.append(f"* **{title}**: {text}")
    return "\n".join(lines)
