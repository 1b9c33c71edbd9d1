"""What steps 1 to 3 would take for every prompt of a data set: hours and disk, estimated, not measured.

Operations are counted prompt by prompt and divided by a rate: that of this machine's float32 products (measured, or `--gflops`) times
the share of it that attribution reaches, and that of a GPU by its data sheet, an NVIDIA A100's unless `--gpu-gflops` says otherwise, half
of which is assumed to be reached: no GPU has been tried. Steps 4 to 7 are not counted.

Nothing is downloaded for the shapes below: their prompts are counted in tokens of the bundled model's vocabulary, which stands in for
their own. A local folder or a hub id is read as its own configuration and tokenizer say, without its weights.

`python benchmarks/estimate.py --output estimate.json`
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from attribution import BERT, SMOLLM2, in_turns, machine
from products import bound, gflop_of_all, minimal_computation, product_tasks
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from kn_utils.model.attribution import RELEASED_NODES, Quadrature
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.layouts import layout_of
from kn_utils.model.models import LanguageModel, explained, load_model, locate, model_name
from kn_utils.paths import MADE_BY
from kn_utils.model.prompts import ends_with_object, prompt_texts
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run
from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.modify_activation.table import CHANGES, modify_activations

QWEN = {"vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14}
QWEN |= {"num_key_value_heads": 2, "tie_word_embeddings": True}
SHAPES = {"bert-base": ("bert", BERT), "smollm2-135m": ("llama", SMOLLM2), "qwen2.5-0.5b": ("qwen2", QWEN)}  # model type, sizes

LIKE = {True: "starter", False: "smollm2-135m"}  # whose published nodes stand for other models', masked or not
SHARES = {True: 0.74, False: 0.59}  # of the products' rate, reached for models that are masked or not: README, Speed
GPU_GFLOPS, GPU_SHARE = 19_500, 0.5  # float32 without tensor cores, as NVIDIA's data sheet of the A100 says
STEPS = ("01_attribution", "02_knowledge_neurons", "03_modify_activation")
FEW_FACTS, THEIR_RELATION = 4, "P101"
PARARELS_FILES = 70e6  # bytes


def shape_of(name: str) -> LanguageModel:
    """Return a model without weights, one of `SHAPES` or what a local folder or a hub id describes, with a tokenizer to count with.

    Raises OSError if it cannot be found or read and ValueError if its architecture is unknown.
    """
    with explained(name):
        config = AutoConfig.for_model(SHAPES[name][0], **SHAPES[name][1]) if name in SHAPES else _read(AutoConfig, name)
    masked = layout_of(config).masked
    with explained(name), torch.device("meta"):
        tokenizer = _read(AutoTokenizer, "starter" if name in SHAPES else name)
        model = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_config(config)
    if name in SHAPES and not masked:
        tokenizer = partial(tokenizer, add_special_tokens=False)  # as these decoders' own
    return LanguageModel(result_name(name), model, tokenizer)


def _read(auto: type, name: str):
    return auto.from_pretrained(locate(name), trust_remote_code=False)


def prompt_lengths(lm: LanguageModel, dataset: Dataset) -> Counter[int]:
    """Count a data set's prompts by their number of tokens: all that suit the kind of model, also those whose object is not one token."""
    lengths: Counter[int] = Counter()
    for relation, facts in dataset.facts.items():
        usable = [template for template in dataset.templates[relation] if lm.masked or ends_with_object(template)]
        texts = [prompt_texts(lm, fact, template)[0] for fact in facts for template in usable]
        lengths.update(map(len, lm.tokenizer(texts)["input_ids"] if texts else []))
    return lengths


def mean_tokens(lengths: Counter[int]) -> float:
    """Return the mean number of tokens of a prompt."""
    return sum(tokens * count for tokens, count in lengths.items()) / lengths.total()


def products_rate(lm: LanguageModel, tokens: int) -> float:
    """Return the GFLOP/s at which this machine computes the float32 products of a prompt's attribution, each at its best of 15."""
    products, attention = minimal_computation(lm, tokens, RELEASED_NODES)
    tasks = product_tasks(products)
    seconds = in_turns(tasks, repetitions=3, often=set(tasks))
    work, least = bound(products, attention, {task: min(calls) for task, calls in seconds.items()})
    return work / least


def bytes_per_prompt(lm: LanguageModel, dataset: Dataset, relation: str) -> dict[str, float]:
    """Return what the tables of steps 1 to 3 take per prompt, by table, from a run over a few facts; the fixed part of a file left out."""
    with TemporaryDirectory() as folder:
        run = Run(lm.name, dataset, FEW_FACTS, results_dir=folder)
        attribute_relation(lm, run, relation, Quadrature("gauss-legendre"))
        find_neurons(run, relation)
        modify_activations(lm, run, relation)
        prompts = len(run.read("prompts", [relation]))
        tables = [table for step in STEPS for table in MADE_BY[step]]
        return {table: _content_bytes(run.path(table, relation)) / prompts for table in tables}


def _content_bytes(path: Path) -> int:
    file = pq.read_metadata(path)
    groups = [file.row_group(at) for at in range(file.num_row_groups)]
    return sum(group.column(at).total_compressed_size for group in groups for at in range(group.num_columns))


