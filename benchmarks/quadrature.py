"""How far the released sum, and the error-controlled rule, are from the integral on real prompts, layer by layer.

One prompt each of a few facts of every relation. The reference is the error-controlled rule with a twentieth of the default tolerance; the
errors are the largest of a layer's scores, as shares of the largest score of the prompt.

`python benchmarks/quadrature.py --output data/published/quadrature.json`
"""

import argparse
import json
import random
from itertools import islice
from pathlib import Path

import pandas as pd
from attribution import machine
from tqdm import tqdm

from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.attribution import Attribution, Quadrature, integrated_gradients
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import Prompt, stack, usable_prompts

MODELS = ("starter", "smollm2-135m")
REFERENCE = Quadrature("gauss-legendre", tolerance=0.001)
RULES = {"released": Quadrature(), "controlled": Quadrature("gauss-legendre")}


def drawn(lm: LanguageModel, dataset: Dataset, relations: list[str], facts: int, seed: int) -> list[Prompt]:
    """Return one random prompt of each of `facts` random facts of every relation that can be asked."""
    chosen = []
    for relation in relations:
        draw = random.Random(f"{seed}-{relation}")
        shuffled = draw.sample(dataset.facts[relation], len(dataset.facts[relation]))
        asked = (prompts for fact in shuffled if (prompts := usable_prompts(lm, dataset, fact)))
        chosen += [draw.choice(prompts) for prompts in islice(asked, facts)]
    return chosen


def compared(lm: LanguageModel, prompt: Prompt) -> list[dict]:
    """Return a row per rule and layer: its error, its nodes, and how many strong neurons of the prompt it and the reference have."""
    batch = stack([prompt], lm.device)
    reference = integrated_gradients(lm, batch, REFERENCE)
    rows = []
    for name, quadrature in RULES.items():
        found = integrated_gradients(lm, batch, quadrature)
        error = (found.score - reference.score)[0].abs().amax(1) / reference.score.max()
        counts = dict(zip(("strong", "both", "strong_reference"), _strong(found, reference), strict=True))
        where = {"model": lm.name, "relation": prompt.fact.relation, "fact": prompt.fact.index, "prompt": prompt.index}
        where |= {"rule": name} | counts
        layers = zip(error.tolist(), found.nodes[0].tolist(), strict=True)
        rows += [where | {"layer": layer, "error": size, "nodes": nodes} for layer, (size, nodes) in enumerate(layers)]
    return rows


def _strong(found: Attribution, reference: Attribution) -> tuple[int, int, int]:
    strong, true = (scores[0] >= Thresholds().attribution * scores.max() for scores in (found.score, reference.score))
    return int(strong.sum()), int((strong & true).sum()), int(true.sum())


def main() -> None:
    """Measure, print the medians and write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dataset", default="pararel")
    parser.add_argument("--relation", default="all")
    parser.add_argument("--facts", type=int, default=2, help="of each relation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    chosen = parser.parse_args()
    dataset, rows = load_dataset(chosen.dataset), []
    for name in chosen.models:
        lm = load_model(name)
        prompts = drawn(lm, dataset, dataset.select(chosen.relation), chosen.facts, chosen.seed)
        rows += [row for prompt in tqdm(prompts, desc=lm.name, unit="prompt") for row in compared(lm, prompt)]
    print(pd.DataFrame(rows).groupby(["model", "rule", "layer"], sort=False)["error"].median().unstack("rule").to_string())
    if chosen.output:
        made = machine() | {"dataset": dataset.name, "seed": chosen.seed, "reference": REFERENCE.inputs()}
        chosen.output.write_text(json.dumps({"machine": made, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
