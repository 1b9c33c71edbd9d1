"""The frame of every figure: panels, a title above, one legend below; and plain numbers on logarithmic scales."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kn_utils.plots.style import NAMES, WIDTH

FEW_DECADES = 4
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def panels(
    title: str, height: float, rows: int = 1, columns: int = 1, legend_columns: int = 4, **shared
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure of `height` inches and the list of its panels; on exit, add the title and a common legend.

    `shared` is passed to `matplotlib.pyplot.subplots`, for example `sharey=True`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained", **shared)
    yield figure, list(axes.flat)
    figure.suptitle(title, x=0.01, ha="left")
    _share_legend(figure, legend_columns)


def _share_legend(figure: Figure, columns: int) -> None:
    """Put a common legend below the panels: methods first, then other entries. A single entry needs none."""
    entries = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    names = [*NAMES.values()]
    labels = sorted(entries, key=lambda label: names.index(label) if label in names else len(names))
    for axis in figure.axes:
        if axis.get_legend():
            axis.get_legend().remove()
    if len(labels) > 1:
        figure.legend([entries[label] for label in labels], labels, loc="outside lower center", ncols=columns)


def label_log_scale(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: at 1, 2 and 5 of every decade, or at powers of ten if it has more than `FEW_DECADES`."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high <= low * 10**FEW_DECADES else (1,)))
    write_numbers(axis)


def write_numbers(axis: Axis, about: int = 6) -> None:
    """Label a logarithmic axis with plain numbers, at about `about` of its decades; the style turns matplotlib's formulas off."""
    axis.get_major_locator().set_params(numticks=about)
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_number(value: float) -> str:
    """Return a number as text: 0.001 to 100,000 in digits, others as a power of ten, for example 2·10⁶."""
    if not value or 1e-3 <= abs(value) < 1e6:
        return f"{value:,g}"
    digits, exponent = f"{value:.0e}".split("e")
    times = {"1": "", "-1": "-"}.get(digits, f"{digits}·")
    return f"{times}10{str(int(exponent)).translate(SUPERSCRIPTS)}"
