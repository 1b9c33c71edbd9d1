"""The pictures of written pages, from what is published: `python -m kn_utils.report.readme` writes them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from kn_utils.chapters.how_much_passes import figures as how_much_passes
from kn_utils.chapters.how_much_passes.numbers import PAIR, shares
from kn_utils.chapters.modify_activation import figures as modify_activation
from kn_utils.chapters.modify_activation.numbers import log_odds_changes
from kn_utils.chapters.query_results import figures as query_results
from kn_utils.chapters.query_results.numbers import scaling_title
from kn_utils.paths import DATA, ROOT
from kn_utils.plots.changes import LOG_ODDS
from kn_utils.plots.markup import scope
from kn_utils.plots.style import use_style
from kn_utils.store.measured import load_measured
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import facts_with_prompts

FOLDER = ROOT / "book" / "images"
RESULTS = PublishedResults("starter", "pararel")
SCALING = DATA / "published" / "scaling.json"


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


def plot_growth(seed: int) -> Figure:
    """Show how time and memory of notebook 01 grow, as chapter 9."""
    rows, machine = load_measured(SCALING.stem)
    return query_results.plot_scaling(rows, scaling_title(rows, machine))


PICTURES: dict[str, tuple[Callable[[int], Figure], Sequence[Path]]] = {  # and the files that they show
    "effect": (plot_effect, (RESULTS.path("facts"), RESULTS.path("modify_activation"))),
    "what_passes": (plot_what_passes, (RESULTS.path("how_much_passes"),)),
    "growth": (plot_growth, (SCALING,)),
}


def write_pictures(seed: int, folder: Path = FOLDER) -> None:
    """Write the pictures as PNG files that name what they show."""
    use_style()
    for name, (plot, _) in PICTURES.items():
        plot(seed).savefig(folder / f"{name}.png", dpi=120, metadata={"Source": source(name)})


def source(name: str) -> str:
    """Return the SHA-256 of the published files that a picture shows."""
    found = hashlib.sha256()
    for path in PICTURES[name][1]:
        found.update(path.read_bytes())
    return found.hexdigest()


def _about(counted: str, seed: int) -> str:
    return f"{scope(RESULTS, RESULTS.relations)}, {counted}, seed {seed}"
