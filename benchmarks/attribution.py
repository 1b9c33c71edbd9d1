"""How fast attribution is, beside what the machine's matrix products allow and beside a plain loop.

Random weights in the shapes of BERT base and SmolLM2-135M, so nothing is downloaded. Everything is measured in turns in one run: read
the ratios, not the seconds, and leave the machine alone meanwhile. `python benchmarks/attribution.py --memory --output result.json`
With `--neighbours 1` another process keeps one core busy; `--whole-machine` adds runs with one process for each core.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import torch
import transformers
from peak_memory import peak_memory
from products import bound, minimal_computation, product_task, product_tasks
from torch import Tensor, nn
from torch.nn.functional import pad

from kn_utils.model.attribution import RELEASED_NODES, Quadrature, _integrate, integrated_gradients
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.quadrature import gauss_legendre, left_riemann
from kn_utils.model.scores import gradient_times_activation
from kn_utils.store.workers import default_workers, run_all

STD = 0.05  # of the random weights: the model's answer then has about 100 times the mean probability
REFERENCE_NODES, FIXED_NODES, PADDED = 64, 8, 128
BERT = {"vocab_size": 28996, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "num_attention_heads": 12}
SMOLLM2 = {"vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9}
SMOLLM2 |= {"num_key_value_heads": 3, "tie_word_embeddings": True}
QUICK = {"vocab_size": 211, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 64, "num_attention_heads": 3}
SHAPES = {"bert-base": ("bert", BERT, 11), "smollm2-135m": ("llama", SMOLLM2, 10)}  # model type, sizes, tokens of a prompt

RELEASED, BATCHED = "released (20 left nodes)", "released, {} prompts at once"
GRADIENT = "gradient x activation"
BUSY = "import torch; torch.set_num_threads(1); matrix = torch.randn(1024, 1024)\nwhile True: matrix @ matrix"
LOOP, LOOP_PADDED = "plain loop", f"plain loop padded to {PADDED} tokens"
LOOP_HEAD = f"{LOOP_PADDED}, head at the mask only"


@cache
def random_model(name: str, quick: bool) -> tuple[LanguageModel, int]:
    """Return a random-weight model and the length of its prompts."""
    kind, sizes, tokens = SHAPES[name]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(sizes | QUICK if quick else sizes), initializer_range=STD)
    auto = transformers.AutoModelForMaskedLM if kind == "bert" else transformers.AutoModelForCausalLM
    return LanguageModel(name, auto.from_config(config)), tokens


@torch.no_grad()
def random_batch(lm: LanguageModel, prompts: int, tokens: int) -> Batch:
    """Return prompts of random tokens, asked in the middle or at the end, whose target is what the model answers."""
    ids = torch.randint(5, lm.model.config.vocab_size, (prompts, tokens), generator=torch.Generator().manual_seed(1))
    position = torch.full((prompts,), tokens // 2 if lm.masked else tokens - 1)
    return Batch(ids, position, lm.model(ids).logits[torch.arange(prompts), position].argmax(-1))


@contextmanager
def hooked(module: nn.Module, hook: Callable) -> Iterator[None]:
    """Run a forward pre-hook while the context lasts."""
    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_loop(lm: LanguageModel, batch: Batch, layer: int, padded: int = 0, head_at_position: bool = False) -> Tensor:
    """Return one layer's scores of the first prompt by the released sum: 20 copies of the prompt through the whole model."""
    length, at = batch.ids.shape[1], int(batch.position[0])
    ids = pad(batch.ids[:1], (0, max(0, padded - length)))
    mask = (torch.arange(ids.shape[1]) < length).long()[None]
    rule, seen = left_riemann(RELEASED_NODES), []

    def scale(down: nn.Module, args: tuple) -> tuple:
        changed = args[0].clone()
        changed[:, at] = leaf
        return (changed,)

    with torch.no_grad(), hooked(lm.downs[layer], lambda down, args: seen.append(args[0][0, at].clone())):
        lm.model(ids, attention_mask=mask)
    leaf = (rule.nodes.float()[:, None] * seen[0]).requires_grad_()
    with ExitStack() as stack:
        stack.enter_context(hooked(lm.downs[layer], scale))
        if head_at_position:
            stack.enter_context(hooked(lm.model.cls, lambda head, args: (args[0][:, at : at + 1],)))
        logits = lm.model(ids.repeat(RELEASED_NODES, 1), attention_mask=mask.repeat(RELEASED_NODES, 1)).logits
    probability = logits[:, 0 if head_at_position else at].softmax(-1)[:, batch.target[0]]
    return seen[0] * (rule.weights.float() @ torch.autograd.grad(probability.sum(), leaf)[0])


