"""Language models: loading them, and reaching their blocks, neurons and value vectors."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kn_utils.downloads import cache_dir, smollm2_gguf
from kn_utils.layouts import Layout, find_blocks, layout_of, submodule, value_vectors
from kn_utils.paths import DATA

BUNDLED = ("starter", "smollm2-135m")


@dataclass(frozen=True)
class LanguageModel:
    """A pretrained model, its tokenizer and the place of its neurons; build it with `load_model`, or directly from a model at hand."""

    name: str
    model: PreTrainedModel
    tokenizer: object = None

    def __post_init__(self):
        self.model.eval().requires_grad_(False)
        if not all(isinstance(down, nn.Linear | Conv1D) for down in self.downs):
            raise ValueError(f"{self.name}: a down-projection is neither Linear nor Conv1D; quantised weights are not supported")

    @cached_property
    def layout(self) -> Layout:
        """The architecture's entry in `kn_utils.layouts`."""
        return layout_of(self.model.config)

    @property
    def masked(self) -> bool:
        """True for models that predict at a mask, False for left-to-right models."""
        return self.layout.masked

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.model.device

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks; fewer than `n_layers` where layers share one (ALBERT)."""
        return find_blocks(self.model.base_model, self.layout)

    @cached_property
    def downs(self) -> list[nn.Module]:
        """The down-projection of each block."""
        return [submodule(block, self.layout.down) for block in self.blocks]

    @property
    def n_layers(self) -> int:
        """How many times a block runs in one forward pass."""
        shared = getattr(self.model.config, "inner_group_num", 1)
        return self.model.config.num_hidden_layers * shared

    @property
    def n_neurons(self) -> int:
        """Neurons per layer."""
        return len(value_vectors(self.downs[0]))

    @property
    def max_length(self) -> int:
        """The longest prompt the model reads, in tokens."""
        return min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)

    @property
    def embeddings(self) -> Tensor:
        """The input word embeddings, [vocabulary, hidden]."""
        return self.model.get_input_embeddings().weight

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all weights, with their names and types, in the order of the names."""
        total = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            total.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return total.hexdigest()


def load_model(name: str | Path, device: str = "auto") -> LanguageModel:
    """Load a model in float32: "starter", "smollm2-135m", a local folder in the hub's layout, or a hub id.

    Only safetensors weights are read and no code from the hub is run. Raises ValueError if the model's architecture is unknown, a
    weight it needs is missing, it has no mask token though it needs one, or the device is not there; OSError if it cannot be found.
    """
    target = _device(device)
    folder = _locate(str(name))
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        masked = layout_of(config).masked
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, KeyError) as reason:
        raise OSError(f"cannot load the model {str(name)!r}: {reason}. {_ALLOWED}") from reason
    if masked and tokenizer.mask_token_id is None:
        raise ValueError(f"the tokenizer of {str(name)!r} has no mask token, which a masked language model needs")
    return LanguageModel(_short_name(str(name)), _load_weights(folder, masked).to(target), tokenizer)


_ALLOWED = (
    f"A model is one of {', '.join(BUNDLED)}, a local folder in the hub's layout, or a Hugging Face hub id such as "
    "google-bert/bert-base-cased (which needs a network or a filled hub cache)."
)


def _locate(name: str) -> str:
    if name == "smollm2-135m":
        return str(_converted_smollm2())
    if name == "starter":
        return str(DATA / "starter" / "model")
    return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name


def _short_name(name: str) -> str:
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else name.replace("/", "--")


def _load_weights(folder: str, masked: bool) -> PreTrainedModel:
    auto = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model, report = auto.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if problems := sorted(report["missing_keys"]) + sorted(report["mismatched_keys"]):
        kind = "masked language model" if masked else "left-to-right language model"
        raise ValueError(f"{folder} is not a complete {kind}: weights {problems} are missing or have another shape")
    return model


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as reason:
        raise ValueError(f"device {name!r} is not available here ({reason}); use 'auto', 'cpu', or a device torch has") from None
    return torch.device(name)


def _converted_smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as safetensors, dequantised once from its GGUF file and cached."""
    folder = cache_dir() / "smollm2-135m"
    if not folder.is_dir():
        gguf = smollm2_gguf()
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        origin = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        dequantised = AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.float32)
        plain = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**origin), dtype=torch.float32)
        plain.load_state_dict(dequantised.state_dict())
        plain.save_pretrained(partial)  # the dequantised model itself counts as quantised and refuses to be saved
        AutoTokenizer.from_pretrained(**origin).save_pretrained(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process finished first
            shutil.rmtree(partial)
    return folder
