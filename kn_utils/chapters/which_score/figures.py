"""Figures of notebook 14, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.which_score.numbers import NAMES, SHARES
from kn_utils.plots.panels import panels, write_numbers
from kn_utils.plots.style import LINE

# colours of Okabe and Ito; the four kinds of scores share a hue or a line
LOOKS = {
    "released": ("#0072B2", "o", "-"),
    "controlled": ("#0072B2", "s", "--"),
    "log_odds": ("#56B4E9", "^", "-"),
    "gradient": ("#009E73", "D", "-"),
    "frozen_norms": ("#009E73", "v", "--"),
    "log_probability": ("#CC79A7", "P", "-"),
    "static_logit": ("#E69F00", "X", "-"),
    "activation": ("#D55E00", "s", "-"),
    "magnitude": ("#7F7F7F", "^", ":"),
}
HOLLOW = ("controlled", "log_odds", "frozen_norms")  # beside a score of the same colour or time; larger, so they hide none
ABLATION_TITLES = {"zero": "neurons set to zero", "mean": "neurons set to their mean"}


def plot_board(boards: dict[str, pd.DataFrame], title: str) -> Figure:
    """Show the joint share of each score with its interval, a panel per size of the set, best first.

    `boards` are tables of `leaderboard`, by ablation.
    """
    first = next(iter(boards.values()))
    order = first[first["quantity"] == next(iter(SHARES.values()))].sort_values("value", ascending=False)["score"].tolist()
    with panels(title, 0.32 * len(order) + 1.4, columns=len(SHARES), sharey=True) as (figure, axes):
        for axis, (size, quantity) in zip(axes, SHARES.items(), strict=True):
            for number, (ablation, board) in enumerate(boards.items()):
                rows = board[board["quantity"] == quantity].set_index("score").loc[order]
                height = [row + 0.3 * (number - (len(boards) - 1) / 2) for row in range(len(order))]
                color, marker = (("black", "o"), ("#7F7F7F", "s"))[number]
                axis.hlines(height, rows["low"], rows["high"], color=color, linewidth=2)
                axis.plot(rows["value"], height, marker, color=color, label=ABLATION_TITLES[ablation])
            for end in (0, 100):
                axis.axvline(end, **LINE)
            axis.set(title=f"{size} neurons", xlabel="joint share (% of the best set's)", xlim=_limits(*boards.values()))
        axes[0].set(yticks=range(len(order)), yticklabels=[NAMES[name] for name in order], ylim=(len(order) - 0.5, -0.5))
    return figure


def plot_curves(curves: dict[str, pd.DataFrame], title: str) -> Figure:
    """Show the joint share of each score for every size of the set, a panel per ablation; `curves` are tables of that function."""
    with panels(title, 4.2, columns=len(curves), legend_columns=3, sharey=True) as (figure, axes):
        for axis, (ablation, table) in zip(axes, curves.items(), strict=True):
            for score, rows in table.groupby("score", sort=False):
                color, marker, line = LOOKS[score]
                look = {"color": color, "marker": marker, "label": NAMES[score]} | _marker(score)
                axis.plot(rows["size"], rows["value"], line, **look)
            for end in (0, 100):
                axis.axhline(end, **LINE)
            axis.set(title=ABLATION_TITLES[ablation], xscale="log", xlabel="neurons in the set")
            write_numbers(axis.xaxis)
        axes[0].set_ylabel("joint share\n(% of the best set's)")
    return figure


def _marker(score: str) -> dict:
    """Return the size and fill of a score's marker."""
    return {"markersize": 8, "fillstyle": "none"} if score in HOLLOW else {"markersize": 4, "fillstyle": "full"}


def _limits(*boards: pd.DataFrame) -> tuple[float, float]:
    """Return limits of an axis that show every estimate; with few relations intervals are much longer, and are cut."""
    values = pd.concat(board.loc[board["quantity"].isin(SHARES.values()), "value"] for board in boards)
    return min(values.min(), 0) - 25, max(values.max(), 100) + 25


def plot_costs(board: pd.DataFrame, seconds: pd.Series, title: str) -> Figure:
    """Show the joint share of each score against its time for a prompt, a panel per size; `seconds` are of `core_seconds`.

    Scores may take equally long: intervals of those in `HOLLOW` are wider, and lie below the others.
    """
    with panels(title, 3.8, columns=len(SHARES), legend_columns=3, sharey=True) as (figure, axes):
        for axis, (size, quantity) in zip(axes, SHARES.items(), strict=True):
            rows = board[board["quantity"] == quantity].set_index("score")
            for score in seconds.index:
                color, marker, _ = LOOKS[score]
                value, low, high = rows.loc[score, ["value", "low", "high"]]
                below = {"linewidth": 4, "zorder": 1} if score in HOLLOW else {"linewidth": 1.5, "zorder": 2}
                axis.vlines(seconds[score], low, high, color=color, **below)
                axis.plot(seconds[score], value, marker, color=color, label=NAMES[score], zorder=3, **_marker(score))
            axis.axhline(100, **LINE)
            axis.set(title=f"{size} neurons", xscale="log", xlabel="core-seconds for a prompt", ylim=_limits(board))
            write_numbers(axis.xaxis)
        axes[0].set_ylabel("joint share\n(% of the best set's)")
    return figure