def modes(lm: LanguageModel, batch: Batch) -> dict[str, Callable]:
    """Return the ways to attribute a batch; each takes the number of its call and returns the scores."""
    wanted = torch.ones(lm.n_layers, dtype=torch.bool)

    def fixed(nodes: int) -> Callable:
        return lambda turn=0: _integrate(lm, prompt_suffix(lm, batch), gauss_legendre(nodes), wanted, Quadrature())[0][0]

    def named(quadrature: str) -> Callable:
        return lambda turn=0: integrated_gradients(lm, batch, Quadrature(quadrature)).score

    return {
        RELEASED: named("released"),
        f"Gauss-Legendre, error below {Quadrature.tolerance:.0%}": named("gauss-legendre"),
        f"Gauss-Legendre, {FIXED_NODES} nodes": fixed(FIXED_NODES),
        GRADIENT: lambda turn=0: gradient_times_activation(lm, batch),
        f"Gauss-Legendre, {REFERENCE_NODES} nodes": fixed(REFERENCE_NODES),
    }


def loops(lm: LanguageModel, batch: Batch, layers: list[int], scores: dict) -> dict[str, Callable]:
    """Return the plain loops, each call of which runs the next of `layers` and keeps its scores in `scores`."""
    kinds = {LOOP: {}}
    if lm.masked:
        kinds |= {LOOP_PADDED: {"padded": PADDED}, LOOP_HEAD: {"padded": PADDED, "head_at_position": True}}

    def task(name: str, options: dict) -> Callable:
        def call(turn: int) -> None:
            scores[name, layers[turn]] = plain_loop(lm, batch, layers[turn], **options)

        return call

    return {name: task(name, options) for name, options in kinds.items()}


