"""Time and peak memory of an attribution run over made-up facts with a random model: `python benchmarks/peak_memory.py 1000`."""

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

RELATION, TEMPLATES = "P1", ("[X] is the home of [Y].", "[X] is known for [Y].", "People of [X] speak of [Y].")


def peak_memory(facts: int) -> float:
    """Return the peak resident memory, in MB, of a fresh process that attributes so many facts."""
    return measure(facts)["peak_memory_mb"]


def measure(facts: int, layers: int = 4, hidden: int = 64, workers: int = 1) -> dict:
    """Return what a fresh process says of its attribution of so many facts: seconds, work and memory, as `run` prints them."""
    command = [sys.executable, __file__, *map(str, (facts, layers, hidden, workers))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_facts(folder: Path, count: int) -> Path:
    """Write a data set of one relation in the layout of your own facts."""
    (folder / "patterns").mkdir(parents=True)
    pairs = {RELATION: [[f"w{index % 89} w{index % 97}", f"w{index % 83}"] for index in range(count)]}
    (folder / "query_pairs.json").write_text(json.dumps(pairs))
    lines = "".join(json.dumps({"pattern": template}) + "\n" for template in TEMPLATES)
    (folder / "patterns" / f"{RELATION}.jsonl").write_text(lines)
    return folder


def make_model(folder: Path, layers: int, hidden: int) -> Path:
    """Write a BERT with random weights, heads of 16 and a vocabulary of the made-up words."""
    import transformers

    folder.mkdir()
    words = {word for template in TEMPLATES for word in template.lower().replace(".", " .").split()} - {"[x]", "[y]"}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words), *(f"w{index}" for index in range(100))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": hidden // 16,
        "intermediate_size": 4 * hidden,
    }
    transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    return folder


def run(facts: int, layers: int = 4, hidden: int = 64, workers: int = 1) -> None:
    """Attribute so many facts from files to tables, as a notebook does, and print what it took as a line of JSON.

    `seconds` are of attribution alone, from prompts to tables; `gflop` is the least that has to be computed for it; `loaded_mb` is the
    peak of memory before it, `peak_memory_mb` after it: of this process and its workers, each with what they share.
    """
    from products import gflop_of_all

    from kn_utils.chapters.attribution.table import attribute_relation
    from kn_utils.data.facts import load_dataset
    from kn_utils.model.attribution import RELEASED_NODES, Quadrature
    from kn_utils.model.models import load_model
    from kn_utils.model.prompts import encode
    from kn_utils.store.runs import Run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model", layers, hidden)
        lm, dataset = load_model(model, "cpu"), load_dataset(make_facts(folder / "facts", facts))
        loaded, began = _peak_mb(), time.perf_counter()
        attribute_relation(lm, Run(lm.name, dataset, results_dir=folder / "results", workers=workers), RELATION, Quadrature())
        seconds, peak = time.perf_counter() - began, _peak_mb() + _peak_of_workers_mb()
    lengths = Counter(len(prompt.ids) for prompt in encode(lm, dataset, dataset.facts[RELATION]))
    work = gflop_of_all(lm, lengths, RELEASED_NODES)
    took = {"prompts": lengths.total(), "gflop": work, "seconds": seconds, "loaded_mb": loaded, "peak_memory_mb": peak}
    print(json.dumps(took))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _peak_of_workers_mb() -> float:
    """Return the sum of the peaks of the processes that this one has started. Only Linux tells them."""
    states = [Path(f"/proc/{child.pid}/status").read_text() for child in psutil.Process().children(recursive=True)]
    peaks = [re.search(r"VmHWM:\s+(\d+) kB", state) for state in states]
    return sum(int(peak.group(1)) / 1e3 for peak in peaks if peak)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:]))
