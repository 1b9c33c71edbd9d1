"""What figures of several panels share: one legend, and readable logarithmic scales."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter


def share_legend(figure: Figure, axes: Sequence[Axes], ncols: int = 4) -> None:
    """Put one legend of all panels below them, where it hides nothing."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    for axis in axes:
        if axis.get_legend():
            axis.get_legend().remove()
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=ncols, fontsize="small")


def label_log_scale(axis: Axis) -> None:
    """Write plain numbers at 1, 2 and 5 of every decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())
