"""Which types of models the neurons are found in: a tiny random model of every type that transformers registers.

`python benchmarks/supported_models.py` examines all of them, and writes the tables of `book/architectures.md`. A type that an architecture
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
NOT_EXAMINED = {
    "bamba": "layers of attention or of a state space, no tiny configuration",
    "blt": "predicts bytes by way of patches, no tiny configuration",
    "cohere_compass_text": "its default configuration cannot be built",
    "dbrx": "its default configuration cannot be built",
    "dots1": "its default configuration cannot be built",
    "dots3_note": "its layers differ, no tiny configuration",
    "dots3_note_text": "its layers differ, no tiny configuration",
    "funnel": "pools its tokens from block to block",
    "gemma3n": "needs the package timm",
    "gemma3n_text": "its layers share caches, no tiny configuration",
    "gemma4_assistant": "drafts for another model",
    "gemma4_unified_assistant": "drafts for another model",
    "granitemoehybrid": "layers of attention or of a state space, no tiny configuration",
    "lfm2_moe": "its default configuration cannot be built",
    "perceiver": "reads its tokens into a latent array of another length",
    "prophetnet": "predicts several tokens at once",
    "qwen4_exp": "layers of several kinds, no tiny configuration",
    "qwen4_exp_text": "layers of several kinds, no tiny configuration",
    "reformer": "hashes its tokens into chunks, no tiny configuration",
    "xlnet": "predicts by permutations: later tokens matter",
    "zamba": "layers share weights in a way that needs its full depth",
    "zamba2": "layers share weights in a way that needs its full depth",
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
    """Return what comes of a type, in the words of the table."""
    if model_type in NOT_EXAMINED:
        return f"not examined: {NOT_EXAMINED[model_type]}"
    try:
        lm = tiny_language_model(model_type)
    except ValueError as reason:
        return f"refused: {short(str(reason).removeprefix(f'{model_type}: '))}"
    return f"{'encoder' if lm.masked else 'decoder'}, {WORDS[lm.way]}"


WORDS = {ONE_QUERY: "formula", FORMULA: "formula", BLOCK_AGAIN: BLOCK_AGAIN, LAYER_BY_LAYER: LAYER_BY_LAYER}


def short(reason: str) -> str:
    """Return the part of a refusal that many types share, or all that was seen in this one."""
    if "mixture-of-experts" in reason:
        return "mixture-of-experts layers"
    if "encoder-decoder" in reason:
        return "an encoder-decoder"
    return reason.split(" alone: ")[0].replace("|", "")


def table(outcomes: dict[str, str]) -> str:
    """Return the outcomes as a table, those of most types first, and the number of supported types."""
    types: dict[str, list[str]] = {}
    for model_type, found in outcomes.items():
        types.setdefault(found, []).append(f"`{model_type}`")
    order = sorted(types, key=lambda found: (found.startswith(("refused", "not examined")), -len(types[found]), found))
    rows = [f"| {found} | {len(types[found])} | {', '.join(types[found])} |" for found in order]
    head = [f"**{supported(outcomes)} types are supported.**", "", "| what was found | number | types |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def supported(outcomes: dict[str, str]) -> int:
    """Return the number of supported types."""
    return sum(found.startswith(("encoder, ", "decoder, ")) for found in outcomes.values())


def outcomes_of_page() -> dict[str, str]:
    """Return the outcome of every type as the page has it."""
    rows = re.findall(r"^\| (.+) \| \d+ \| (`.+`) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {model_type: found for found, types in rows for model_type in re.findall("`([^`]+)`", types)}


def main() -> None:
    """Examine all types, and write the table into the page."""
    transformers.logging.set_verbosity_error()
    logging.disable()
    outcomes = {model_type: outcome(model_type) for model_type in TYPES}
    page = MARKED.sub(lambda _: table(outcomes), PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    print(f"{supported(outcomes)} of {len(outcomes)} types are supported: {PAGE}")


if __name__ == "__main__":
    main()
