"""Which types of models the neurons are found in: a tiny random model of every type that transformers registers.

`python benchmarks/supported_models.py` examines all of them, and writes the lists of `book/architectures.md`. A type that an architecture
has only for a part of its models (a mixture of experts, say) is examined as its default configuration has it.
"""

import logging
import re

import torch
import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from kn_utils.model.architectures import auto_class
from kn_utils.model.layouts import BLOCK_AGAIN, FORMULA, LAYER_BY_LAYER, ONE_QUERY
from kn_utils.model.models import LanguageModel
from kn_utils.paths import ROOT

MARKED = re.compile(r"(?<=<!-- types -->\n).*?(?=<!-- end of types -->)", re.DOTALL)
PAGE = ROOT / "book/architectures.md"
TYPES = sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_MASKED_LM_MAPPING_NAMES})

HIDDEN, NEURONS, VOCABULARY = 32, 48, 101
SMALL = {  # by what a configuration may call it
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "word_embed_proj_dim", "embedding_size"), HIDDEN),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "decoder_ffn_dim", "d_inner", "d_ff", "dff", "dim_ff", "hidden_dim"), NEURONS
    ),
    **dict.fromkeys(("ffn_hidden_size", "feedforward_dim"), NEURONS),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_kv_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "d_head", "dim_head", "d_kv", "global_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("rotary_dim", "qk_rope_head_dim", "qk_nope_head_dim"), 4),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "altup_num_inputs"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("entity_vocab_size", "entity_emb_size", "embedding_rank", "moe_intermediate_size"), 16),
    "expert_ffn_hidden_size": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LINEAR_ATTENTION = dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2) | dict.fromkeys(
    ("linear_key_head_dim", "linear_value_head_dim"), 8
)
_GEMMA4 = {"head_dim": 8, "global_head_dim": 8, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8}
CHANGES = {  # what else a type needs to be tiny
    "albert": {"embedding_size": 16},
    "bert-generation": {"is_decoder": True},  # otherwise later tokens matter, and it is no language model
    "deepseek_v3": {"first_k_dense_replace": 1},  # with 3 layers all would be dense, as in no published model
    "deepseek_v32": {"mlp_layer_types": ["dense", "sparse", "sparse"]},
    "electra": {"embedding_size": 16},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 0, "mask_token_id": 4},
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8},
    "gemma4_text": _GEMMA4,
    "glm_moe_dsa": {"mlp_layer_types": ["dense", "sparse", "sparse"]},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]]},
    "gptj": {"n_inner": NEURONS},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "longformer": {"attention_window": [4, 4, 4]},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "neomme": {"head_dim": 16},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "qwen3_5_text": _LINEAR_ATTENTION,
    "roc_bert": {"pronunciation_vocab_size": 16, "shape_vocab_size": 16},
    "youtu": {"head_dim": 4},
    "zamba2": {"layer_types": ["mamba", "hybrid", "mamba"]},
}
FLOAT32 = ("mra", "xglm")  # cannot be run in float64
_NOT_BUILT = "the default configuration cannot be built"
_NOT_TINY = "no tiny configuration was found, mostly because layers differ or depend on each other"
_OTHER_POSITIONS = "blocks do not have one position for each token"
_OTHER_PREDICTION = "does not predict one token after another, or only drafts for another model"
NOT_EXAMINED = {
    **dict.fromkeys(("cohere_compass_text", "dbrx", "dots1", "lfm2_moe"), _NOT_BUILT),
    **dict.fromkeys(("bamba", "granitemoehybrid"), _NOT_TINY),  # layers of attention or of a state space
    **dict.fromkeys(("dots3_note", "dots3_note_text", "qwen4_exp", "qwen4_exp_text"), _NOT_TINY),  # layers of several kinds
    "blt": _NOT_TINY,  # predicts bytes by way of patches
    "gemma3n_text": _NOT_TINY,  # its layers share caches
    "reformer": _NOT_TINY,  # hashes its tokens into chunks
    **dict.fromkeys(("zamba", "zamba2"), _NOT_TINY),  # layers share weights in a way that needs the full depth
    "funnel": _OTHER_POSITIONS,  # pools its tokens from block to block
    "perceiver": _OTHER_POSITIONS,  # reads its tokens into a latent array
    **dict.fromkeys(("gemma4_assistant", "gemma4_unified_assistant"), _OTHER_PREDICTION),  # drafts
    "prophetnet": _OTHER_PREDICTION,  # several tokens at once
    "xlnet": _OTHER_PREDICTION,  # by permutations, so later tokens matter
    "gemma3n": "needs the package timm",
}
REFUSALS = {  # a part of the message, and what the page says of all types with such a message; the first that fits
    "mixture-of-experts": "mixture-of-experts layers",
    "encoder-decoder": "an encoder-decoder",
    "not on the 5 of the prompt": "the prompt is padded or extended inside the model",
    "no linear map in a list of blocks": "layers that are not made of the usual linear modules",
    "mixes positions": "no feed-forward layers, only state-space layers",
    "are not a chain": "blocks that are not a chain: one does not start with the output of the one before",
    "several feed-forward layers": "several or different feed-forward layers in a block",
    "different feed-forward layers": "several or different feed-forward layers in a block",
    "later tokens do not matter": "registered as a masked language model, but later tokens do not matter",
    "cannot be run on a prompt": "cannot be run on a plain prompt",
}