def tables_bytes(lm: LanguageModel, prompts: int, small: LanguageModel, per_prompt: dict[str, float]) -> float:
    """Return the bytes of all tables, as if the model's prompts kept the same share of neurons as those of the small model measured."""
    layers = lm.n_layers / small.n_layers
    growth = {"attribution": layers * lm.n_neurons / small.n_neurons, "completeness": layers}
    return prompts * sum(size * growth.get(table, 1) for table, size in per_prompt.items())


def hours(gflop: float, rate: float) -> float:
    """Return how long so many GFLOP take at a rate in GFLOP/s."""
    return gflop / rate / 3600


def controlled_nodes(lm: LanguageModel) -> list[float]:
    """Return the nodes that the error-controlled mode may take in each layer: the means of published results on ParaRel.

    Those of the first layer and of all others, of `starter` for a masked model and of `smollm2-135m` for a decoder; the node 0 counts.
    """
    published = PublishedResults(LIKE[lm.masked], "pararel")
    counts = published.read("completeness", published.relations)
    is_first = counts["layer"] == 0
    first, others = (np.average(part["nodes"] + 1, weights=part["prompts"]) for part in (counts[is_first], counts[~is_first]))
    return [first] + [others] * (lm.n_layers - 1)


def gflop_of_step_3(lm: LanguageModel, lengths: Counter[int]) -> float:
    """Return the GFLOP of asking the own and another fact's prompts, taken to be as long, as they are and under every change.

    A decoder reads all but the last token of a prompt once.
    """
    whole = gflop_of_all(lm, lengths, 0)
    again = whole if lm.masked else gflop_of_all(lm, {1: lengths.total()}, 0)
    return 2 * (whole + len(CHANGES) * again)


def estimate(lm: LanguageModel, lengths: Counter[int], nodes: dict[str, list[float]], rate: float, gpu_rate: float) -> list[dict]:
    """Return a row for each quadrature in `nodes`: GFLOP of steps 1 and 3, and their hours at two rates in GFLOP/s."""
    forwards = gflop_of_step_3(lm, lengths)
    rows = []
    for quadrature, count in nodes.items():
        attribution = gflop_of_all(lm, lengths, count)
        rows.append(
            {
                "model": lm.name,
                "quadrature": quadrature,
                "nodes": sum(count) / len(count),
                "prompts": lengths.total(),
                "tokens": mean_tokens(lengths),
                "gflop_1": attribution,
                "gflop_3": forwards,
                "hours_1": hours(attribution, rate),
                "hours_3": hours(forwards, rate),
                "gpu_hours": hours(attribution + forwards, gpu_rate),
            }
        )
    return rows


def estimate_model(
    name: str, dataset: Dataset, small: LanguageModel, per_prompt: dict[str, float], given: argparse.Namespace
) -> list[dict]:
    """Return the rows of one model, with the rate of its products and with its disk in GB: tables, float32 weights and the paper's data.

    `given` is the command line's; `per_prompt` the bytes of the small model's tables.
    """
    lm = shape_of(name)
    lengths = prompt_lengths(lm, dataset)
    if not lengths:
        raise ValueError(f"{dataset.name} has no prompt that {lm.name} can be asked: it needs templates that end with the object")
    products = given.gflops or products_rate(lm, round(mean_tokens(lengths)))
    share = given.share or SHARES[lm.masked]
    nodes = {"released": [RELEASED_NODES] * lm.n_layers, "gauss-legendre": controlled_nodes(lm)}
    weights = 4 * sum(weight.numel() for weight in lm.model.parameters())
    files = PARARELS_FILES if dataset.name == "pararel" else 0
    disk = tables_bytes(lm, lengths.total(), small, per_prompt) + weights + files
    added = {"products_gflops": products, "share": share, "disk_gb": disk / 1e9}
    return [row | added for row in estimate(lm, lengths, nodes, products * share, given.gpu_gflops * GPU_SHARE)]


def show(dataset: str, rows: list[dict]) -> None:
    """Print the rows as a table, with PFLOP in place of GFLOP."""
    print(f"\nEstimates of steps 1 and 3 for all prompts of {dataset}; nothing of this was run. Step 2 only reads tables.")
    table = pd.DataFrame(rows)
    for step in ("1", "3"):
        table[f"gflop_{step}"] /= 1e6
    table.columns = [name.replace("gflop_", "PFLOP_") for name in table.columns]
    print(table.to_string(index=False, float_format="{:,.2f}".format))


def main() -> None:
    """Estimate what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(SHAPES), help=f"{', '.join(SHAPES)} (default), a folder or a hub id")
    parser.add_argument("--dataset", default="pararel", help="as the notebooks' parameter")
    parser.add_argument("--gflops", type=float, help="rate of float32 products; measured on this machine if left out")
    parser.add_argument("--share", type=float, help="share of that rate that is reached; 0.74 for a masked model, else 0.59")
    parser.add_argument("--gpu-gflops", type=float, default=GPU_GFLOPS, help=f"a GPU's peak; {GPU_SHARE} of it is reached")
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    given = parser.parse_args()
    dataset, small = load_dataset(given.dataset), load_model("starter", "cpu")
    per_prompt = bytes_per_prompt(small, load_dataset("starter"), THEIR_RELATION)
    rows = [row for name in given.models for row in estimate_model(name, dataset, small, per_prompt, given)]
    show(dataset.name, rows)
    if given.output:
        found = {"machine": machine(), "gpu_gflops": given.gpu_gflops, "gpu_share": GPU_SHARE}
        given.output.write_text(json.dumps(found | {"bytes_per_prompt": per_prompt, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
