"""The rule by which a claim of the paper is judged: conditions, each a contrast with an interval, the claim itself first."""

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
NEGLIGIBLE = 10  # per cent: the most that counts as little, where the paper says that there is little change
SIZE = "at least half the paper's effect"


@dataclass(frozen=True)
class Reported:
    """A contrast of the paper's values; `checked` if a second source confirms all of them."""

    value: float
    checked: bool


@dataclass(frozen=True)
class Condition:
    """A `contrast` with its 95 % interval, and the open range between `above` and `below` in which all of the interval must lie.

    `n` counts what is resampled, named by `unit`; `paper` is the same contrast in the paper, if it has one. `is_size` marks the condition
    on the size of the paper's effect. The interval is NaN where there are too few facts or relations for one.
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
        """Whether the whole interval lies in the range; it does not if there is no interval."""
        return self.above < self.low and self.high < self.below


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its section, its `text`, the tables it is tested on and what turns them into conditions.

    `relation` is the one it is about, if it is about a single one; without `conditions`, `remark` says why it cannot be tested.
    """

    section: str
    text: str
    tables: tuple[str, ...] = ()
    conditions: Callable | None = None
    relation: str = ""
    remark: str = ""


class NoDataError(ValueError):
    """The tables of a run do not say anything about a claim; the text says why."""


def verdict(conditions: Sequence[Condition]) -> str:
    """Return one of `VERDICTS` for a claim, whose first condition is the claim itself and whose others are its controls and its size.

    A control or a size that could not be tested counts neither for the claim nor against it.
    """
    if not conditions or not conditions[0].tested:
        return UNTESTED
    if not conditions[0].holds:
        return NOT_REPLICATED
    return REPLICATED if all(condition.holds for condition in conditions if condition.tested) else PARTLY


def reported(contrast: Callable[..., float], *ids: str) -> Reported:
    """Return a contrast of the paper's values, by their ids in `data/published/paper.csv`."""
    rows = paper_values().loc[list(ids)]
    return Reported(float(contrast(*rows["value"])), bool((rows["checked"] == "yes").all()))


def half_the_paper(condition: Condition) -> Condition:
    """Return the condition that a contrast has at least half of its size in the paper, on the same side of zero."""
    half = condition.paper.value / 2
    above, below = (half, math.inf) if half > 0 else (-math.inf, half)
    return replace(condition, contrast=f"{SIZE}: {condition.contrast}", above=above, below=below, is_size=True)


def intervals(
    statistic: Callable[[np.ndarray], Sequence[float]], strata: Sequence, seed: int
) -> list[tuple[float, float, float]]:
    """Return (estimate, low, high) of each component of a statistic of row numbers; arguments as of `bootstrap_interval`.

    Where a claim compares two numbers the statistic is their difference, so that the interval is of the difference.
    """
    found = bootstrap_interval(lambda rows: np.asarray(statistic(rows), float), strata, seed)
    return [tuple(map(float, triple)) for triple in zip(*found, strict=True)]
