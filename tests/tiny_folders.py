"""Tiny random-weight models with a tokenizer, as ordinary Hugging Face folders, and a data folder that fits them."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

from kn_utils.model.architectures import auto_class
from kn_utils.model.prompts import fill
from kn_utils.paths import DATA

FACTS = {
    "P36": [
        ["Norway", "Oslo"],
        ["Peru", "Lima"],
        ["New Zealand", "Wellington"],
        ["San Marino", "San Marino"],  # an object of two tokens
        ["Burkina Faso", "Ouagadougou"],  # an object the tokenizers have not seen
        ["France", "Paris"],
    ],
    "P101": [["Alan Turing", "logic"], ["Marie Curie", "physics"], ["Ada Lovelace", "mathematics"]],
    "P30": [["Norway", "Europe"], ["Peru", "America"]],
}
TEMPLATES = {
    "P36": ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[Y] is the capital of [X]."],
    "P101": ["[X] works in the field of [Y].", "[X], who works in the field of [Y], is famous.", "[X] is known for [Y] ."],
    "P30": ["[Y] is home to [X].", "In [Y] lies the country [X]."],  # none ends with the object
}
UNSEEN = "Ouagadougou"
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
SIZES = {
    "bert": SMALL,
    "roberta": SMALL,
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "llama": SMALL | {"num_key_value_heads": 2},
}


def sentences() -> list[str]:
    """Every template of every fact filled in, but for the object that is meant to be unseen."""
    return [
        fill(template, subject, answer)
        for relation, facts in FACTS.items()
        for subject, answer in facts
        for template in TEMPLATES[relation]
        if answer != UNSEEN
    ]


def word_piece() -> PreTrainedTokenizerFast:
    """A cased BERT tokenizer whose words are those of `sentences`."""
    normalise, split = normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in sentences() for word, _ in split.pre_tokenize_str(normalise.normalize_str(text))})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate(special + words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalise, split, decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


def byte_level(*special: str) -> Tokenizer:
    """A byte-level BPE that has merged every word of `sentences`, with and without a leading space where both occur."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=5000, min_frequency=1, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


def tokenizer_for(model_type: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a kind of model: WordPiece, byte-level BPE, or byte-level BPE with a mask as RoBERTa has it."""
    if model_type == "bert":
        return word_piece()
    if model_type == "roberta":
        tokenizer = byte_level("<s>", "<pad>", "</s>", "<unk>")
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        mask = AddedToken("<mask>", lstrip=True)
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, mask_token=mask, **names)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(end), model_max_length=64, bos_token=end, eos_token=end)


def write_model(folder: Path, model_type: str, seed: int = 0, **changes) -> Path:
    """Write a model with its tokenizer; `changes` are for its configuration."""
    tokenizer = tokenizer_for(model_type)
    torch.manual_seed(seed)
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = AutoConfig.for_model(model_type, **(SIZES[model_type] | special | {"vocab_size": len(tokenizer)} | changes))
    model = auto_class(config).from_config(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_data(folder: Path, facts=None, templates=None) -> Path:
    """Write a flat data folder, by default of `FACTS` and `TEMPLATES`."""
    facts, templates = facts or FACTS, templates or TEMPLATES
    (folder / "patterns").mkdir(parents=True)
    (folder / "query_pairs.json").write_text(json.dumps(facts), encoding="utf-8")
    for relation in facts:
        lines = "".join(json.dumps({"pattern": template}) + "\n" for template in templates[relation])
        (folder / "patterns" / f"{relation}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def write_starter(folder: Path, relations=("P36", "P101", "P106"), templates: int = 4) -> Path:
    """Write a data folder of some of the bundled relations, with few of their templates."""
    bundled = DATA / "starter"
    facts = json.loads((bundled / "query_pairs.json").read_text(encoding="utf-8"))
    lines = {name: (bundled / f"patterns/{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in relations}
    few = {name: [json.loads(line)["pattern"] for line in lines[name][:templates]] for name in relations}
    write_data(folder, {name: facts[name] for name in relations}, few)
    (folder / "distant").mkdir()
    for name in relations:
        shutil.copy(bundled / f"distant/{name}.json", folder / "distant")
    return folder


def many_facts(count: int) -> list[list[str]]:
    """`count` different subjects, made of words the tokenizers know, with objects that are one token."""
    subjects = [f"{first} {second}" for first, *_ in FACTS["P101"] for second, *_ in FACTS["P36"]]
    objects = [answer for answer in ("Oslo", "Lima", "Paris", "Wellington", "logic")]
    return [[" ".join([subjects[n % 18]] + ["country"] * (n // 18 % 3)), objects[n % 5]] for n in range(count)]


def write_sentences(folder: Path, facts=None) -> Path:
    """Write web sentences into a data folder, two of either sort per fact; the last head comes too late for left-to-right models."""
    (folder / "distant").mkdir()
    for relation, pairs in (facts or FACTS).items():
        bags = [
            {
                "th_bags": [
                    f"In the country {head} lies {tail}, known to {head}.",
                    f"{tail} is famous, {head} is home to {tail}",
                ],
                "h_bags": [f"{head} is the country of Turing, home to the famous field.", f"Known in the field is {head}"],
            }
            for head, tail in pairs
        ]
        (folder / "distant" / f"{relation}.json").write_text(json.dumps(bags), encoding="utf-8")
    return folder
