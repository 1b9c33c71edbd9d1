"""All claims of the paper, and their verdicts for a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import pandas as pd

from kn_utils.chapters.distant_prompts.claims import web_sentences
from kn_utils.chapters.edit_facts.claims import edit_rate, side_effects
from kn_utils.chapters.edit_facts.numbers import CHANGED, SUCCESS
from kn_utils.chapters.erase_relation.claims import erased
from kn_utils.chapters.erase_relation.numbers import ERASED_IN_THE_PAPER
from kn_utils.chapters.knowledge_neurons.claims import exclusive, number_of_neurons, shared_within, upper_layers
from kn_utils.chapters.modify_activation.claims import changed_probability, other_facts
from kn_utils.stats.rule import UNTESTED, Condition, Tables, verdict
from kn_utils.steps import STEP_OF
from kn_utils.store.runs import NothingToShowError

FOUND = ("facts", "knowledge_neurons")
Read = Callable[[str, Sequence[str]], pd.DataFrame]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its section, its `text`, the tables it is tested on, and the function that makes its `conditions`.

    `relation` is set if the claim is about a single relation. Without `conditions`, `remark` is the reason why it cannot be tested.
    """

    section: str
    text: str
    tables: tuple[str, ...] = ()
    conditions: Callable | None = None
    relation: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with its measured conditions, or the reason why there are none."""

    claim: Claim
    conditions: list[Condition] = field(default_factory=list)
    reason: str = ""

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return verdict(self.conditions)

    @property
    def explanation(self) -> str:
        """The reason why the claim is not replicated, or the conditions that fail, with numbers; "" if it is replicated."""
        if self.verdict == UNTESTED:
            return self.reason or f"{self.conditions[0].contrast}: too few {self.conditions[0].unit} or relations for an interval"
        failed = [condition for condition in self.conditions if condition.tested and not condition.holds]
        return "; ".join(f"{condition.contrast}: {condition.measured}, must be {condition.required}" for condition in failed)


def _changed(effect: str, operation: str) -> Claim:
    return Claim("4.3", effect, ("modify_activation",), partial(changed_probability, operation))


def _erasure(relation: str) -> Claim:
    text = f"erasing {relation} raises its perplexity more than that of all others"
    return Claim("5.2", text, ("erase_facts",), partial(erased, relation), relation)


NUMBER = Claim(
    "4.2", "a fact has two to five knowledge neurons (the threshold is tuned to that)", (*FOUND, "refinement"), number_of_neurons
)
SUPPRESSED = _changed("suppressing them makes the right answer less probable", "suppress")
AMPLIFIED = _changed("amplifying them makes the right answer more probable", "amplify")
CLAIMS = (
    NUMBER,
    Claim("4.2", "most of them lie in the upper layers", ("knowledge_neurons", "completeness"), upper_layers),
    Claim("4.2", "two facts of one relation share more of them than two facts of different relations", FOUND, shared_within),
    Claim("4.2", "facts of different relations share fewer of them than of neurons picked by activation", FOUND, exclusive),
    SUPPRESSED,
    AMPLIFIED,
    Claim("4.3, arXiv v1", "facts of other relations hardly change", ("modify_activation",), other_facts),
    Claim("4.4", "sentences that state the fact activate them more than others", ("distant_prompts",), web_sentences),
    Claim(
        "4.4",
        "the sentences that activate them most express the fact",
        remark="the paper shows examples and no number; chapter 5 shows ours",
    ),
    Claim("5.1", "edits of them change the answer", ("edit_facts",), partial(edit_rate, CHANGED)),
    Claim("5.1", "edits of them make the new object the answer", ("edit_facts",), partial(edit_rate, SUCCESS)),
    Claim("5.1", "edits hardly harm other facts", ("edit_facts",), side_effects),
    *(_erasure(name) for name in ERASED_IN_THE_PAPER),
    Claim("3.2", "the time that attribution takes", remark="the paper's is on another device, a V100; chapter 1 shows ours"),
)


def judge(claim: Claim, read: Read, relations: Sequence[str], seed: int) -> Judged:
    """Test one claim; `read` is `Run.read` or `PublishedResults.read`.

    The claim is tested on the relations that have all its tables. Without such a relation, or with an empty table, it cannot be tested.
    Raises ValueError for damaged tables and tables of another run.
    """
    if claim.conditions is None:
        return Judged(claim, reason=claim.remark)
    if claim.relation and claim.relation not in relations:
        return Judged(claim, reason=f"{claim.relation} is not among the relations")
    try:
        return Judged(claim, claim.conditions(_tables(claim, read, relations), seed))
    except NothingToShowError as reason:
        return Judged(claim, reason=str(reason))


def judge_all(read: Read, relations: Sequence[str], seed: int, section: str = "") -> list[Judged]:
    """Test the claims of a section of the paper, by default all claims; for other arguments see `judge`."""
    read = read_once(read)
    return [judge(claim, read, relations, seed) for claim in CLAIMS if claim.section.startswith(section)]


def read_once(read: Read) -> Read:
    """Return `read` with a cache; callers must not change its tables."""
    kept = cache(lambda name, relations: read(name, list(relations)))
    return lambda name, relations: kept(name, tuple(relations))


def made_for(read: Read, tables: Sequence[str], relations: Sequence[str]) -> list[str]:
    """Return the relations that have all the tables; edits and erasures are often made for some relations only."""
    try:
        for table in tables:
            read(table, relations)
    except FileNotFoundError:
        halves = (relations[: len(relations) // 2], relations[len(relations) // 2 :])
        return [name for half in halves for name in made_for(read, tables, half)] if len(relations) > 1 else []
    return list(relations)


def _tables(claim: Claim, read: Read, relations: Sequence[str]) -> Tables:
    """Return the claim's tables, for the relations that have all of them."""
    about = [claim.relation] if claim.relation else relations
    made = made_for(read, claim.tables, about)
    if not made:
        missing = next((name for name in claim.tables if not made_for(read, [name], about)), claim.tables[-1])
        raise NothingToShowError(f"there is no table {missing} of these relations: notebook {STEP_OF[missing].notebook} makes it")
    tables = {name: read(name, made) for name in claim.tables}
    if empty := [name for name, table in tables.items() if table.empty]:
        raise NothingToShowError(f"the table {empty[0]} is empty: notebook {STEP_OF[empty[0]].notebook} shows why")
    return tables
