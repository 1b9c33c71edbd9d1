"""What weights in half precision change: scores of some prompts with weights in bfloat16 and float16, against those in float32.

`python benchmarks/half_precision.py MODEL DATASET --prompts 40`, with a model and a data set as in the notebooks; error-controlled rule.
"""

import argparse

import pandas as pd
import torch
from time_prompts import all_prompts, drawn

from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Attribution, Quadrature, integrated_gradients
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.neurons import SCORE_SHARE
from kn_utils.model.prompts import Prompt, stack

HALF = ("bfloat16", "float16")


def attributions(lm: LanguageModel, prompts: list[Prompt]) -> list[Attribution]:
    """Return the scores of each prompt."""
    return [integrated_gradients(lm, stack([prompt], lm.device), Quadrature("gauss-legendre")) for prompt in prompts]


def differences(exact: list[Attribution], half: list[Attribution]) -> pd.DataFrame:
    """Return how the scores in half precision differ, one row per prompt.

    `probability` is the absolute difference of the object's probability, `score` the largest difference of a score, as a share of the
    prompt's largest, and `same` the share of strong neurons (at least t of the largest score) that both name, of those that one of them
    names; `strongest` is whether the neuron with the largest score is the same.
    """
    rows = []
    for one, other in zip(exact, half, strict=True):
        scores, found = one.score.flatten(), other.score.flatten()
        strong, found_strong = (values >= SCORE_SHARE * values.max() for values in (scores, found))
        rows.append({
            "probability": float((one.probability - other.probability).abs()),
            "score": float((scores - found).abs().max() / scores.max()),
            "same": float((strong & found_strong).sum() / (strong | found_strong).sum()),
            "strongest": bool(scores.argmax() == found.argmax()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> dict[str, str]:
    """Return the numbers of a line of the table."""
    return {
        "probability, largest difference": f"{rows['probability'].max():.2g}",
        "scores, median of the largest difference": f"{100 * rows['score'].median():.2g} %",
        "scores, largest difference": f"{100 * rows['score'].max():.2g} %",
        "strong neurons in common": f"{100 * rows['same'].mean():.3g} %",
        "same strongest neuron": f"{100 * rows['strongest'].mean():.3g} %",
    }


def main() -> None:
    """Print a Markdown table for the model and the data set that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--prompts", type=int, default=40, help="how many, drawn from all relations")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    lm, dataset = load_model(given.model, given.device), load_dataset(given.dataset)
    prompts = drawn(all_prompts(lm, dataset), given.prompts)
    exact = attributions(lm, prompts)
    lines = {}
    for dtype in HALF:
        half = load_model(given.model, given.device, dtype)
        lines[dtype] = summary(differences(exact, attributions(half, prompts)))
    print(f"{lm.name} on {dataset.name}, {lm.device}, {len(prompts)} prompts, seed 42, torch {torch.__version__}\n")
    columns = list(lines[HALF[0]])
    rows = [["weights", *columns], ["---"] * (1 + len(columns)), *([dtype, *line.values()] for dtype, line in lines.items())]
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
