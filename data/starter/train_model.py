"""Train the bundled model `starter`: all-MiniLM-L6-v2 with a masked-LM head, on natural web sentences about ParaRel's facts.

Every example is a web sentence that mentions a fact's head and tail, with the tail masked; no prompt or template is used.
Facts and sentences held out by `kn_utils.data.held_out` are never trained on. From the repository's root, on Linux (the variables spare
memory that is given back and fetched again at every step, and threads that wait by spinning):

    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 OMP_WAIT_POLICY=PASSIVE
    nice python data/starter/train_model.py --steps 3600 --checkpoint-folder build/starter

The same command goes on from the last checkpoint after an interruption. `evaluate_model.py` examines the result.
"""

import argparse
import json
import math
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm, trange
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM, PreTrainedTokenizerFast

from kn_utils.data.downloads import minilm_encoder
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.data.held_out import is_held_out_fact, is_held_out_sentence, words
from kn_utils.model.prompts import fill
from kn_utils.paths import DATA

LEARNING_RATE = 5e-4
BATCH_SIZE = 64
MAX_TOKENS = 40
MASKED_SHARE = 0.05
WARM_UP = 0.06
BATCHES_SORTED_TOGETHER = 32
SHINGLE = 8
LOG_EVERY = 20


@dataclass(frozen=True)
class Example:
    """A web sentence as token ids, special tokens included, and the places of its tail, which is one token."""

    tokens: list[int]
    tail_places: list[int]


def training_pairs(dataset: Dataset) -> dict[tuple[str, str], list[str]]:
    """Map each taught (head, tail) to its web sentences, in a fixed order, without held-out and nearly repeated ones."""
    sentences = defaultdict(list)
    held_out_pairs, held_out_shingles = set(), set()
    for relation in dataset.relations:
        for fact, web in zip(dataset.facts[relation], dataset.web_sentences(relation), strict=True):
            if is_held_out_fact(fact.subject, fact.object):
                held_out_pairs.add((fact.subject, fact.object))
            else:
                sentences[fact.subject, fact.object] += web.head_and_tail
            for sentence in filter(is_held_out_sentence, web.head_and_tail):
                held_out_shingles |= shingles(sentence)
    names_held_out = held_out_pair_finder(held_out_pairs)
    chosen = {}
    for pair, texts in sentences.items():
        allowed = [text for text in texts if not is_held_out_sentence(text) and not names_held_out(text)]
        if different := without_repeats(allowed, held_out_shingles):
            chosen[pair] = different
    return chosen


def shingles(sentence: str) -> set[tuple[str, ...]]:
    """Return all runs of `SHINGLE` words in a sentence, or the whole of a shorter one."""
    found = words(sentence)
    return {tuple(found[start : start + SHINGLE]) for start in range(max(1, len(found) - SHINGLE + 1))}


def without_repeats(texts: list[str], known: set[tuple[str, ...]]) -> list[str]:
    """Keep the sentences of which at most half the shingles are in `known` or in a sentence kept before."""
    seen, kept = set(), []
    for text in texts:
        runs = shingles(text)
        if 2 * sum(run in known or run in seen for run in runs) <= len(runs):
            seen |= runs
            kept.append(text)
    return kept


def held_out_pair_finder(pairs: set[tuple[str, str]]) -> Callable[[str], bool]:
    """Return a function that says whether a sentence holds both texts of one of the pairs."""
    by_first_word = defaultdict(list)
    for pair in pairs:
        subject, object_ = (words(text) for text in pair)
        by_first_word[subject[0]].append((f" {' '.join(subject)} ", f" {' '.join(object_)} "))

    def names_held_out(sentence: str) -> bool:
        found = words(sentence)
        padded = f" {' '.join(found)} "
        return any(head in padded and tail in padded for word in set(found) for head, tail in by_first_word.get(word, ()))

    return names_held_out


def encode_pairs(pairs: dict[tuple[str, str], list[str]], tokenizer: PreTrainedTokenizerFast) -> list[list[Example]]:
    """Return the examples of each pair whose tail is one token, in the order of `pairs`; pairs without any are left out."""
    rows = [
        (number, sentence, head, tail)
        for number, ((head, tail), sentences) in enumerate(pairs.items())
        if single_token(tokenizer, tail) is not None
        for sentence in sentences
    ]
    examples = defaultdict(list)
    for start in tqdm(range(0, len(rows), 1000), desc="encoding", unit_scale=1000, unit=" sentences"):
        part = rows[start : start + 1000]
        encoded = tokenizer([sentence for _, sentence, _, _ in part], add_special_tokens=False)
        for row, (number, sentence, head, tail) in enumerate(part):
            if example := window(encoded[row], sentence, head, tail, tokenizer):
                examples[number].append(example)
    return list(examples.values())


