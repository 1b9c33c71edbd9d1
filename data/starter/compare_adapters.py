"""Compare `starter` with low-rank adapters over the public encoder's weights, as a smaller way to keep it.

Training changed every weight. An adapter of rank r (LoRA) keeps the change of each matrix as a product of two thin ones; the best such
product is the truncated singular value decomposition of the change, taken here. Vectors, biases and the new head are kept whole. Sizes
are those of float16 files. From the repository's root:

    PYTHONPATH=. nice python data/starter/compare_adapters.py --output build/adapters

writes every adapted model as an ordinary folder, and size, accuracy and the effect of knowledge neurons into the model card.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from evaluate_model import FOLDER, Examiner, by_relation, percent, sample, table, write_tables
from measure_effect import relation_answers
from transformers import AutoModel

from kn_utils.data.downloads import minilm_encoder
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.store.runs import Run
from kn_utils.chapters.modify_activation.numbers import MEAN, probability_changes

RANKS = (64, 192)
FACTS_FOR_EFFECT = 2


def main() -> None:
    """Write a table of sizes and accuracies into the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapted models")
    parser.add_argument("--facts", type=int, default=20, help="facts per relation")
    parser.add_argument("--templates", type=int, default=3, help="templates per fact")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    examiner, dataset = Examiner(FOLDER), load_dataset("pararel")
    base = {f"bert.{name}": weight for name, weight in AutoModel.from_pretrained(minilm_encoder()).state_dict().items()}
    trained = {name: weight.clone() for name, weight in examiner.model.state_dict().items()}
    facts = sample(examiner, dataset, arguments, held_out=False)
    prompts = examiner.templates(dataset, facts, arguments.templates, arguments.seed)
    rows = []
    for rank in (*RANKS, None):
        weights, size = adapted(trained, base, rank)
        examiner.model.load_state_dict(weights)
        folder = arguments.output / f"rank-{rank}"
        examiner.model.save_pretrained(folder)
        examiner.tokenizer.save_pretrained(folder)
        score = percent(by_relation(examiner.ask(prompts)).values())
        rows.append([f"adapter of rank {rank}" if rank else "all weights", f"{size / 1e6:.1f} MB", score, *effects(folder)])
    heads = ["kept", "size", "accuracy", "knowledge neurons suppressed", "amplified"]
    write_tables(FOLDER / "README.md", {"adapters": table(heads, rows)})


def effects(folder: Path) -> list[str]:
    """Return the change of the object's probability by suppressing and by amplifying knowledge neurons, mean of relations."""
    lm, dataset = load_model(folder), load_dataset("starter")
    run = Run(lm.name, dataset, FACTS_FOR_EFFECT, results_dir=folder / "results")
    changes = probability_changes(pd.concat([relation_answers(lm, run, relation) for relation in dataset.relations]), run.seed)
    ours = changes[(changes["relation"] == MEAN) & (changes["method"] == "attribution") & (changes["target"] == "own")]
    return [f"{row.change:+.1f} % [{row.low:+.1f}, {row.high:+.1f}]" for row in ours.itertuples()]


def adapted(trained: dict, base: dict, rank: int | None) -> tuple[dict, int]:
    """Return the weights with every matrix's change cut to `rank`, and the bytes that base-independent float16 files of it take."""
    weights, numbers = {}, 0
    for name, weight in trained.items():
        if name.startswith("cls.predictions.decoder") or not weight.is_floating_point():
            weights[name] = weight  # tied to the embeddings and to the head's bias, or not trained
        elif rank is None or weight.ndim == 1 or name not in base:
            weights[name] = weight
            numbers += weight.numel()
        else:
            left, strength, right = torch.linalg.svd(weight - base[name], full_matrices=False)
            weights[name] = base[name] + (left[:, :rank] * strength[:rank]) @ right[:rank]
            numbers += rank * sum(weight.shape)
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    return weights, 2 * numbers


if __name__ == "__main__":
    main()
