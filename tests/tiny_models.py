"""Tiny random-weight models of some architectures; `benchmarks/supported_models.py` has one of every type."""

import hashlib

import torch
from supported_models import with_large_weights
from torch import Tensor
from transformers import AutoConfig

from kn_utils.model.architectures import auto_class
from kn_utils.model.forward import probabilities
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix
from kn_utils.model.prompts import Batch

VOCABULARY = 101
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = _COMMON | {"num_key_value_heads": 2, "head_dim": 8}
_GPT = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]

CONFIGURATIONS = {
    "bert": _COMMON,
    "roberta": _COMMON,
    "xlm-roberta": _COMMON,
    "electra": _COMMON | {"embedding_size": 16},
    "distilbert": {
        "vocab_size": VOCABULARY,
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 64,
    },
    "albert": _COMMON | {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2},
    "modernbert": _COMMON | {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 4, "global_attn_every_n_layers": 2},
    "gpt2": _GPT,
    "gpt_neo": _COMMON
    | {"num_layers": 3, "num_heads": 4, "attention_types": [[["global", "local", "global"], 1]], "window_size": 4},
    "gpt_neox": _COMMON,
    "gptj": _GPT | {"rotary_dim": 4},
    "opt": _COMMON | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "llama": _GROUPED,
    "mistral": _GROUPED | {"sliding_window": 4},
    "qwen2": _GROUPED,
    "qwen3": _GROUPED,
    "gemma": _GROUPED,
    "gemma2": _GROUPED | {"sliding_window": 4, "layer_types": _WINDOWS},
    "gemma3_text": _GROUPED | {"sliding_window": 4, "layer_types": _WINDOWS},
}

OTHER_WAYS = {  # no formula gives the output of their blocks, or their batch cannot grow
    "granite": _GROUPED | {"residual_multiplier": 0.22},
    "bloom": {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4},
}


def tiny_model(model_type: str, dtype: torch.dtype = torch.float64, **changes) -> LanguageModel:
    """Return a random-weight model whose weights are large enough for every neuron to matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **((CONFIGURATIONS | OTHER_WAYS)[model_type] | changes))
    return LanguageModel(model_type, with_large_weights(auto_class(config).from_config(config)).to(dtype))


MODELS = [(model_type, {}) for model_type in CONFIGURATIONS]
MODELS += [
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),  # as opt-350m
    ("granite", {}),
    ("bloom", {}),
    ("albert", {"num_hidden_groups": 1}),  # all layers share one block
    ("albert", {"num_hidden_layers": 2, "num_hidden_groups": 1, "inner_group_num": 2}),  # two blocks take turns
]
FLOAT32_ATTENTION = {"gpt_neo", "gptj"}  # transformers computes their attention weights in float32 whatever the model's type


def near(model_type: str) -> dict[str, float]:
    """How close two float64 computations of one value must be."""
    return {"rtol": 1e-4, "atol": 1e-6} if model_type in FLOAT32_ATTENTION else {"rtol": 1e-9, "atol": 1e-13}


def random_batch(lm: LanguageModel, prompts: int = 2, length: int = 9, seed: int = 1) -> Batch:
    """Random prompts of one length, a position in each where the model predicts, and its second best answer there as the target."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (prompts, length), generator=generator)
    position = torch.randint(1, length, (prompts,), generator=generator) if lm.masked else torch.full((prompts,), length - 1)
    logits = lm.model(ids).logits[torch.arange(prompts), position]
    return Batch(ids, position, logits.topk(2).indices[:, 1])


def some_prompts(lm: LanguageModel, positions=(1, 8, 4)) -> tuple[Tensor, Tensor]:
    """Random prompts of nine tokens and any position in each, also for a left-to-right model."""
    return random_batch(lm, len(positions)).ids, torch.tensor(positions)


def probabilities_at(lm: LanguageModel, ids: Tensor, position: Tensor) -> Tensor:
    """The probability of every token at `position` of whole prompts, [prompts, vocabulary]."""
    return probabilities(lm, PromptSuffix(ids, position, position))


def assert_no_hooks(lm: LanguageModel) -> None:
    """No intervention and no replaced function is left behind."""
    for module in lm.model.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks and "forward" not in vars(module)


def weight_sums(lm: LanguageModel) -> dict[str, str]:
    """The SHA-256 of every weight's bytes."""
    weights = {name: weight.contiguous().view(torch.uint8).numpy() for name, weight in lm.model.state_dict().items()}
    return {name: hashlib.sha256(weight.tobytes()).hexdigest() for name, weight in weights.items()}
