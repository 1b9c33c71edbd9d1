"""Draw the card that links to the book show, book/images/card.png (1200 x 630), from the tables of notebook 03 for all relations:

python book/make_card.py --results-dir results --n-facts 12
"""

import argparse

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kn_utils.data.facts import load_dataset
from kn_utils.chapters.modify_activation.figures import plot_changes
from kn_utils.plots.style import WIDTH, use_style
from kn_utils.paths import ROOT, model_name
from kn_utils.store.runs import Run
from kn_utils.chapters.modify_activation.numbers import load_answers, probability_changes

PIXELS = (1200, 630)
TITLE = "Knowledge neurons: a reproducible notebook collection"
SUBTITLE = "What happens to a language model's answer when they are suppressed or amplified"


def draw_card(run: Run) -> Figure:
    """Return the changes of all relations under a title. Raises FileNotFoundError if notebook 03 has not been run over all."""
    relations = run.dataset.relations
    answers = load_answers(run, relations)
    facts = len(answers[["relation", "fact"]].drop_duplicates())
    figure = plot_changes(probability_changes(answers, run.seed), TITLE)
    figure.set_size_inches(WIDTH, WIDTH * PIXELS[1] / PIXELS[0])
    figure.get_layout_engine().set(rect=(0.02, 0.02, 0.96, 0.74))
    figure.suptitle(TITLE, x=0.03, y=0.97, ha="left", fontsize=15, weight="bold")
    own = "Our own model: " if run.model == "starter" else ""
    figure.text(0.03, 0.8, f"{SUBTITLE}.\n{own}{run.scope(relations)}, {facts} facts, seed {run.seed}", fontsize=11)
    return figure


def main() -> None:
    """Read the command line, draw and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--dataset", default="starter")
    parser.add_argument("--results-dir", default="results")
    parser.add_argument("--n-facts", type=int)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    use_style()
    run = Run(model_name(given.model), load_dataset(given.dataset), given.n_facts, given.seed, given.results_dir)
    with plt.rc_context({"savefig.bbox": "standard"}):
        draw_card(run).savefig(ROOT / "book" / "images" / "card.png", dpi=PIXELS[0] / WIDTH)


if __name__ == "__main__":
    main()
