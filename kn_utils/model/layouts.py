"""The place of the neurons in each supported architecture.

A neuron is one coordinate of the input of the feed-forward block's down-projection. Its value vector is the matching column of that
projection. At one position, the output of a transformer block is `after_norm(residual + branch_norm(down(neurons)))`. Either norm may be
absent: BERT has `after_norm`, Gemma 3 has `branch_norm`, GPT-2 and Llama have neither.
"""

from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor, nn


@dataclass(frozen=True)
class Attention:
    """Names of the modules of a post-norm encoder block, needed to run the last block at a single position."""

    query: str
    key: str
    value: str
    output: str
    norm: str
    up: str
    activation: str


@dataclass(frozen=True)
class Layout:
    """Dotted module names: `blocks` inside the base model, the others inside a block. `masked` is False for left-to-right models."""

    masked: bool
    blocks: tuple[str, ...]
    down: str
    branch_norm: str = ""
    after_norm: str = ""
    attention: Attention | None = None


_BERT = Layout(
    masked=True,
    blocks=("encoder", "layer", "*"),
    down="output.dense",
    after_norm="output.LayerNorm",
    attention=Attention(
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        output="attention.output.dense",
        norm="attention.output.LayerNorm",
        up="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
    ),
)
_GATED = Layout(masked=False, blocks=("layers", "*"), down="mlp.down_proj")
_GEMMA = Layout(masked=False, blocks=("layers", "*"), down="mlp.down_proj", branch_norm="post_feedforward_layernorm")

LAYOUTS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "distilbert": Layout(
        masked=True,
        blocks=("transformer", "layer", "*"),
        down="ffn.lin2",
        after_norm="output_layer_norm",
        attention=Attention(
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            output="attention.out_lin",
            norm="sa_layer_norm",
            up="ffn.lin1",
            activation="ffn.activation",
        ),
    ),
    "albert": Layout(
        masked=True,
        blocks=("encoder", "albert_layer_groups", "*", "albert_layers", "*"),
        down="ffn_output",
        after_norm="full_layer_layer_norm",
        attention=Attention(
            query="attention.query",
            key="attention.key",
            value="attention.value",
            output="attention.dense",
            norm="attention.LayerNorm",
            up="ffn",
            activation="activation",
        ),
    ),
    "modernbert": Layout(masked=True, blocks=("layers", "*"), down="mlp.Wo"),
    "gpt2": Layout(masked=False, blocks=("h", "*"), down="mlp.c_proj"),
    "gpt_neo": Layout(masked=False, blocks=("h", "*"), down="mlp.c_proj"),
    "gpt_neox": Layout(masked=False, blocks=("layers", "*"), down="mlp.dense_4h_to_h"),
    "gptj": Layout(masked=False, blocks=("h", "*"), down="mlp.fc_out"),
    "opt": Layout(masked=False, blocks=("decoder", "layers", "*"), down="fc2"),
    "llama": _GATED,
    "mistral": _GATED,
    "qwen2": _GATED,
    "qwen3": _GATED,
    "gemma": _GATED,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
}


def layout_of(config) -> Layout:
    """Return the layout for a model's configuration. Raises ValueError for an unknown architecture."""
    name = config.model_type
    if name not in LAYOUTS:
        raise ValueError(
            f"model type {name!r} has an unknown feed-forward layout; known ones: {', '.join(LAYOUTS)}. "
            "Add one to kn_utils/model/layouts.py and its configuration to tests/tiny_models.py."
        )
    if LAYOUTS[name].masked and getattr(config, "is_decoder", False):
        raise ValueError(f"a {name!r} that is set up as a decoder (is_decoder) is not supported, only as a masked language model")
    if name == "opt" and not config.do_layer_norm_before:
        raise ValueError("OPT models that normalise after each sum (opt-350m) are not supported")
    return LAYOUTS[name]


def find_blocks(base_model: nn.Module, layout: Layout) -> list[nn.Module]:
    """Return the distinct transformer blocks of a model, in order."""
    found = [base_model]
    for name in layout.blocks:
        found = [child for module in found for child in (module if name == "*" else [getattr(module, name)])]
    return found


def submodule(block: nn.Module, name: str) -> nn.Module:
    """Return a submodule of a block by its dotted name."""
    return attrgetter(name)(block)


def value_vectors(down: nn.Module) -> Tensor:
    """Return a view of a down-projection's weight in which each row is a value vector, [neurons, hidden]."""
    return down.weight.T if isinstance(down, nn.Linear) else down.weight