def in_turns(tasks: dict[str, Callable], repetitions: int, often: set[str]) -> dict[str, list[float]]:
    """Call every task in turns, those in `often` five times a turn, and return the seconds of each call."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repetitions):
        for name, task in tasks.items():
            for _ in range(5 if name in often else 1):
                began = time.perf_counter()
                task(turn)
                seconds[name].append(time.perf_counter() - began)
    return seconds


def measure(name: str, repetitions: int, prompts: int, quick: bool) -> dict:
    """Return all figures of one shape of model; seconds are medians of a prompt's, with the best beside them."""
    lm, tokens = random_model(name, quick)
    one, many = random_batch(lm, 1, tokens), random_batch(lm, prompts, tokens)
    layers = [(2 * part + 1) * lm.n_layers // (2 * repetitions) for part in range(repetitions)]  # spread evenly over the depth
    products, attention = minimal_computation(lm, tokens, RELEASED_NODES)
    ways, scores, edge = modes(lm, one), {}, 96 if quick else 2048
    found = {way: task() for way, task in ways.items()}  # also warms up
    reference = ways.popitem() and found.popitem()[1]
    matrices = product_tasks(products) | {"square": product_task(edge, edge, edge)}
    together = {BATCHED.format(prompts): lambda turn: integrated_gradients(lm, many, Quadrature(max_memory_gb=8.0))}
    slow = loops(lm, one, layers, scores)
    seconds = in_turns(matrices | ways | together | slow, repetitions, set(matrices))
    best = {task: min(calls) for task, calls in seconds.items()}
    usual = {task: statistics.median(calls) for task, calls in seconds.items()}
    gflop, least = bound(products, attention, best)
    shares = {task: 1 / prompts for task in together} | dict.fromkeys(slow, lm.n_layers)
    rows = {
        task: {
            "seconds": usual[task] * shares.get(task, 1),
            "best": best[task] * shares.get(task, 1),
            "error": float((found[task] - reference).abs().max() / reference.abs().max())
            if task in found and task != GRADIENT
            else None,
        }
        for task in seconds
        if task not in matrices
    }
    fast = found[RELEASED][0]
    agreement = max(float((score - fast[at]).abs().max() / fast[at].abs().max()) for (_, at), score in scores.items())
    return {
        "tokens": tokens,
        "gflop": gflop,
        "gflops_of_the_shapes": gflop / least,
        "gflops_square": 2 * edge**3 / 1e9 / best["square"],
        "gflops_of_the_shapes_median": gflop / bound(products, attention, usual)[1],
        "bound_seconds": least,
        "bound_seconds_median": bound(products, attention, usual)[1],
        "layers_of_the_loops": layers,
        "loops_differ_by": agreement,
        "rows": rows,
    }


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """While the context lasts, `count` other processes multiply matrices on one thread each."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        time.sleep(5 if count else 0)  # until they have started
        yield


def prompts_per_second(name: str, prompts: int, quick: bool) -> dict[int, float]:
    """Return the prompts per second of the released sum with one process and with one for each core, by the number of processes."""
    from attribution import attribute_some  # of this file as a module: workers do not have what is in a script

    found = {}
    for workers in sorted({1, default_workers(torch.device("cpu"))}):
        tasks = [(name, prompts, quick)] * workers
        list(run_all(attribute_some, [(name, 1, quick)] * workers, workers))  # starts the processes
        began = time.perf_counter()
        list(run_all(attribute_some, tasks, workers))
        found[workers] = workers * prompts / (time.perf_counter() - began)
    return found


def attribute_some(name: str, prompts: int, quick: bool) -> None:
    """Attribute some prompts of a shape of model, one after another."""
    lm, tokens = random_model(name, quick)
    for _ in range(prompts):
        integrated_gradients(lm, random_batch(lm, 1, tokens), Quadrature())


def show(name: str, result: dict) -> None:
    """Print one shape's figures as a table."""
    rows = result["rows"]
    released = min(row["seconds"] for task, row in rows.items() if task.startswith("released"))
    print(f"\n{name}, prompts of {result['tokens']} tokens")
    print(
        f"  at least {result['gflop']:.1f} GFLOP a prompt; float32 products of these shapes run at {result['gflops_of_the_shapes']:.0f} "
        f"GFLOP/s at best, {result['gflops_of_the_shapes_median']:.0f} usually (large square ones: {result['gflops_square']:.0f}), "
        f"so no less than {result['bound_seconds']:.3g} s, usually {result['bound_seconds_median']:.3g} s"
    )
    print(f"  {'':56}{'s/prompt':>9}{'ratio':>10}{'of bound':>10}{'best':>8}{'of bound':>10}{'error':>8}")
    bounds = {"seconds": result["bound_seconds_median"], "best": result["bound_seconds"]}
    for task, row in rows.items():
        share = {key: f"{limit / row[key]:.0%}" if task.startswith("released") else "" for key, limit in bounds.items()}
        error = "" if row["error"] is None else f"{row['error']:.2%}"
        times = f"{row['seconds']:>9.3g}{row['seconds'] / released:>10.3g}{share['seconds']:>10}{row['best']:>8.3g}{share['best']:>10}"
        print(f"  {task:56}{times}{error:>8}")
    print(
        "  s/prompt: the median of the turns, and its ratio to the released sum's; best: the fastest turn; bound: what the products alone "
        "take, by their medians and by their fastest"
    )
    print(f"  errors: largest, as a share of the largest score, against {REFERENCE_NODES} Gauss-Legendre nodes")
    print(
        f"  loops: measured on layers {', '.join(map(str, result['layers_of_the_loops']))} and scaled up to all; "
        f"their scores differ from the fast pass's by {result['loops_differ_by']:.1e} of the layer's largest at most"
    )


def machine() -> dict:
    """Return what the figures depend on besides the code."""
    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.processor())
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version()}
    return {"processor": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": os.getloadavg()} | versions


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES), default=list(SHAPES), help="which models; all if left out")
    parser.add_argument("--repetitions", type=int, default=3, help="turns; medians are taken over them")
    parser.add_argument("--prompts", type=int, default=2, help="prompts of the batched released sum")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of a run over 10 and over 1,000 facts too")
    parser.add_argument("--neighbours", type=int, default=0, help="other processes that keep a core busy each")
    parser.add_argument("--whole-machine", action="store_true", help="prompts per second with one process for each core")
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    parser.add_argument("--quick", action="store_true", help="tiny models and few facts, to see that it runs")
    chosen = parser.parse_args()
    results = {"machine": machine() | {"neighbours": chosen.neighbours}, "shapes": {}}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    if chosen.memory:  # first: a process started later would count this one's memory as its own
        few, many = (10, 40) if chosen.quick else (10, 1000)
        results["peak_memory_mb"] = memory = {count: peak_memory(count) for count in (few, many)}
        print(
            f"peak memory: {few} facts {memory[few]:.0f} MB, {many} facts {memory[many]:.0f} MB, {memory[many] - memory[few]:+.0f} MB"
        )
    with busy_neighbours(chosen.neighbours):
        for name in chosen.shapes:
            results["shapes"][name] = measure(name, chosen.repetitions, chosen.prompts, chosen.quick)
            show(name, results["shapes"][name])
            if chosen.whole_machine:
                speed = prompts_per_second(name, 2 if chosen.quick else 10, chosen.quick)
                results["shapes"][name]["prompts_per_second"] = speed
                print("  prompts per second by the number of processes:", *(f"{count}: {n:.3g}" for count, n in speed.items()))
    if chosen.output:
        chosen.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
