"""Our attribution beside other packages, on the same weights and prompts: seconds, memory, scores, and the neurons that are named.

`python benchmarks/peers.py --output result.json` makes an environment of its own (benchmarks/.peers) with knowledge-neurons 0.0.2
(EleutherAI, 2021) and captum from the package index. Every package is a process of its own, and each prompt is given to all of them in
turn, so read the ratios and not the seconds. Models: random weights in the shapes of BERT base and GPT-2, and the bundled model.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model, locate
from kn_utils.model.neurons import MIN_PROMPTS
from kn_utils.model.prompts import Prompt, askable, draw_facts
from kn_utils.paths import ROOT

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".peers"
PACKAGES = ("knowledge-neurons==0.0.2", "captum>=0.8,<1", "torch", "transformers")
THEIRS, CAPTUM, RELEASED, CONTROLLED = "knowledge-neurons", "captum", "ours, released", "ours, error-controlled"
PEERS = {THEIRS: "theirs", CAPTUM: "theirs", RELEASED: "ours", CONTROLLED: "ours"}  # whose environment
RULES = {"ours (t = 0.2, p = 0.7)": (0.2, 0.7), "theirs (t = 0.3, p = 0.5)": (0.3, 0.5)}  # both with their defaults
QUICK = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
QUICK_GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 2}
RELATIONS = ("P36", "P1376", "P103", "P19")  # whose prompts are drawn


def environment() -> dict[str, str]:
    """Return the Python of each environment; the peers' is made at first use."""
    theirs = ENVIRONMENT / "bin" / "python"
    if not theirs.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([str(theirs), "-m", "pip", "install", "--quiet", *constraints, *PACKAGES], check=True)
    return {"theirs": str(theirs), "ours": sys.executable}


