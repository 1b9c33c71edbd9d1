"""What figures of several panels share: one legend, and readable logarithmic scales."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from kn_utils.plots.style import NAMES


def share_legend(figure: Figure, axes: Sequence[Axes], ncols: int = 4) -> None:
    """Put one legend of all panels below them, where it hides nothing: methods in their order, then the rest."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    names = [*NAMES.values()]
    entries = dict(sorted(entries.items(), key=lambda entry: names.index(entry[0]) if entry[0] in names else len(names)))
    for axis in axes:
        if axis.get_legend():
            axis.get_legend().remove()
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=ncols)


def label_log_scale(axis: Axis) -> None:
    """Write plain numbers at 1, 2 and 5 of every decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    write_numbers(axis)


def write_numbers(axis: Axis, about: int = 6) -> None:
    """Write a logarithmic scale's numbers out; matplotlib's own labels are formulas, which the project's style does not read.

    Numbers take more room than formulas: where there are many more than `about` so many decades, every second or third one is labelled.
    """
    axis.get_major_locator().set_params(numticks=about)
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())
