"""Folders of models that are not what they claim to be."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

WEIGHTS = "model.safetensors"


def copy_of_bert(folder_of, folder: Path, **changes) -> Path:
    """A copy of the tiny BERT, with changes of its configuration."""
    mine = shutil.copytree(folder_of("bert"), folder / "mine")
    config = mine / "config.json"
    found = {name: value for name, value in json.loads(config.read_text(encoding="utf-8")).items() if value is not None}
    config.write_text(json.dumps(found | changes), encoding="utf-8")
    return mine


def pickled_alone(folder_of, folder: Path) -> Path:
    """Weights in a pickle file only."""
    mine = copy_of_bert(folder_of, folder)
    torch.save(load_file(mine / WEIGHTS), mine / "pytorch_model.bin")
    (mine / WEIGHTS).unlink()
    return mine


def without_head(folder_of, folder: Path) -> Path:
    """An encoder without its language modelling head."""
    mine = copy_of_bert(folder_of, folder)
    BertModel.from_pretrained(mine).save_pretrained(mine)
    return mine


def with_relative_positions(folder_of, folder: Path) -> Path:
    """A BERT with relative positions, which transformers 5 does not have."""
    mine = copy_of_bert(folder_of, folder, position_embedding_type="relative_key_query")
    distances = {"bert.encoder.layer.0.attention.self.distance_embedding.weight": torch.ones(127, 8)}
    save_file(load_file(mine / WEIGHTS) | distances, mine / WEIGHTS, {"format": "pt"})
    return mine


def other_device(model, spoil) -> torch.device:
    """A stand-in for an accelerator: to move the model there is to let `spoil` change it on the CPU."""

    def to(device):
        spoil(model)
        return model

    model.to = to
    return torch.device("mps")


def scale_a_weight(model) -> None:
    """Change a weight of the vocabulary head."""
    model.get_output_embeddings().weight.data[7] *= 1.5


@contextmanager
def no_hub(folder: Path):
    """Nothing listens where the hub should be, and its cache is empty."""
    there = {"HF_HUB_CACHE": str(folder), "HUGGINGFACE_CO_URL_TEMPLATE": "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"}
    with mock.patch.multiple("huggingface_hub.constants", **there):
        yield
