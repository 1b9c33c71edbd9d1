"""The figure of notebook 11: the scores of all neurons, by layer."""

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
        for _, neurons in chosen.head(NAMED).groupby("layer"):
            height = float("inf")  # names in one layer stand below each other
            for row in neurons.itertuples():
                height = min(row.share, height - LINE_HEIGHT)
                axis.text(row.layer + 1.08, height, row.name, va="center", fontsize=8)
        axis.axhline(SCORE_SHARE, **LINE, linestyle="--", label="strong")
        axis.set(xlabel="layer", ylabel="share of the largest score", ylim=(0, 1.08), xlim=(0.4, len(mean) + 0.9))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
    return figure
