"""Tiny models whose tokenizers are spoilt in the ways that users' folders are."""

import json
import shutil
from pathlib import Path

from tokenizers import normalizers, processors
from transformers import AutoTokenizer


def copy(folder_of, model_type: str, folder: Path) -> Path:
    return shutil.copytree(folder_of(model_type), folder / "mine")


def settings(folder: Path, **changes) -> Path:
    """Change `tokenizer_config.json`."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def resaved(folder: Path, change) -> Path:
    """Save a tokenizer with its backend changed."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def model_of(folder: Path) -> dict:
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]


def without_new_files(folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    return folder


def vocabulary_and_merges_alone(folder_of, folder: Path) -> Path:
    """A RoBERTa as older releases save it: nothing says that the mask takes the blank before it."""
    mine = copy(folder_of, "roberta", folder)
    model = model_of(mine)
    vocabulary = model["vocab"] | {"<mask>": len(model["vocab"])}
    (mine / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (mine / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]), encoding="utf-8")
    return without_new_files(mine)


def vocabulary_alone(folder_of, folder: Path) -> Path:
    """A cased BERT whose files do not say that it is cased."""
    mine = copy(folder_of, "bert", folder)
    vocabulary = model_of(mine)["vocab"]
    (mine / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n", encoding="utf-8")
    return without_new_files(mine)


def without_mask(folder_of, folder: Path) -> Path:
    """A BERT whose tokenizer names no mask."""
    return settings(copy(folder_of, "bert", folder), mask_token=None)


def without_ends(folder_of, folder: Path) -> Path:
    """A BERT that reads prompts without [CLS] and [SEP]."""

    def no_ends(backend):
        backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])

    return resaved(copy(folder_of, "bert", folder), no_ends)


def without_decoder(folder_of, folder: Path) -> Path:
    """A decoder whose tokens keep the sign for a blank when they are written."""
    mine = copy(folder_of, "llama", folder)
    path = mine / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"decoder": None}), encoding="utf-8")
    return mine


def without_blanks(folder_of, folder: Path) -> Path:
    """A BERT that reads a text as if it had no blanks."""

    def no_blanks(backend):
        backend.normalizer = normalizers.Replace(" ", "")

    return resaved(copy(folder_of, "bert", folder), no_blanks)


def of_characters(folder_of, folder: Path) -> Path:
    """A decoder that reads bytes."""
    mine = copy(folder_of, "llama", folder)
    path = mine / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["merges"] = []
    path.write_text(json.dumps(content), encoding="utf-8")
    return mine


def _around(backend, single: str) -> None:
    end = "<|endoftext|>"
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B", special_tokens=[(end, backend.token_to_id(end))]
    )


def end_behind(folder_of, folder: Path) -> Path:
    """A decoder that reads its end token behind every prompt."""
    return resaved(copy(folder_of, "gpt2", folder), lambda backend: _around(backend, "$A <|endoftext|>"))


def start_asked_for(folder_of, folder: Path) -> Path:
    """A decoder whose configuration asks for a start token that its tokenizer does not add."""
    return settings(copy(folder_of, "llama", folder), add_bos_token=True)


def of_a_missing_library(folder_of, folder: Path) -> Path:
    """A decoder with a SentencePiece file alone."""
    mine = copy(folder_of, "llama", folder)
    (mine / "tokenizer.json").unlink()
    (mine / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    return settings(mine, tokenizer_class="LlamaTokenizer")


def empty_for_want_of_a_library(folder_of, folder: Path) -> Path:
    """An encoder with a SentencePiece file that transformers does not look at."""
    mine = copy(folder_of, "roberta", folder)
    (mine / "tokenizer.json").unlink()
    (mine / "sentencepiece.model").write_bytes(b"x")
    return settings(mine, tokenizer_class="XLMRobertaTokenizer")
