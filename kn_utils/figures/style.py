"""The look that all figures share: one palette, one order of methods, one set of names."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

# Okabe and Ito's colours, told apart by colour-blind readers
PALETTE = {"attribution": "#0072B2", "activation": "#D55E00", "random": "#7F7F7F"}
NAMES = {"attribution": "integrated gradients", "activation": "activation (baseline)", "random": "random neurons"}
PUBLISHED = {
    "marker": "D",
    "color": "black",
    "markersize": 5,
    "linestyle": "none",
    "zorder": 5,
}  # the paper's values in our figures


def use_style() -> None:
    """Set the look that all figures of the project share."""
    sns.set_theme(context="notebook", style="whitegrid", palette=list(PALETTE.values()), font_scale=0.9)
    plt.rcParams |= {"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlelocation": "left", "axes.titlesize": "medium"}


def by_method(table: pd.DataFrame) -> dict:
    """Return seaborn's arguments that give each method of a table its name and colour, always in the same order."""
    colours = {NAMES[method]: colour for method, colour in PALETTE.items() if method in set(table["method"])}
    return {"hue": table["method"].map(NAMES), "hue_order": list(colours), "palette": colours}
