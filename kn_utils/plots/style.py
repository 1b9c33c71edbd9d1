"""Style of figures and tables: width, colours, markers, and names and order of the methods."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

WIDTH = 7.5  # inches; letters stay above 7 pt when printed 160 mm wide, the text width of an A4 page

# colours of Okabe and Ito, for colour-blind readers; markers, lines and hatches distinguish the methods in greyscale
PALETTE = {"attribution": "#0072B2", "activation": "#D55E00", "random": "#7F7F7F"}
MARKERS = {"attribution": "o", "activation": "s", "random": "^"}
LINES = {"attribution": "-", "activation": "--", "random": ":"}
HATCHES = {"attribution": "", "activation": "////", "random": "...."}
NAMES = {"attribution": "integrated gradients", "activation": "activation (baseline)", "random": "random neurons"}
KIND_NAMES = {
    "head_and_tail": "head and tail",
    "head_only": "head only, any word",
    "head_only_comparable": "head only, comparable word",
    "random": "random sentence",
}
PAPER = {
    "marker": "D",
    "markersize": 8,
    "markerfacecolor": "none",
    "linestyle": "none",
    "zorder": 5,
}  # hollow: hides no dot of ours
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")  # of runs; markers distinguish them in greyscale
SERIES_MARKERS = "os^Dv"
LINE = {"color": "black", "linewidth": 0.8}  # reference lines, for example at zero


def use_style() -> None:
    """Set the style of all figures and tables.

    Titles, labels and tables contain text from data sets, so dollar signs are not read as formulas.
    """
    sns.set_theme(context="paper", style="whitegrid", palette=list(PALETTE.values()))
    plt.rcParams |= {"figure.dpi": 110, "savefig.bbox": "tight", "figure.titlesize": "medium", "hatch.linewidth": 0.6}
    plt.rcParams |= {"axes.titlelocation": "left", "axes.titlesize": "medium", "text.parse_math": False}
    pd.options.display.html.use_mathjax = pd.options.styler.html.mathjax = False
