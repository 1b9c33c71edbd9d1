"""How long step 1 takes with your model, your facts and this machine: times a few prompts and multiplies.

`python benchmarks/time_prompts.py MODEL DATASET --prompts 8`, with a model and a data set as in the notebooks. A run attributes more
prompts at a time, which is faster; runs beside each other share the cores. What the other steps took in our runs: see chapter 10.
"""

import argparse
import random
import time

from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.attribution import Quadrature, integrated_gradients
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import Prompt, encode, group_by_length, stack
from kn_utils.parameters import QUADRATURES


def all_prompts(lm: LanguageModel, dataset: Dataset) -> list[Prompt]:
    """Return every prompt of a data set that the model can be given."""
    facts = (fact for relation in dataset.relations for fact in dataset.facts[relation])
    return [prompt for prompt in encode(lm, dataset, facts) if isinstance(prompt, Prompt)]


def drawn(prompts: list[Prompt], count: int) -> list[Prompt]:
    """Return some of the prompts, always the same ones."""
    return random.Random(42).sample(prompts, min(count, len(prompts)))


def seconds_per_prompt(lm: LanguageModel, prompts: list[Prompt], quadrature: Quadrature) -> float:
    """Return the mean time of attributing prompts, after one of them as a warm-up."""
    integrated_gradients(lm, stack(prompts[:1], lm.device), quadrature)
    began = time.perf_counter()
    for group in group_by_length(prompts, lambda length: quadrature.prompts_at_once(lm, length)):
        integrated_gradients(lm, stack([prompts[index] for index in group], lm.device), quadrature)
    return (time.perf_counter() - began) / len(prompts)


def main() -> None:
    """Time what the command line names and print seconds per prompt, and hours for the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--prompts", type=int, default=8, help="how many to time, drawn from all relations")
    parser.add_argument("--quadrature", choices=QUADRATURES, default=QUADRATURES[0])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    lm, dataset = load_model(given.model, given.device), load_dataset(given.dataset)
    prompts = all_prompts(lm, dataset)
    if not prompts:
        parser.error(f"{given.model} can be given no prompt of {given.dataset}")
    timed = drawn(prompts, given.prompts)
    seconds = seconds_per_prompt(lm, timed, Quadrature(given.quadrature))
    print(f"{lm.name} on {dataset.name}, {given.quadrature}, {lm.device}: {seconds:.3g} s per prompt ({len(timed)} timed)")
    print(f"{len(prompts):,} prompts of the whole data set: {seconds * len(prompts) / 3600:.3g} h by step 1")


if __name__ == "__main__":
    main()
