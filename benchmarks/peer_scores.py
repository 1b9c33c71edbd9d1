"""Scores of one peer, prompt by prompt, for `peers.py`: a process that reads prompts from stdin and answers each with a line of JSON.

It runs in the peers' own environment, so it imports nothing of kn_utils but in `ours`.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import transformers

STEPS = 20  # of the sum, for all


def knowledge_neurons(folder: str, masked: bool) -> Callable[[dict], torch.Tensor]:
    """EleutherAI's package, called as its README does."""
    from knowledge_neurons import KnowledgeNeurons

    model, tokenizer = _load(folder, masked), transformers.AutoTokenizer.from_pretrained(folder)
    peer = KnowledgeNeurons(model, tokenizer, model_type="bert" if masked else "gpt2", device="cpu")
    return lambda prompt: peer.get_scores(prompt["text"], prompt["answer"], steps=STEPS, pbar=False)


def captum(folder: str, masked: bool) -> Callable[[dict], torch.Tensor]:
    """Captum's integrated gradients of P(object) as a function of one layer's activations at the prediction position."""
    from captum.attr import IntegratedGradients

    model = _load(folder, masked)
    downs = (
        [block.output.dense for block in model.bert.encoder.layer]
        if masked
        else [block.mlp.c_proj for block in model.transformer.h]
    )

    def scores(prompt: dict) -> torch.Tensor:
        ids, at, target = torch.tensor([prompt["ids"]]), prompt["position"], prompt["target"]

        def of_layer(down: torch.nn.Module) -> torch.Tensor:
            def probability(activation: torch.Tensor) -> torch.Tensor:
                def replace(module: torch.nn.Module, args: tuple) -> tuple:
                    changed = args[0].clone()
                    changed[:, at] = activation
                    return (changed,)

                with _hooked(down, replace):
                    return model(ids.expand(len(activation), -1)).logits[:, at].softmax(-1)[:, target]

            seen = []
            with torch.no_grad(), _hooked(down, lambda module, args: seen.append(args[0][:, at].clone())):
                model(ids)
            return IntegratedGradients(probability).attribute(seen[0], n_steps=STEPS, method="riemann_left")[0]

        return torch.stack([of_layer(down) for down in downs])

    return scores


def ours(quadrature: str) -> Callable[[str, bool], Callable[[dict], torch.Tensor]]:
    """Our scores by one of our rules."""

    def start(folder: str, masked: bool) -> Callable[[dict], torch.Tensor]:
        from kn_utils.model.attribution import Quadrature, integrated_gradients
        from kn_utils.model.models import load_model
        from kn_utils.model.prompts import Batch

        lm = load_model(folder, "cpu")

        def scores(prompt: dict) -> torch.Tensor:
            batch = Batch(*(torch.tensor([prompt[name]]) for name in ("ids", "position", "target")))
            return integrated_gradients(lm, batch, Quadrature(quadrature)).score[0]

        return scores

    return start


PEERS = {
    "knowledge-neurons": knowledge_neurons,
    "captum": captum,
    "ours, released": ours("released"),
    "ours, error-controlled": ours("gauss-legendre"),
}


def _load(folder: str, masked: bool) -> torch.nn.Module:
    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


@contextmanager
def _hooked(module: torch.nn.Module, hook: Callable) -> Iterator[None]:
    """Run a forward pre-hook while the context lasts."""
    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def main(peer: str, folder: str, masked: str, threads: str) -> None:
    """Answer each prompt (a line of JSON) with the seconds it took and the peak of memory; the scores go to the file that it names."""
    torch.set_num_threads(int(threads))
    answers, sys.stdout = sys.stdout, sys.stderr  # what a package prints is no answer
    warnings.simplefilter("ignore")
    score = PEERS[peer](folder, masked == "masked")
    print(json.dumps({"loaded_mb": _peak_mb()}), file=answers, flush=True)
    for line in sys.stdin:
        prompt = json.loads(line)
        began = time.perf_counter()
        try:
            scores = score(prompt)
        except Exception as error:  # a peer's failure is a result
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), file=answers, flush=True)
            continue
        seconds = time.perf_counter() - began
        np.save(prompt["output"], scores.detach().numpy())
        print(json.dumps({"seconds": seconds, "peak_mb": _peak_mb()}), file=answers, flush=True)


def _peak_mb() -> float:
    """Return the peak of this process's memory; `getrusage` would count what the parent had when it started this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e3


if __name__ == "__main__":
    main(*sys.argv[1:])
