"""The pictures of the README, from our published results: `python -m kn_utils.report.readme` writes them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from kn_utils.chapters.how_much_passes import figures as how_much_passes
from kn_utils.chapters.how_much_passes.numbers import PAIR, shares
from kn_utils.chapters.modify_activation import figures as modify_activation
from kn_utils.chapters.modify_activation.numbers import log_odds_changes
from kn_utils.paths import ROOT
from kn_utils.plots.changes import LOG_ODDS
from kn_utils.plots.markup import scope
from kn_utils.plots.style import use_style
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import facts_with_prompts

FOLDER = ROOT / "book" / "images"
RESULTS = PublishedResults("starter", "pararel")
TABLES = ("facts", "modify_activation", "how_much_passes")


def plot_effect(seed: int) -> Figure:
    """Show chapter 3's changes of log-odds."""
    changes = log_odds_changes(RESULTS.read("modify_activation", RESULTS.relations), seed)
    facts = len(facts_with_prompts(RESULTS.read("facts", RESULTS.relations)))
    title = f"Change of the object's log-odds\n{_about(f'{facts:,} facts', seed)}"
    return modify_activation.plot_changes(changes, LOG_ODDS, title)


def plot_what_passes(seed: int) -> Figure:
    """Show chapter 15's shares."""
    table = RESULTS.read("how_much_passes", RESULTS.relations)
    pairs = len(table.drop_duplicates(PAIR))
    title = f"How much of a fact passes through these states\n{_about(f'{pairs} pairs of facts', seed)}"
    return how_much_passes.plot_shares(shares(table, seed), title)


PICTURES: dict[str, Callable[[int], Figure]] = {"effect": plot_effect, "what_passes": plot_what_passes}


def write_pictures(seed: int, folder: Path = FOLDER) -> None:
    """Write the pictures as PNG files that name the tables they show."""
    use_style()
    made_from = {"Source": source()}
    for name, plot in PICTURES.items():
        plot(seed).savefig(folder / f"{name}.png", dpi=120, metadata=made_from)


def source() -> str:
    """Return the SHA-256 of the published tables that the pictures show."""
    found = hashlib.sha256()
    for table in TABLES:
        found.update(RESULTS.path(table).read_bytes())
    return found.hexdigest()


def _about(counted: str, seed: int) -> str:
    return f"{scope(RESULTS, RESULTS.relations)}, {counted}, seed {seed}"