def tiny_config(model_type: str) -> PreTrainedConfig:
    """Return the configuration of a type with the sizes of `SMALL`, and so those of its parts, of which a few are built but not run."""
    default = AutoConfig.for_model(model_type)
    parts = {name: _small(part) for name in default.sub_configs if (part := getattr(default, name, None)) is not None}
    return AutoConfig.for_model(model_type, **(_small(default) | parts | CHANGES.get(model_type, {})))


def _small(config: PreTrainedConfig) -> dict:
    """Return the entries of `SMALL` that a configuration has."""
    return {name: value for name, value in SMALL.items() if _is_set(config, name)}


def _is_set(config: PreTrainedConfig, name: str) -> bool:
    try:
        return getattr(config, name, None) is not None and not isinstance(getattr(type(config), name, None), property)
    except AttributeError:
        raise
    except Exception:  # a value of each layer
        return False


def with_large_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Draw the weights of a model anew, large enough for every neuron to matter, and return it."""
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return model


def tiny_language_model(model_type: str) -> LanguageModel:
    """Return a random model of a type, in float64 where it can be. Raises ValueError if the type is not supported."""
    config = tiny_config(model_type)
    torch.manual_seed(0)
    model = with_large_weights(auto_class(config).from_config(config))
    return LanguageModel(model_type, model if model_type in FLOAT32 else model.double())


def outcome(model_type: str) -> str:
    """Return what comes of a type, in the words of the lists."""
    if model_type in NOT_EXAMINED:
        return f"{UNEXAMINED}: {NOT_EXAMINED[model_type]}"
    try:
        lm = tiny_language_model(model_type)
    except ValueError as reason:
        return f"{REFUSED}: {short(str(reason))}"
    return f"{SUPPORTED}: {'encoder' if lm.masked else 'decoder'}, {WORDS[lm.way]}"


SUPPORTED, REFUSED, UNEXAMINED = "Supported", "Refused", "Not examined"  # the headings of the lists
WORDS = {ONE_QUERY: "formula", FORMULA: "formula", BLOCK_AGAIN: BLOCK_AGAIN, LAYER_BY_LAYER: LAYER_BY_LAYER}


def short(reason: str) -> str:
    """Return what the page says of a refusal. Raises LookupError if it has no words for it."""
    for part, words in REFUSALS.items():
        if part in reason:
            return words
    raise LookupError(f"REFUSALS has no part of: {reason}")


def lists(outcomes: dict[str, str]) -> str:
    """Return the outcomes as lists with headings, those of most types first."""
    types: dict[str, list[str]] = {}
    for model_type, found in outcomes.items():
        types.setdefault(found, []).append(f"`{model_type}`")
    lines = []
    for heading in (SUPPORTED, REFUSED, UNEXAMINED):
        order = sorted((found for found in types if found.startswith(heading)), key=lambda found: (-len(types[found]), found))
        lines += [f"### {heading} ({sum(len(types[found]) for found in order)})", ""]
        lines += [
            f"* **{found.removeprefix(f'{heading}: ')}** ({len(types[found])}): {', '.join(types[found])}" for found in order
        ]
        lines += [""]
    return "\n".join(lines)


def supported(outcomes: dict[str, str]) -> int:
    """Return the number of supported types."""
    return sum(found.startswith(SUPPORTED) for found in outcomes.values())


def outcomes_of_page() -> dict[str, str]:
    """Return the outcome of every type as the page has it."""
    outcomes, heading = {}, ""
    for line in MARKED.search(PAGE.read_text(encoding="utf-8"))[0].splitlines():
        if found := re.fullmatch(r"### (.+) \(\d+\)", line):
            heading = found[1]
        elif found := re.fullmatch(r"\* \*\*(.+)\*\* \(\d+\): (`.+`)", line):
            outcomes |= {model_type: f"{heading}: {found[1]}" for model_type in re.findall("`([^`]+)`", found[2])}
    return outcomes


def main() -> None:
    """Examine all types, and write the lists into the page."""
    transformers.logging.set_verbosity_error()
    logging.disable()
    outcomes = {model_type: outcome(model_type) for model_type in TYPES}
    page = MARKED.sub(lambda _: lists(outcomes), PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    print(f"{supported(outcomes)} of {len(outcomes)} types are supported: {PAGE}")


if __name__ == "__main__":
    main()
