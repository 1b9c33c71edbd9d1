"""Alternative texts of figures, for readers who do not see them."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_ROWS = 12  # labels of an axis that are listed


def alternative_text(figure: Figure) -> str:
    """Return a figure's title, the scales and labels of its panels, and its legend, in one line."""
    panels = [_panel(axis) for axis in figure.axes if axis.axison and axis.get_subplotspec() and not _is_colour_bar(axis)]
    legend = [text.get_text() for box in figure.legends for text in box.get_texts()]
    parts = [figure.get_suptitle(), *panels, *([f"Shown: {', '.join(legend)}"] if legend else [])]
    return ". ".join(" ".join(part.split()) for part in parts if part)


def _is_colour_bar(axis: Axes) -> bool:
    return axis.get_label() == "<colorbar>"


def _panel(axis: Axes) -> str:
    scales = " by ".join(name for name in (axis.get_xlabel(), axis.get_ylabel()) if name)
    rows = [label.get_text() for label in axis.get_yticklabels()]
    words = [row for row in rows if any(letter.isalpha() for letter in row)]
    more = f", and {len(words) - MAX_ROWS} more" if len(words) > MAX_ROWS else ""
    listed = f"; rows: {', '.join(words[:MAX_ROWS])}{more}" if words else ""
    title = axis.get_title(loc="left") or axis.get_title()
    return f"Panel {title}: {scales}{listed}" if title else f"{scales}{listed}"
