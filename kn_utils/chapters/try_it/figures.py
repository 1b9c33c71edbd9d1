"""The figure of notebook 11: the scores of all neurons, by layer."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_utils.chapters.try_it.table import Scores
from kn_utils.model.neurons import SCORE_SHARE
from kn_utils.parameters import KEPT_SHARE
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE, MARKERS, PALETTE

NAMED = 6  # neurons with their names in the figure
LINE_HEIGHT = 0.08  # of a name, in shares


def plot_map(scores: Scores, title: str) -> Figure:
    """Show the mean share of the largest score of every neuron that reaches a tenth, by layer; the chosen neurons are filled.

    The dashed line is the threshold of strong neurons.
    """
    mean = scores.share.mean(0)
    layer, neuron = (mean >= KEPT_SHARE).nonzero(as_tuple=True)
    chosen = scores.neurons
    with panels(title, 3.4) as (figure, [axis]):
        axis.plot(
            layer + 1, mean[layer, neuron], "o", color=PALETTE["random"], fillstyle="none", markersize=4, label="other neurons"
        )
        axis.plot(
            chosen["layer"] + 1, chosen["share"], MARKERS["attribution"], color=PALETTE["attribution"], label="these neurons"
        )
        for layer, neurons in chosen.head(NAMED).groupby("layer"):
            _draw_names(axis, layer + 1, neurons["share"].tolist(), neurons["name"])
        axis.axhline(SCORE_SHARE, **LINE, linestyle="--", label="strong")
        axis.set(xlabel="layer", ylabel="share of the largest score", ylim=(0, 1.08), xlim=(0.4, len(mean) + 0.9))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
    return figure


def _draw_names(axis: Axes, layer: int, shares: Sequence[float], names: Sequence[str]) -> None:
    """Write the names of a layer's neurons below each other, each with a line to its dot."""
    for share, height, name in zip(shares, spread(shares), names, strict=True):
        line = {"arrowstyle": "-", "color": PALETTE["attribution"], "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        place = {"xytext": (18, height), "textcoords": ("offset points", "data")}
        axis.annotate(name, (layer, share), **place, va="center", fontsize=8, arrowprops=line)


def spread(shares: Sequence[float]) -> list[float]:
    """Return the heights of names, for shares from the largest on: a line apart at least, around the shares, and not above 1."""
    heights: list[float] = []
    for share in shares:
        heights.append(min([share, *(height - LINE_HEIGHT for height in heights[-1:])]))
    rise = min((sum(shares) - sum(heights)) / len(heights), 1 - shares[0])
    return [height + rise for height in heights]