def bert_base(folder: Path, quick: bool) -> Path:
    """Write a BERT with random weights, the sizes of BERT base and the bundled model's vocabulary."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(locate("starter"))
    config = transformers.BertConfig(vocab_size=len(tokenizer), initializer_range=0.05, **(QUICK if quick else {}))
    return _written(folder / "bert-base", transformers.BertForMaskedLM(config), tokenizer)


def gpt2(folder: Path, quick: bool) -> Path:
    """Write a GPT-2 with random weights and the sizes of the smallest one; its vocabulary is learnt from the starter facts."""
    dataset = load_dataset("starter")
    texts = [f"{fact.subject} {fact.object}" for facts in dataset.facts.values() for fact in facts]
    texts += [template for templates in dataset.templates.values() for template in templates]
    learner = ByteLevelBPETokenizer()
    learner.train_from_iterator(texts, vocab_size=20000, min_frequency=1, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=learner._tokenizer, eos_token="<|endoftext|>")
    sizes = QUICK_GPT2 if quick else {}
    config = transformers.GPT2Config(vocab_size=len(tokenizer), initializer_range=0.05, **sizes)
    return _written(folder / "gpt2", transformers.GPT2LMHeadModel(config), tokenizer)


def _written(folder: Path, model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def drawn_facts(folder: Path, facts: int, seed: int) -> list[list[Prompt]]:
    """Return the prompts of some starter facts, a list per fact."""
    lm, dataset = load_model(folder, "cpu"), load_dataset("starter")
    candidates = [fact for relation in RELATIONS for fact in draw_facts(lm, dataset, relation, facts, seed)]
    return [askable(lm, dataset, fact) for fact in random.Random(seed).sample(candidates, facts)]


def asked_of_all(folder: str, prompts: list[Prompt], threads: int, scores: Path) -> pd.DataFrame:
    """Give each prompt to every peer in turn: columns peer, prompt, seconds, peak_mb, loaded_mb, error; scores are .npy files."""
    rows, lm = [], load_model(folder, "cpu")
    with _started(folder, lm.masked, threads) as processes:
        loaded = {peer: json.loads(process.stdout.readline())["loaded_mb"] for peer, process in processes.items()}
        for number, prompt in enumerate(prompts):
            answer = lm.tokenizer.convert_ids_to_tokens(prompt.target) if lm.masked else f" {prompt.fact.object}"
            for peer, process in processes.items():
                question = {"text": prompt.text, "answer": answer, "ids": prompt.ids, "position": prompt.position}
                question |= {"target": prompt.target, "output": str(scores / f"{peer} {number}.npy")}
                print(json.dumps(question), file=process.stdin, flush=True)
                rows.append({"peer": peer, "prompt": number, "loaded_mb": loaded[peer], **json.loads(process.stdout.readline())})
    return pd.DataFrame(rows).reindex(columns=["peer", "prompt", "seconds", "peak_mb", "loaded_mb", "error"])


@contextmanager
def _started(folder: str, masked: bool, threads: int) -> Iterator[dict[str, subprocess.Popen]]:
    pythons = environment()
    kind = "masked" if masked else "left-to-right"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    processes = {
        peer: subprocess.Popen([pythons[whose], str(HERE / "peer_scores.py"), peer, folder, kind, str(threads)], **pipes)
        for peer, whose in PEERS.items()
    }
    try:
        yield processes
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()


def compared(rows: pd.DataFrame, scores: Path) -> pd.DataFrame:
    """Return for each peer its median seconds and their ratio to ours, memory, and the largest difference of a score from ours.

    The difference is to our released sum, as a share of the prompt's largest score.
    """
    summary = rows.groupby("peer", sort=False).agg(
        seconds=("seconds", "median"), peak_mb=("peak_mb", "max"), loaded_mb=("loaded_mb", "max"), error=("error", "first")
    )
    summary["times ours"] = summary["seconds"] / summary["seconds"][RELEASED]
    summary["difference"] = [_difference(scores, peer) for peer in summary.index]
    return summary


def _difference(scores: Path, peer: str) -> float:
    pairs = [
        (np.load(path), np.load(scores / f"{RELEASED} {path.stem.split()[-1]}.npy")) for path in scores.glob(f"{peer} *.npy")
    ]
    return max((float(np.abs(theirs - ours).max() / np.abs(ours).max()) for theirs, ours in pairs), default=np.nan)


def neurons(scores: list[np.ndarray], share: float, prompt_share: float, theirs: bool) -> set[tuple[int, int]]:
    """Return the neurons of a fact by a rule. Theirs asks for more than the shares; ours for at least them, and for three prompts."""
    counts: Counter = Counter()
    for of_prompt in scores:
        limit = share * of_prompt.max()
        counts.update(map(tuple, np.argwhere(of_prompt > limit if theirs else of_prompt >= limit).tolist()))
    needed = prompt_share * len(scores)
    return {neuron for neuron, count in counts.items() if (count > needed if theirs else count >= max(needed, MIN_PROMPTS))}


def named(facts: list[list[Prompt]], scores: Path) -> pd.DataFrame:
    """Return for each fact how many neurons ours and theirs name, by either rule: columns fact, rule, ours, theirs, both."""
    rows, first = [], 0
    for prompts in facts:
        numbers = range(first, first + len(prompts))
        first += len(prompts)
        for rule, shares in RULES.items():
            strict = rule.startswith("theirs")
            ours, theirs = (
                neurons([np.load(scores / f"{peer} {number}.npy") for number in numbers], *shares, strict)
                for peer in (RELEASED, THEIRS)
            )
            fact = f"{prompts[0].fact.subject} – {prompts[0].fact.object}"
            rows.append((fact, rule, len(ours), len(theirs), len(ours & theirs)))
    return pd.DataFrame(rows, columns=["fact", "rule", "by our scores", "by theirs", "by both"])


def measure(folder: Path, facts: list[list[Prompt]], threads: int) -> dict[str, pd.DataFrame]:
    """Return the tables of `compared` and, where several prompts of a fact were given, of `named`."""
    with tempfile.TemporaryDirectory() as scores:
        prompts = [prompt for of_fact in facts for prompt in of_fact]
        summary = compared(asked_of_all(str(folder), prompts, threads, Path(scores)), Path(scores))
        several = max(map(len, facts)) > 1 and not pd.isna(summary["seconds"][THEIRS])
        return {"summary": summary.reset_index()} | ({"named": named(facts, Path(scores))} if several else {})


def main() -> None:
    """Measure, print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=3, help="of the bundled model; of the random ones the first prompt of each")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="small random models, for a test")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {
            "BERT base, random weights": bert_base(Path(name), given.quick),
            "GPT-2, random weights": gpt2(Path(name), given.quick),
        }
        for about, folder in (folders | {"starter": Path(locate("starter"))}).items():
            facts = drawn_facts(folder, given.facts, given.seed)
            facts = facts if about == "starter" else [prompts[:1] for prompts in facts]
            tables = measure(folder, facts, given.threads)
            print(f"\n{about}, {given.threads} threads, {sum(map(len, facts))} prompts")
            print(*(table.to_string(index=False) for table in tables.values()), sep="\n\n")
            results[about] = {kind: json.loads(table.to_json(orient="records")) for kind, table in tables.items()}
    if given.output:
        given.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
