"""The rule for verdicts. A claim is a list of conditions, each a contrast with an interval; the first is the claim itself."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kn_utils.stats.intervals import bootstrap_interval, number, with_interval
from kn_utils.store.paper import paper_values

Tables = dict[str, pd.DataFrame]  # by name

REPLICATED, PARTLY, NOT_REPLICATED, UNTESTED = "replicated", "partly", "not replicated", "cannot be tested here"
VERDICTS = (REPLICATED, PARTLY, NOT_REPLICATED, UNTESTED)
NEGLIGIBLE = 10  # %; a smaller change counts as "little change", where the paper claims this


@dataclass(frozen=True)
class Reported:
    """A contrast of the paper's values; `checked` is True if a second source confirms all of them."""

    value: float
    checked: bool


@dataclass(frozen=True)
class Condition:
    """A `contrast` with its 95 % interval. The whole interval must lie between `above` and `below`.

    `n` is the number of resampled units, and `unit` their name; `paper` is the contrast in the paper, if known. `is_size` is True for the
    condition on the size of the effect. The interval is NaN if there are too few facts or relations.
    """

    contrast: str
    value: float
    low: float
    high: float
    n: int
    unit: str = "facts"
    above: float = -math.inf
    below: float = math.inf
    paper: Reported | None = None
    is_size: bool = False

    @property
    def measured(self) -> str:
        """The estimate and its interval, as text."""
        return with_interval(self.value, self.low, self.high)

    @property
    def required(self) -> str:
        """The range, as text."""
        if math.isinf(self.below):
            return f"above {number(self.above)}"
        if math.isinf(self.above):
            return f"below {number(self.below)}"
        return f"between {number(self.above)} and {number(self.below)}"

    @property
    def tested(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def holds(self) -> bool:
        """Whether the whole interval lies in the range; False without an interval."""
        return self.above < self.low and self.high < self.below


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


def verdict(conditions: Sequence[Condition]) -> str:
    """Return one of `VERDICTS`. The first condition is the claim itself; the others are its controls and its size.

    Controls that cannot be tested are ignored.
    """
    if not conditions or not conditions[0].tested:
        return UNTESTED
    if not conditions[0].holds:
        return NOT_REPLICATED
    return REPLICATED if all(condition.holds for condition in conditions if condition.tested) else PARTLY


def reported(contrast: Callable[..., float], *ids: str) -> Reported:
    """Return a contrast of the paper's values; `ids` are those of `data/published/paper.csv`."""
    rows = paper_values().loc[list(ids)]
    return Reported(float(contrast(*rows["value"])), bool((rows["checked"] == "yes").all()))


def half_the_paper(condition: Condition) -> Condition:
    """Return the condition that a contrast is at least half of the paper's value, with the same sign."""
    half = condition.paper.value / 2
    above, below = (half, math.inf) if half > 0 else (-math.inf, half)
    return replace(
        condition, contrast=f"at least half the paper's effect: {condition.contrast}", above=above, below=below, is_size=True
    )


def intervals(
    statistic: Callable[[np.ndarray], Sequence[float]], strata: Sequence, seed: int
) -> list[tuple[float, float, float]]:
    """Return (estimate, low, high) of each component of a statistic; for the arguments see `bootstrap_interval`."""
    found = bootstrap_interval(lambda rows: np.asarray(statistic(rows), float), strata, seed)
    return [tuple(map(float, triple)) for triple in zip(*found, strict=True)]
