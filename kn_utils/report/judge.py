"""All claims of the paper, and their verdicts on the tables of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import pandas as pd

from kn_utils.chapters.distant_prompts.claims import web_sentences
from kn_utils.chapters.edit_facts.claims import edit_rate, side_effects
from kn_utils.chapters.erase_relation.claims import erased
from kn_utils.chapters.knowledge_neurons.claims import exclusive, number_of_neurons, shared_within, upper_layers
from kn_utils.chapters.modify_activation.claims import changed_probability, other_facts
from kn_utils.stats.rule import UNTESTED, Condition, NoDataError, verdict
from kn_utils.steps import STEP_OF

ERASED_IN_THE_PAPER = ("P19", "P27", "P106", "P937")
FOUND = ("facts", "knowledge_neurons")
Read = Callable[[str, Sequence[str]], pd.DataFrame]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: the section it stands in, the tables it is tested on and what turns them into conditions.

    `relation` is the one it is about, if it is about a single one; without `conditions`, `remark` says why it cannot be tested.
    """

    section: str
    says: str
    tables: tuple[str, ...] = ()
    conditions: Callable | None = None
    relation: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with its conditions as measured, or the reason why there are none."""

    claim: Claim
    conditions: list[Condition] = field(default_factory=list)
    reason: str = ""

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return verdict(self.conditions)

    @property
    def why(self) -> str:
        """What stands in the way of "replicated": the reason, or the conditions that fail, with their numbers."""
        if self.verdict == UNTESTED:
            return self.reason or f"{self.conditions[0].says}: too few {self.conditions[0].unit} or relations for an interval"
        failed = [condition for condition in self.conditions if not condition.holds]
        return "; ".join(f"{one.says}: {one.measured}, must be {one.required}" for one in failed)


NUMBER = Claim(
    "4.2", "a fact has two to five knowledge neurons (the threshold is tuned to that)", (*FOUND, "refinement"), number_of_neurons
)
SUPPRESSED = Claim(
    "4.3",
    "suppressing them makes the right answer less probable",
    ("modify_activation",),
    partial(changed_probability, "suppress"),
)
AMPLIFIED = Claim(
    "4.3",
    "amplifying them makes the right answer more probable",
    ("modify_activation",),
    partial(changed_probability, "amplify"),
)
CLAIMS = (
    NUMBER,
    Claim("4.2", "most of them lie in the upper layers", ("knowledge_neurons", "completeness"), upper_layers),
    Claim("4.2", "two facts of one relation share more of them than two of different relations", FOUND, shared_within),
    Claim("4.2", "two facts share fewer of them than of the baseline's neurons", FOUND, exclusive),
    SUPPRESSED,
    AMPLIFIED,
    Claim("4.3, arXiv v1", "facts of other relations hardly change", ("modify_activation",), other_facts),
    Claim("4.4", "sentences that state the fact activate them more than others", ("distant_prompts",), web_sentences),
    Claim(
        "4.4",
        "the sentences that activate them most express the fact",
        remark="the paper shows examples and no number; chapter 5 shows ours",
    ),
    Claim("5.1", "edits of them change the answer", ("edit_facts",), partial(edit_rate, "changed")),
    Claim("5.1", "edits of them make the new object the answer", ("edit_facts",), partial(edit_rate, "success")),
    Claim("5.1", "edits hardly harm other facts", ("edit_facts",), side_effects),
    *(
        Claim(
            "5.2",
            f"erasing {name} raises its perplexity more than that of all others",
            ("erase_facts",),
            partial(erased, name),
            name,
        )
        for name in ERASED_IN_THE_PAPER
    ),
    Claim(
        "3.2",
        "the time that attribution takes",
        remark="the paper's is on another device, a V100; chapter 1 shows ours",
    ),
)


def judge(claim: Claim, read: Read, relations: Sequence[str], seed: int) -> Judged:
    """Test one claim; `read` returns a table of relations, as `Run.read` or `PublishedResults.read`.

    Relations without a table are left out; if none has one, or all are empty, the claim cannot be tested. Raises ValueError for damaged
    tables, or tables of another run.
    """
    if claim.conditions is None:
        return Judged(claim, reason=claim.remark)
    if claim.relation and claim.relation not in relations:
        return Judged(claim, reason=f"{claim.relation} is not among the relations")
    try:
        tables = {name: _read(read, name, [claim.relation] if claim.relation else relations) for name in claim.tables}
        return Judged(claim, claim.conditions(tables, seed))
    except NoDataError as reason:
        return Judged(claim, reason=str(reason))


def judge_all(read: Read, relations: Sequence[str], seed: int, section: str = "") -> list[Judged]:
    """Test the claims of a section of the paper, by default of all; other arguments as of `judge`."""
    read = read_once(read)
    return [judge(claim, read, relations, seed) for claim in CLAIMS if claim.section.startswith(section)]


def read_once(read: Read) -> Read:
    """Return a reader that keeps what it has read; its tables must not be changed."""
    kept = cache(lambda name, relations: read(name, list(relations)))
    return lambda name, relations: kept(name, tuple(relations))


def _read(read: Read, name: str, relations: Sequence[str]) -> pd.DataFrame:
    found = _made(read, name, relations)
    if not found:
        raise NoDataError(f"there is no table {name} of these relations: notebook {STEP_OF[name].notebook} makes it")
    table = pd.concat(found, ignore_index=True)
    if table.empty:
        raise NoDataError(f"the table {name} is empty: notebook {STEP_OF[name].notebook} says why")
    return table


def _made(read: Read, name: str, relations: Sequence[str]) -> list[pd.DataFrame]:
    """A table of those relations for which it was made: edits and erasures are often run for some alone."""
    try:
        return [read(name, relations)]
    except FileNotFoundError:
        return [own for relation in relations for own in _made(read, name, [relation])] if len(relations) > 1 else []
