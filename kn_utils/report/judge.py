"""The chapters' claims together, and their verdicts on the tables of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import pandas as pd

from kn_utils.chapters.attribution import claims as attribution
from kn_utils.chapters.distant_prompts import claims as distant_prompts
from kn_utils.chapters.edit_facts import claims as edit_facts
from kn_utils.chapters.erase_relation import claims as erase_relation
from kn_utils.chapters.knowledge_neurons import claims as knowledge_neurons
from kn_utils.chapters.modify_activation import claims as modify_activation
from kn_utils.chapters.trigger_examples import claims as trigger_examples
from kn_utils.stats.rule import UNTESTED, Claim, Condition, NoDataError, Tables, verdict
from kn_utils.steps import STEP_OF
from kn_utils.store.runs import NothingToShowError

Read = Callable[[str, Sequence[str]], pd.DataFrame]


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
    def explanation(self) -> str:
        """Why the claim is not replicated: the reason, or the conditions that fail, with their numbers; "" if it is."""
        if self.verdict == UNTESTED:
            return self.reason or f"{self.conditions[0].contrast}: too few {self.conditions[0].unit} or relations for an interval"
        failed = [condition for condition in self.conditions if condition.tested and not condition.holds]
        return "; ".join(f"{condition.contrast}: {condition.measured}, must be {condition.required}" for condition in failed)


CLAIMS = (  # in the order of the paper's sections, but for the time it takes
    *knowledge_neurons.CLAIMS,
    *modify_activation.CLAIMS,
    *distant_prompts.CLAIMS,
    *trigger_examples.CLAIMS,
    *edit_facts.CLAIMS,
    *erase_relation.CLAIMS,
    *attribution.CLAIMS,
)


def judge(claim: Claim, read: Read, relations: Sequence[str], seed: int) -> Judged:
    """Test one claim; `read` returns a table of relations, as `Run.read` or `PublishedResults.read`.

    It is tested on the relations for which all its tables were made; if there are none, or a table is empty, it cannot be tested. Raises
    ValueError for damaged tables, or tables of another run.
    """
    if claim.conditions is None:
        return Judged(claim, reason=claim.remark)
    if claim.relation and claim.relation not in relations:
        return Judged(claim, reason=f"{claim.relation} is not among the relations")
    try:
        return Judged(claim, claim.conditions(_tables(claim, read, relations), seed))
    except (NoDataError, NothingToShowError) as reason:
        return Judged(claim, reason=str(reason))


def judge_all(read: Read, relations: Sequence[str], seed: int, section: str = "") -> list[Judged]:
    """Test the claims of a section of the paper, by default of all; other arguments as of `judge`."""
    read = read_once(read)
    return [judge(claim, read, relations, seed) for claim in CLAIMS if claim.section.startswith(section)]


def read_once(read: Read) -> Read:
    """Return a reader that keeps what it has read; its tables must not be changed."""
    kept = cache(lambda name, relations: read(name, list(relations)))
    return lambda name, relations: kept(name, tuple(relations))


def made_for(read: Read, tables: Sequence[str], relations: Sequence[str]) -> list[str]:
    """Return the relations for which all the tables were made: edits and erasures are often made for some alone."""
    try:
        for table in tables:
            read(table, relations)
    except FileNotFoundError:
        halves = (relations[: len(relations) // 2], relations[len(relations) // 2 :])
        return [name for half in halves for name in made_for(read, tables, half)] if len(relations) > 1 else []
    return list(relations)


def _tables(claim: Claim, read: Read, relations: Sequence[str]) -> Tables:
    """The claim's tables, of the relations for which all of them were made."""
    about = [claim.relation] if claim.relation else relations
    made = made_for(read, claim.tables, about)
    if not made:
        missing = next((name for name in claim.tables if not made_for(read, [name], about)), claim.tables[-1])
        raise NoDataError(f"there is no table {missing} of these relations: notebook {STEP_OF[missing].notebook} makes it")
    tables = {name: read(name, made) for name in claim.tables}
    if empty := [name for name, table in tables.items() if table.empty]:
        raise NoDataError(f"the table {empty[0]} is empty: notebook {STEP_OF[empty[0]].notebook} says why")
    return tables
