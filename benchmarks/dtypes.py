"""How much half-precision weights change: `python benchmarks/dtypes.py smollm2-135m 4`

The same prompts are attributed with float32, bfloat16 and float16 weights. The table of `book/architectures.md` has what it prints.
"""

import argparse

import torch

from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Attribution, integrated_gradients
from kn_utils.model.models import load_model
from kn_utils.model.prompts import stack, usable_prompts
from kn_utils.parameters import DTYPES

RELATION = "P36"


def attributed(model: str, dtype: str, count: int) -> tuple[str, list[Attribution]]:
    """Return the way of a model with weights of a type, and the released attribution of the first prompt of some facts."""
    lm, dataset = load_model(model, dtype=dtype), load_dataset("starter")
    prompts = [found[0] for fact in dataset.facts[RELATION] if (found := usable_prompts(lm, dataset, fact))][:count]
    return lm.way, [integrated_gradients(lm, stack([prompt], lm.device)) for prompt in prompts]


def differences(found: list[Attribution], exact: list[Attribution]) -> tuple[float, float, float]:
    """Return the largest difference of a probability; of a score, as a share of the prompt's largest; and the share of equal neurons.

    The last one is the mean share of the ten neurons with the highest scores that both have.
    """
    pairs = list(zip(found, exact, strict=True))
    probability = max(float((one.probability - other.probability).abs().max()) for one, other in pairs)
    score = max(float((one.score - other.score).abs().max() / other.score.max()) for one, other in pairs)
    top = [
        {*one.score.flatten().topk(10).indices.tolist()} & {*other.score.flatten().topk(10).indices.tolist()}
        for one, other in pairs
    ]
    return probability, score, sum(map(len, top)) / (10 * len(top))


def main() -> None:
    """Print a row for each type of weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("prompts", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    _, exact = attributed(given.model, "float32", given.prompts)
    for dtype in DTYPES[1:]:
        way, found = attributed(given.model, dtype, given.prompts)
        probability, score, same = differences(found, exact)
        print(f"| `{dtype}` | {probability:.1g} | {100 * score:.1f} % | {100 * same:.0f} % | {way} |", flush=True)


if __name__ == "__main__":
    main()
