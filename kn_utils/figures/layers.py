"""The figure that notebooks 01 and 02 share: in which layers neurons lie (the paper's figure 3)."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from kn_utils.figures.panels import share_legend
from kn_utils.figures.style import by_method


def plot_layer_shares(shares: pd.DataFrame, neurons: str, title: str) -> Figure:
    """Show the share of `neurons` (a word for them) by layer; `shares` has the columns method, layer (from 1) and share (per cent)."""
    figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    sns.barplot(shares, x="layer", y="share", **by_method(shares), saturation=1, ax=axis)
    axis.set(title=title, xlabel="layer", ylabel=f"share of {neurons} (%)")
    share_legend(figure, [axis])
    axis.xaxis.set_major_locator(plt.MaxNLocator(nbins=16, integer=True))
    return figure
