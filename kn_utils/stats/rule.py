"""The rule for verdicts. A claim is a list of conditions, each a contrast with an interval and the range that it must lie in.

Direction and controls decide. The size of an effect is shown as a share of the paper's, and decides nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kn_utils.stats.intervals import Statistic, bootstrap_interval, with_interval
from kn_utils.store.paper import paper_values

Tables = dict[str, pd.DataFrame]  # by name

SUPPORTED, PARTLY, OPEN, CONTRADICTED, UNTESTED = "supported", "partly", "open", "contradicted", "not tested"
VERDICTS = (SUPPORTED, PARTLY, OPEN, CONTRADICTED, UNTESTED)
SIGNS = dict(zip(VERDICTS, "●◐○✕–", strict=True))  # as clear as colours, without them
CLAIM, CONTROL, SHOWN = "claim", "control", "shown"  # roles of a condition; what is shown decides nothing
NEGLIGIBLE = 10  # %; a smaller change counts as "hardly any", where the paper claims this
OTHER_LIMITS = (5, 20)  # %; the verdict is also shown for these values of `NEGLIGIBLE`
PERCENT, TIMES = "%", "times"  # units of conditions whose limit is `NEGLIGIBLE`


@dataclass(frozen=True)
class Reported:
    """A contrast of the paper's values; `checked` is True if a second source confirms all of them."""

    value: float
    checked: bool


@dataclass(frozen=True)
class Condition:
    """A `contrast` with its 95 % interval. The whole interval must lie between `above` and `below`.

    `n` is the number of units, and `unit` their name. `new_low` and `new_high` are the prediction interval for a new relation. `paper` is
    the contrast in the paper, if known. `hardly` is the unit of the limit if it is `NEGLIGIBLE`: `PERCENT`, or `TIMES` for a ratio.
    The interval is NaN if the condition is not tested, and `reason` says why. An interval that is outside of the range by less than
    `undecided` is open.
    """

    contrast: str
    value: float
    low: float
    high: float
    new_low: float = math.nan
    new_high: float = math.nan
    n: int = 0
    unit: str = "facts"
    above: float = -math.inf
    below: float = math.inf
    undecided: float = 0
    role: str = CLAIM
    paper: Reported | None = None
    hardly: str = ""
    reason: str = ""

    @property
    def measured(self) -> str:
        """The estimate, its interval and the prediction interval, as text."""
        return with_interval(self.value, self.low, self.high, self.new_low, self.new_high)

    @property
    def required(self) -> str:
        """The range, as text."""
        if (math.isinf(self.above) and math.isinf(self.below)) or self.role == SHOWN:
            return "–"
        if math.isinf(self.below):
            return f"above {_limit(self.above)}{self._contradicted('below', self.above - self.undecided)}"
        if math.isinf(self.above):
            return f"below {_limit(self.below)}{self._contradicted('above', self.below + self.undecided)}"
        return f"between {_limit(self.above)} and {_limit(self.below)}"

    def _contradicted(self, side: str, limit: float) -> str:
        return f" (contradicted {side} {_limit(limit)})" if self.undecided else ""

    @property
    def state(self) -> str:
        """`SUPPORTED`, `CONTRADICTED` if the whole interval lies outside the range on one side, `OPEN`, or `UNTESTED`."""
        if math.isnan(self.low):
            return UNTESTED
        if self.above < self.low and self.high < self.below:
            return SUPPORTED
        return CONTRADICTED if self.high < self.above - self.undecided or self.low > self.below + self.undecided else OPEN

    @property
    def of_paper(self) -> tuple[float, float, float] | None:
        """The estimate and the ends of its interval, divided by the paper's value; not for a negligible change."""
        if self.paper is None or self.hardly:
            return None
        low, high = sorted((self.low / self.paper.value, self.high / self.paper.value))
        return self.value / self.paper.value, low, high

    def with_limit(self, percent: float) -> "Condition":
        """Return the condition with another value of `NEGLIGIBLE`; conditions with other limits stay as they are."""
        if not self.hardly:
            return self
        if self.hardly == TIMES:
            return replace(self, below=1 + percent / 100)
        return replace(self, above=-percent, below=percent)


def hardly(contrast: str, interval: Sequence[float], scale: str = PERCENT, **more) -> Condition:
    """Return the condition that a change is negligible: within +-`NEGLIGIBLE` per cent, or as a ratio below 1.1 times."""
    return Condition(contrast, *interval, hardly=scale, **more).with_limit(NEGLIGIBLE)


def untested(contrast: str, reason: str, role: str = CONTROL) -> Condition:
    """Return a condition without data."""
    return Condition(contrast, math.nan, math.nan, math.nan, role=role, reason=reason)


@dataclass(frozen=True)
class Claim:
    """A claim: its section, its `text`, the tables it is tested on, and the function that makes its `conditions`.

    The section of a claim that the paper does not make ends with ", beyond the paper". `relation` is set if the claim is about a single
    relation, and `row` is the text that such claims share on the report's first screen. Without `conditions`, `remark` is the reason why
    it is not tested.
    """

    section: str
    text: str
    tables: tuple[str, ...] = ()
    conditions: Callable | None = None
    relation: str = ""
    row: str = ""
    remark: str = ""

    @property
    def title(self) -> str:
        """The section and the text."""
        return f"{self.section}: {self.text}"


def verdict(conditions: Sequence[Condition]) -> str:
    """Return one of `VERDICTS`.

    A claim is supported if all its own conditions are, contradicted if one of them is, and open otherwise. It is partly supported if it
    stands and a control that was tested does not.
    """
    states = {condition.state for condition in conditions if condition.role == CLAIM}
    if not states or UNTESTED in states:
        return UNTESTED
    if states != {SUPPORTED}:
        return CONTRADICTED if CONTRADICTED in states else OPEN
    return PARTLY if failed_controls(conditions) else SUPPORTED


def failed_controls(conditions: Sequence[Condition]) -> list[Condition]:
    """Return the controls that were tested and do not hold."""
    return [condition for condition in conditions if condition.role == CONTROL and condition.state in (OPEN, CONTRADICTED)]


def other_verdicts(conditions: Sequence[Condition]) -> dict[int, str]:
    """Return the verdict for each of `OTHER_LIMITS`; empty if no condition that decides has this limit."""
    if not any(condition.hardly and condition.role != SHOWN for condition in conditions):
        return {}
    return {limit: verdict([condition.with_limit(limit) for condition in conditions]) for limit in OTHER_LIMITS}


def signed(verdict: str) -> str:
    """Return a verdict with its sign, as readers see it."""
    return f"{SIGNS[verdict]} {verdict}"


def counted(name: str, relations: Sequence) -> dict[str, object]:
    """Return `n` and `unit` of a condition: the name of what is counted, and of how many relations; `relations` has that of each."""
    count = len(set(relations))
    return {"n": len(relations), "unit": f"{name} of {count} relation{'s' if count > 1 else ''}"}


def reported(contrast: Callable[..., float], *ids: str) -> Reported:
    """Return a contrast of the paper's values; `ids` are those of `data/published/paper.csv`."""
    rows = paper_values().loc[list(ids)]
    return Reported(float(contrast(*rows["value"])), bool((rows["checked"] == "yes").all()))


def intervals(statistic: Statistic, relations: Sequence, seed: int) -> list[tuple[float, float, float]]:
    """Return (estimate, low, high) of each component of a statistic; for the arguments see `bootstrap_interval`."""
    return list(zip(*bootstrap_interval(statistic, relations, seed), strict=True))


def _limit(value: float) -> str:
    return f"{value:g}".replace("-", "−")
