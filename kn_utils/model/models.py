"""Language models: loading, and access to blocks, neurons and value vectors."""

from __future__ import annotations  # `transformers.PreTrainedModel` takes seconds to import, so it is imported at first use

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from functools import cache, cached_property
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from kn_utils.data.downloads import cache_dir, smollm2_gguf
from kn_utils.model.architectures import auto_class
from kn_utils.model.devices import find_device, moved
from kn_utils.model.hub import check_reachable, commit_in_cache
from kn_utils.model.layouts import Layout, find_layout, submodule, value_vectors
from kn_utils.model.tokenizers import check_tokenizer, missing_library
from kn_utils.parameters import check
from kn_utils.paths import DATA, result_name

_NOT_SETTINGS = ("_name_or_path", "transformers_version", "dtype")  # entries of a configuration that do not change values
_NEUTRAL = {  # settings that change what a model returns or how it computes, but not its numbers
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": False,
    "chunk_size_feed_forward": 0,
}
_OTHER_WEIGHTS = re.compile(  # of heads for other tasks, of parts for images and sound, and tables that are computed anew
    r"pooler\.|seq_relationship|sop_classifier|discriminator|classifier\.|^score\.|qa_outputs|vision|visual|audio"
    r"|position_ids$|inv_freq$|attn\.(masked_)?bias$"
)
BUNDLED = ("starter", "smollm2-135m")
MAIN = "main"  # the hub's newest revision


