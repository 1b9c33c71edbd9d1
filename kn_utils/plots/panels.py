"""The frame of every figure: panels of one width, a title above them, one legend below; and readable logarithmic scales."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from kn_utils.plots.style import NAMES, WIDTH


@contextmanager
def panels(
    title: str, height: float, rows: int = 1, columns: int = 1, legend_columns: int = 4, **shared
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make a figure of `height` inches and give it and its panels, row by row; at the end add its title and the legend of all panels.

    `shared` are further arguments of `matplotlib.pyplot.subplots`, such as `sharey=True`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained", **shared)
    yield figure, list(axes.flat)
    figure.suptitle(title, x=0.01, ha="left")
    _share_legend(figure, legend_columns)


def _share_legend(figure: Figure, columns: int) -> None:
    """Put one legend of all panels below them, where it hides nothing: methods in their order, then the rest."""
    entries = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    names = [*NAMES.values()]
    labels = sorted(entries, key=lambda label: names.index(label) if label in names else len(names))
    for axis in figure.axes:
        if axis.get_legend():
            axis.get_legend().remove()
    if labels:
        figure.legend([entries[label] for label in labels], labels, loc="outside lower center", ncols=columns)


def label_log_scale(axis: Axis) -> None:
    """Write plain numbers at 1, 2 and 5 of every decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    write_numbers(axis)


def write_numbers(axis: Axis, about: int = 6) -> None:
    """Write a logarithmic scale's numbers out; matplotlib's own labels are formulas, which the project's style does not read.

    Numbers take more room than formulas: where there are many more than `about` decades, every second or third one is labelled.
    """
    axis.get_major_locator().set_params(numticks=about)
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())
