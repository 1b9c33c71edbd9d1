"""The claims of all chapters, and their verdicts for a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import pandas as pd

from kn_utils.chapters.attribution import claims as attribution
from kn_utils.chapters.distant_prompts import claims as distant_prompts
from kn_utils.chapters.does_it_help_editing import claims as does_it_help_editing
from kn_utils.chapters.edit_facts import claims as edit_facts
from kn_utils.chapters.erase_relation import claims as erase_relation
from kn_utils.chapters.fact_or_word import claims as fact_or_word
from kn_utils.chapters.how_few import claims as how_few
from kn_utils.chapters.how_much_passes import claims as how_much_passes
from kn_utils.chapters.is_it_knowledge import claims as is_it_knowledge
from kn_utils.chapters.knowledge_neurons import claims as knowledge_neurons
from kn_utils.chapters.modify_activation import claims as modify_activation
from kn_utils.chapters.trigger_examples import claims as trigger_examples
from kn_utils.chapters.which_score import claims as which_score
from kn_utils.stats.rule import (
    CLAIM,
    CONTROL,
    SHOWN,
    SUPPORTED,
    UNTESTED,
    Claim,
    Condition,
    Tables,
    failed_controls,
    other_verdicts,
    verdict,
)
from kn_utils.steps import STEP_OF
from kn_utils.store.runs import NothingToShowError

Read = Callable[[str, Sequence[str]], pd.DataFrame]


@dataclass(frozen=True)
class Judged:
    """A claim with its measured conditions, or the reason why it is not tested."""

    claim: Claim
    conditions: list[Condition] = field(default_factory=list)
    reason: str = ""

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return verdict(self.conditions)

    @property
    def at_other_limits(self) -> dict[int, str]:
        """The verdict if "hardly" means at most 5 or 20 %; empty if the claim has no such limit."""
        return other_verdicts(self.conditions)

    @property
    def size(self) -> Condition | None:
        """The condition that has a size in the paper, if it was tested. A claim that little changes has none."""
        if any(condition.hardly for condition in self.conditions if condition.role == CLAIM):
            return None
        sized = [condition for condition in self.conditions if condition.of_paper and condition.state != UNTESTED]
        return next(iter(sorted(sized, key=lambda condition: condition.role != SHOWN)), None)

    @property
    def untested_controls(self) -> list[Condition]:
        """The controls without data."""
        return [condition for condition in self.conditions if condition.role == CONTROL and condition.state == UNTESTED]

    @property
    def without_control(self) -> bool:
        """Whether the claim has controls, and none was tested."""
        return len(self.untested_controls) == sum(condition.role == CONTROL for condition in self.conditions) > 0

    @property
    def explanation(self) -> str:
        """Why the claim is not supported: the conditions that do not hold, with numbers, or why it is not tested; "" if it is."""
        if self.verdict == UNTESTED:
            return self.reason or "; ".join(map(_why_untested, self.conditions[:1]))
        decisive = [condition for condition in self.conditions if condition.role == CLAIM and condition.state != SUPPORTED]
        return "; ".join(map(_why, decisive or failed_controls(self.conditions)))


def _why(condition: Condition) -> str:
    return f"{condition.contrast}: {condition.measured}, must be {condition.required}"


def _why_untested(condition: Condition) -> str:
    return f"{condition.contrast}: {condition.reason or f'too few {condition.unit} for an interval'}"


CLAIMS = (  # in the order of the paper's sections, but for the time it takes
    *knowledge_neurons.CLAIMS,
    *modify_activation.CLAIMS,
    *distant_prompts.CLAIMS,
    *trigger_examples.CLAIMS,
    *edit_facts.CLAIMS,
    *erase_relation.CLAIMS,
    *attribution.CLAIMS,
    *is_it_knowledge.CLAIMS,
    *fact_or_word.CLAIMS,
    *which_score.CLAIMS,
    *how_much_passes.CLAIMS,
    *does_it_help_editing.CLAIMS,
    *how_few.CLAIMS,
)


def judge(claim: Claim, read: Read, relations: Sequence[str], seed: int) -> Judged:
    """Test one claim; `read` is `Run.read` or `PublishedResults.read`.

    The claim is tested on the relations that have all its tables. Without such a relation, or with an empty table, it is not tested.
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


OURS = "beyond the paper"  # how the sections of claims end that are ours


def of_paper(judged: Sequence[Judged]) -> list[Judged]:
    """Return the results on claims of the paper, without those on claims of ours."""
    return [result for result in judged if not result.claim.section.endswith(OURS)]


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