@dataclass(frozen=True)
class LanguageModel:
    """A pretrained model with its tokenizer. Build it with `load_model`, or from a model and a tokenizer in memory.

    The model is set to evaluation mode and its weights are frozen.
    """

    name: str
    model: transformers.PreTrainedModel
    tokenizer: object = None
    source: str = ""  # the name given to `load_model`
    layout: Layout = field(init=False)  # where the neurons are, as found in the model
    way: str = field(init=False)  # the fastest of `kn_utils.model.layouts.WAYS` that gives this model's numbers
    found: InitVar[tuple[Layout, str] | None] = None  # both, if they were found before in the same model

    def __reduce__(self) -> tuple:
        """Pickle a loaded model as the name of its files: worker processes load them again and share their memory pages.

        What was found in the model goes with it, and is not sought again.
        """
        if self.source:
            return _loaded_once, (self.source, str(self.device), self.dtype, self.digest, (self.layout, self.way))
        return LanguageModel, (self.name, self.model, self.tokenizer, "", (self.layout, self.way))

    def __post_init__(self, found: tuple[Layout, str] | None):
        from kn_utils.model.ways import fastest_way  # it runs the model in every way, by modules that import this one

        self.model.eval().requires_grad_(False)
        _set_neutral(self.model.config)
        try:
            object.__setattr__(self, "layout", found[0] if found else find_layout(self.model))
        except ValueError as reason:
            raise ValueError(f"{self.name}: {reason}") from None
        object.__setattr__(self, "way", found[1] if found else fastest_way(self))

    @property
    def masked(self) -> bool:
        """True for masked models, False for left-to-right models."""
        return self.layout.masked

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def dtype(self) -> str:
        """The type of the weights, such as "float32"."""
        return str(self.model.dtype).removeprefix("torch.")

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks; fewer than `n_layers` if layers share a block (ALBERT)."""
        return [self.model.get_submodule(name) for name in self.layout.blocks]

    @cached_property
    def downs(self) -> list[nn.Module]:
        """The down-projection of each block."""
        return [submodule(block, self.layout.down) for block in self.blocks]

    @property
    def n_layers(self) -> int:
        """The number of layers: how many blocks run in one forward pass."""
        return self.layout.layers

    @property
    def n_neurons(self) -> int:
        """The number of neurons per layer."""
        return len(value_vectors(self.downs[0]))

    @cached_property
    def max_length(self) -> int:
        """The maximum number of tokens. In RoBERTa and its relatives positions up to the padding token's id are not used."""
        config = self.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        unused = [
            module.padding_idx + 1
            for name, module in self.model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        return min(self.tokenizer.model_max_length, limit - max(unused, default=0))

    def words(self, tokens: Iterable[int]) -> list[str]:
        """Return each token as text, without surrounding spaces."""
        return [self.tokenizer.decode([token]).strip() for token in tokens]

    @property
    def embeddings(self) -> Tensor:
        """The input word embeddings, [vocabulary, hidden]."""
        return self.model.get_input_embeddings().weight

    def identity(self) -> dict[str, str]:
        """Return digests of the weights and of configuration and tokenizer, dtype, device and a hub's commit: the inputs of every table."""
        return {
            "weights": self.digest,
            "settings": self._settings_digest,
            "dtype": self.dtype,
            "device": str(self.device),
        } | self._commit

    @cached_property
    def _commit(self) -> dict[str, str]:
        """The commit of a hub's repository that the model was read from; empty for other models."""
        place, revision = locate(self.source)
        if not place or os.path.isdir(place):  # in memory, or in a folder
            return {}
        commit = commit_in_cache(place, revision)
        return {"hub_commit": commit} if commit else {}

    @cached_property
    def _settings_digest(self) -> str:
        config = {name: value for name, value in self.model.config.to_dict().items() if name not in _NOT_SETTINGS}
        if backend := getattr(self.tokenizer, "backend_tokenizer", None):
            vocabulary = {**json.loads(backend.to_str()), "truncation": None, "padding": None}
        else:  # a tokenizer in Python, or none
            vocabulary = self.tokenizer.get_vocab() if self.tokenizer else {}
        return hashlib.sha256(
            json.dumps([config, vocabulary, repr(self.layout), self.way], sort_keys=True, default=str).encode()
        ).hexdigest()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all weights with their names, types and shapes, sorted by name."""
        total = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            total.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return total.hexdigest()


def load_model(name: str | Path, device: str = "auto", dtype: str = "float32") -> LanguageModel:
    """Load a model: "starter", "smollm2-135m", a local folder in the hub's layout, or a hub id, which "@" and a revision may follow.

    `dtype` is the type of the weights: float32, bfloat16 or float16. Probabilities, scores and sums are float32 in any case.

    Only safetensors weights are read, and no code from the hub is run. Raises OSError if the model cannot be found or read, and ValueError
    if its architecture is not supported, a weight is missing, the tokenizer does not fit, or the device is not available or
    disagrees with the CPU.
    """
    model, tokenizer = _read(str(name), device, dtype)
    lm = LanguageModel(result_name(name), model, tokenizer, str(name))
    place, revision = locate(str(name))
    check_tokenizer(str(name), lm.masked, tokenizer, model, get_tokenizer_config(place, revision=revision))
    return lm


def _read(name: str, device: str, dtype: str) -> tuple[transformers.PreTrainedModel, object]:
    """Return the model and the tokenizer of a name. Raises as `load_model`."""
    check(dtype=dtype)
    target = find_device(device)
    place, revision = locate(name)
    with explained(name):
        if not os.path.isdir(place):
            check_reachable(place, revision)
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
    auto = auto_class(config)
    _set_neutral(config)
    with explained(name):
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        model, report = _load_weights(place, revision, config, auto, dtype)
    _check_weights(name, auto is AutoModelForMaskedLM, report)
    return moved(name, model, target), tokenizer


def _set_neutral(config: PreTrainedConfig) -> None:
    """Give a configuration, and that of its text model, the values of `_NEUTRAL`."""
    for part in (config, config.get_text_config()):
        for name, value in _NEUTRAL.items():
            if hasattr(part, name):
                setattr(part, name, value)


@cache
def _loaded_once(name: str, device: str, dtype: str, digest: str, found: tuple[Layout, str]) -> LanguageModel:
    """Load a model in a worker process. Raises ValueError if the weights in its files do not have this digest."""
    lm = LanguageModel(result_name(name), *_read(name, device, dtype), name, found)
    if lm.digest != digest:
        raise ValueError(
            f"the weights of {name!r} are not those in its files; build a LanguageModel(name, model, tokenizer) of a model that was changed"
        )
    return lm


_ALLOWED = (
    f"A model is one of {', '.join(BUNDLED)}, a local folder in the hub's layout with safetensors weights, or a Hugging Face hub id "
    "such as google-bert/bert-base-cased or google-bert/bert-base-cased@main (which needs a network or a filled hub cache)."
)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Replace any error of transformers while it reads a model by an OSError that names the model."""
    try:
        yield
    except Exception as reason:
        raise OSError(
            f"cannot load the model {name!r}: {' '.join(str(reason).split()).rstrip('.')}. {missing_library(str(reason))}{_ALLOWED}"
        ) from reason


def _load_weights(
    place: str, revision: str, config: PreTrainedConfig, auto: type, dtype: str
) -> tuple[transformers.PreTrainedModel, dict]:
    return auto.from_pretrained(
        place,
        revision=revision,
        config=config,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # `_check_weights` reports them
        output_loading_info=True,
    )


def _check_weights(name: str, masked: bool, report: dict) -> None:
    if missing := sorted(report["missing_keys"]):
        kind = "masked language model" if masked else "left-to-right language model"
        raise ValueError(f"{name!r} is not a complete {kind}: its files lack the weights {_first(missing)}")
    for weight, found, wanted in sorted(report["mismatched_keys"])[:1]:
        raise ValueError(f"{name!r}: {weight} has the shape {tuple(found)} where config.json asks for {tuple(wanted)}")
    if unused := sorted(weight for weight in report["unexpected_keys"] if not _OTHER_WEIGHTS.search(weight)):
        raise ValueError(
            f"{name!r}: the model that config.json describes does not use the weights {_first(unused)} of its files, so it would not be "
            "the model that was trained"
        )


def _first(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def locate(name: str) -> tuple[str, str]:
    """Return the folder or hub id for transformers, and the hub's revision: a branch, tag or commit, as it stands behind "@".

    `smollm2-135m` is downloaded and converted at first use.
    """
    if name == "smollm2-135m":
        return str(_converted_smollm2()), MAIN
    if name == "starter":
        return str(DATA / "starter" / "model"), MAIN
    if os.path.isdir(os.path.expanduser(name)):
        return os.path.expanduser(name), MAIN
    place, _, revision = name.partition("@")
    return place, revision or MAIN


def _converted_smollm2() -> Path:
    """Return the folder of SmolLM2-135M-Instruct as safetensors, converted once from its GGUF file."""
    folder = cache_dir() / "smollm2-135m"
    if not folder.is_dir():
        gguf = smollm2_gguf()
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        origin = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        dequantised = AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.float32)
        plain = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**origin), dtype=torch.float32)
        plain.load_state_dict(dequantised.state_dict())
        plain.save_pretrained(partial)  # transformers refuses to save the model loaded from GGUF
        AutoTokenizer.from_pretrained(**origin).save_pretrained(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process finished first
            shutil.rmtree(partial)
    return folder
