"""Peak memory of an attribution run over made-up facts with a tiny random model: `python benchmarks/peak_memory.py 1000`."""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

RELATION, TEMPLATES = "P1", ("[X] is the home of [Y].", "[X] is known for [Y].", "People of [X] speak of [Y].")


def peak_memory(facts: int) -> float:
    """Return the peak resident memory, in MB, of a fresh process that attributes so many facts."""
    done = subprocess.run([sys.executable, __file__, str(facts)], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def make_facts(folder: Path, count: int) -> Path:
    """Write a data set of one relation in the layout of your own facts."""
    (folder / "patterns").mkdir(parents=True)
    pairs = {RELATION: [[f"w{index % 89} w{index % 97}", f"w{index % 83}"] for index in range(count)]}
    (folder / "query_pairs.json").write_text(json.dumps(pairs))
    lines = "".join(json.dumps({"pattern": template}) + "\n" for template in TEMPLATES)
    (folder / "patterns" / f"{RELATION}.jsonl").write_text(lines)
    return folder


def make_model(folder: Path) -> Path:
    """Write a tiny BERT with random weights and a vocabulary of the made-up words."""
    import transformers

    folder.mkdir()
    words = {word for template in TEMPLATES for word in template.lower().replace(".", " .").split()} - {"[x]", "[y]"}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words), *(f"w{index}" for index in range(100))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
    transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    return folder


def run(facts: int) -> None:
    """Attribute so many facts from files to tables, as a notebook does, and print this process's peak memory in MB."""
    from kn_utils.attribution import Method
    from kn_utils.facts import load_dataset
    from kn_utils.models import load_model
    from kn_utils.runs import Run
    from kn_utils.steps.attribution import attribute_relation

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lm, dataset = load_model(make_model(folder / "model")), load_dataset(make_facts(folder / "facts", facts))
        attribute_relation(lm, Run(lm.name, dataset, results_dir=folder / "results"), RELATION, Method())
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


if __name__ == "__main__":
    run(int(sys.argv[1]))