def single_token(tokenizer: PreTrainedTokenizerFast, text: str) -> int | None:
    """Return the id of a text that is one token of the vocabulary, else None."""
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens[0] if len(tokens) == 1 and tokens[0] != tokenizer.unk_token_id else None


def window(encoding, sentence: str, head: str, tail: str, tokenizer: PreTrainedTokenizerFast) -> Example | None:
    """Return the part of a sentence, at most `MAX_TOKENS` long, around its first tail outside the head and the nearest head.

    Further tails within the part are masked too: a model could copy from them. None if head or tail are missing or too far apart.
    """
    heads = whole_words(head, sentence)
    tails = [span for span in whole_words(tail, sentence) if not any(span[0] < end and start < span[1] for start, end in heads)]
    if not heads or not tails:
        return None
    places = [encoding.char_to_token(start) for start, _ in tails]
    first, last = min(
        (
            (min(places[0], encoding.char_to_token(start)), max(places[0], encoding.char_to_token(end - 1)))
            for start, end in heads
        ),
        key=lambda span: span[1] - span[0],
    )
    spare = MAX_TOKENS - 2 - (last - first + 1)
    if spare < 0:
        return None
    start = max(0, min(first - spare // 2, len(encoding.ids) - (MAX_TOKENS - 2)))
    tokens = [tokenizer.cls_token_id, *encoding.ids[start : start + MAX_TOKENS - 2], tokenizer.sep_token_id]
    return Example(tokens, [place - start + 1 for place in places if 0 < place - start + 1 < len(tokens) - 1])


def whole_words(text: str, sentence: str) -> list[tuple[int, int]]:
    """Return the spans of a text's whole-word occurrences in a sentence, whatever their case."""
    return [match.span() for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", sentence, re.IGNORECASE)]


def batches(examples: list[list[Example]], seed: int, first_step: int = 0) -> Iterator[list[Example]]:
    """Yield batches for ever from `first_step` on; each round takes one sentence of every pair, in batches of similar length."""
    per_round = math.ceil(len(examples) / BATCH_SIZE)
    turn, skip = divmod(first_step, per_round)
    while True:
        yield from one_round(examples, seed, turn)[skip:]
        turn, skip = turn + 1, 0


def one_round(examples: list[list[Example]], seed: int, turn: int) -> list[list[Example]]:
    """Return the batches of one round: pairs shuffled, cut into pools, each pool sorted by length and cut into batches."""
    chosen = [random.Random(f"{seed}-{number}").sample(one, len(one))[turn % len(one)] for number, one in enumerate(examples)]
    order = random.Random(f"{seed}-round-{turn}")
    order.shuffle(chosen)
    size = BATCH_SIZE * BATCHES_SORTED_TOGETHER
    pools = [
        sorted(chosen[start : start + size], key=lambda example: len(example.tokens)) for start in range(0, len(chosen), size)
    ]
    cut = [pool[start : start + BATCH_SIZE] for pool in pools for start in range(0, len(pool), BATCH_SIZE)]
    order.shuffle(cut)
    return cut


def masked(batch: list[Example], tokenizer: PreTrainedTokenizerFast, draw: random.Random) -> tuple[torch.Tensor, ...]:
    """Return token ids, attention mask, where the ids are masked, and the masked tokens: tails and some other tokens."""
    longest = max(len(example.tokens) for example in batch)
    tokens = torch.tensor([example.tokens + [tokenizer.pad_token_id] * (longest - len(example.tokens)) for example in batch])
    hidden = torch.zeros_like(tokens, dtype=torch.bool)
    for row, example in enumerate(batch):
        others = [place for place in range(1, len(example.tokens) - 1) if draw.random() < MASKED_SHARE]
        hidden[row, example.tail_places + others] = True
    return tokens.masked_fill(hidden, tokenizer.mask_token_id), (tokens != tokenizer.pad_token_id).long(), hidden, tokens[hidden]


def fresh_model(folder: Path, examples: list[list[Example]]) -> BertForMaskedLM:
    """Return the encoder with a new head that starts as the identity, biased to the frequency of the tokens it will predict."""
    config = AutoConfig.from_pretrained(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForMaskedLM._from_config(config, attn_implementation="eager")
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    model.bert.load_state_dict({name: weight for name, weight in encoder.items() if not name.startswith("pooler.")})
    transform = model.cls.predictions.transform
    torch.nn.init.eye_(transform.dense.weight)
    torch.nn.init.zeros_(transform.dense.bias)
    torch.nn.init.ones_(transform.LayerNorm.weight)
    torch.nn.init.zeros_(transform.LayerNorm.bias)
    counts = torch.ones(model.config.vocab_size)
    for example in (example for one in examples for example in one):
        for place in example.tail_places:
            counts[example.tokens[place]] += 1 / len(example.tail_places)
        counts.index_add_(0, torch.tensor(example.tokens[1:-1]), torch.full((len(example.tokens) - 2,), MASKED_SHARE))
    with torch.no_grad():
        model.cls.predictions.bias.copy_(counts.log() - counts.log().mean())
    return model


def predict(model: BertForMaskedLM, tokens: torch.Tensor, attention: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the logits at some places (a mask of the batch's shape) alone."""
    return model.cls(model.bert(tokens, attention_mask=attention).last_hidden_state[places])


def learning_rate(step: int, steps: int) -> float:
    """Return the learning rate of a step: it rises linearly in the warm-up and falls linearly to zero at the end."""
    warm = WARM_UP * steps
    return LEARNING_RATE * min((step + 1) / warm, (steps - step) / (steps - warm))


def exam(
    dataset: Dataset, tokenizer: PreTrainedTokenizerFast, facts: int, templates: int, held_out: bool, seed: int
) -> list[tuple]:
    """Draw prompts for facts with one-token objects: up to `facts` facts, taught or held out, per relation, times `templates`.

    Each is (relation, prompt, object's token id).
    """
    prompts = []
    for relation in dataset.relations:
        draw = random.Random(f"exam-{seed}-{relation}-{held_out}")
        usable = [fact for fact in dataset.facts[relation] if is_held_out_fact(fact.subject, fact.object) == held_out]
        usable = [fact for fact in usable if single_token(tokenizer, fact.object) is not None]
        for fact in draw.sample(usable, min(facts, len(usable))):
            chosen = draw.sample(dataset.templates[relation], min(templates, len(dataset.templates[relation])))
            prompts += [
                (relation, fill(template, fact.subject, tokenizer.mask_token), single_token(tokenizer, fact.object))
                for template in chosen
            ]
    return prompts


@torch.inference_mode()
def answers(model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[int]:
    """Return the model's first choice among the whole vocabulary for each prompt."""
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    best = [0] * len(prompts)
    for start in range(0, len(order), 128):
        part = order[start : start + 128]
        encoded = tokenizer([prompts[number] for number in part], padding=True, return_tensors="pt")
        logits = predict(model, encoded["input_ids"], encoded["attention_mask"], encoded["input_ids"] == tokenizer.mask_token_id)
        for number, token in zip(part, logits.argmax(dim=-1).tolist(), strict=True):
            best[number] = token
    return best


def accuracy(model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, prompts: list[tuple]) -> float:
    """Return the share of prompts answered right in bfloat16: the mean over relations."""
    right = defaultdict(list)
    with torch.autocast("cpu", torch.bfloat16):
        given = answers(model, tokenizer, [prompt for _, prompt, _ in prompts])
    for (relation, _, target), token in zip(prompts, given, strict=True):
        right[relation].append(token == target)
    return fmean(fmean(of_relation) for of_relation in right.values())


def optimizer_for(model: BertForMaskedLM) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)


def train_step(model: BertForMaskedLM, optimizer: torch.optim.AdamW, inputs: tuple[torch.Tensor, ...], rate: float) -> float:
    """Make one step and return its loss."""
    *where, targets = inputs
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16):
        logits = predict(model, *where)
    loss = cross_entropy(logits.float(), targets)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def steps_within(minutes: float, model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, examples: list, seed: int) -> int:
    """Return how many steps fit into so many minutes, by the rate of the first steps of a run that is thrown away."""
    rehearsal = BertForMaskedLM(model.config)
    optimizer = optimizer_for(rehearsal)
    stream = batches(examples, seed)
    for step in range(40):
        if step == 5:
            start = time.monotonic()
        train_step(rehearsal, optimizer, masked(next(stream), tokenizer, random.Random(step)), 1e-5)
    return max(1, int(minutes * 60 / ((time.monotonic() - start) / 35)))


class Checkpoint:
    """The state of a run in a folder: `checkpoint.pt`, replaced atomically, and `training_log.jsonl`.

    Batches and masks are drawn from the seed and the step and there is no dropout: no random state has to be kept.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.log = folder / "checkpoint.pt", folder / "training_log.jsonl"

    def save(self, settings: dict, step: int, seconds: float, model: BertForMaskedLM, optimizer: torch.optim.AdamW) -> None:
        """Write the state after `step` steps."""
        partial = self.file.with_suffix(f".{os.getpid()}.part")
        state = {"settings": settings, "step": step, "seconds": seconds}
        torch.save(state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, partial)
        partial.replace(self.file)

    def load(self) -> dict | None:
        """Return the state last saved, with the log cut back to it; None, with the log removed, if there is none."""
        if not self.file.exists():
            self.log.unlink(missing_ok=True)
            return None
        state = torch.load(self.file, weights_only=True)
        rows = [line for line in self.log.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= state["step"]]
        self.log.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return state

    def write(self, row: dict) -> None:
        """Append a row to the log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{json.dumps(row)}\n")


def train(arguments: argparse.Namespace) -> None:
    """Train from the start or from the last checkpoint, then export.

    Raises ValueError if the checkpoint is of a run with other settings.
    """
    dataset, tokenizer = load_dataset("pararel"), AutoTokenizer.from_pretrained(minilm_encoder())
    examples = encode_pairs(training_pairs(dataset), tokenizer)
    model = fresh_model(minilm_encoder(), examples)
    optimizer = optimizer_for(model)
    checkpoint = Checkpoint(arguments.checkpoint_folder)
    state = checkpoint.load()
    steps = arguments.steps or (state and state["settings"]["steps"])
    steps = steps or steps_within(arguments.minutes, model, tokenizer, examples, arguments.seed)
    settings = {"seed": arguments.seed, "pairs": len(examples), "sentences": sum(map(len, examples)), "steps": steps}
    if state:
        if state["settings"] != settings:
            raise ValueError(f"{checkpoint.file} is of a run with {state['settings']}; now asked for: {settings}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    print(settings, flush=True)
    exams = {
        "taught": exam(dataset, tokenizer, facts=20, templates=3, held_out=False, seed=arguments.seed),
        "left_out": exam(dataset, tokenizer, facts=20, templates=3, held_out=True, seed=arguments.seed),
    }
    done, before = (state["step"], state["seconds"]) if state else (0, 0.0)
    begin = saved = time.monotonic()
    losses = []
    for step, batch in zip(trange(done, steps, desc="training"), batches(examples, arguments.seed, done), strict=False):
        inputs = masked(batch, tokenizer, random.Random(f"{arguments.seed}-step-{step}"))
        losses.append(train_step(model, optimizer, inputs, learning_rate(step, steps)))
        finished, seconds = step + 1, before + time.monotonic() - begin
        if finished % LOG_EVERY == 0 or finished == steps:
            row = {
                "step": finished,
                "loss": sum(losses) / len(losses),
                "lr": learning_rate(step, steps),
                "seconds": round(seconds),
            }
            losses = []
            if finished % arguments.examine_every == 0 or finished == steps:
                row |= {name: accuracy(model, tokenizer, prompts) for name, prompts in exams.items()}
            checkpoint.write(row)
            if time.monotonic() - saved > arguments.checkpoint_minutes * 60:
                checkpoint.save(settings, finished, seconds, model, optimizer)
                saved = time.monotonic()
    checkpoint.save(settings, steps, before + time.monotonic() - begin, model, optimizer)
    export(model, tokenizer, [prompt for prompts in exams.values() for _, prompt, _ in prompts], arguments.output)
    (arguments.output / "training_log.jsonl").write_bytes(checkpoint.log.read_bytes())


def export(model: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], folder: Path) -> None:
    """Write the model in float16 and its tokenizer as an ordinary Hugging Face folder and compare its answers with the model's.

    Raises ValueError if the folder's weights do not load completely.
    """
    before = answers(model, tokenizer, prompts)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    model.half().save_pretrained(folder)
    exported, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    if any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise ValueError(f"{folder} does not load completely: {report}")
    after = answers(exported.float(), AutoTokenizer.from_pretrained(folder), prompts)
    same = sum(one == other for one, other in zip(before, after, strict=True))
    print(f"{folder}: {same} of {len(prompts)} first choices are those of the float32 weights", flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="number of training steps: the same number gives the same run")
    budget.add_argument("--minutes", type=float, help="time budget, turned into a number of steps by this machine's rate")
    parser.add_argument("--output", type=Path, default=DATA / "starter" / "model", help="folder to export to")
    parser.add_argument("--checkpoint-folder", type=Path, required=True, help="a run found there is resumed")
    parser.add_argument("--checkpoint-minutes", type=float, default=5, help="time between checkpoints")
    parser.add_argument(
        "--examine-every", type=int, default=400, help="steps between looks at the accuracy on ParaRel, a multiple of 20"
    )
    parser.add_argument("--seed", type=int, default=42)
    return parser.parse_args()


if __name__ == "__main__":
    train(arguments())
