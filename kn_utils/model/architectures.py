"""The supported architectures, and the place of the neurons in each.

A neuron is one coordinate of the input of the feed-forward block's down-projection. Its value vector is the matching column of that
projection. At one position, the output of a transformer block is `after_norm(residual + branch_norm(down(neurons)))`. Either norm may be
absent: BERT has `after_norm`, Gemma 3 has `branch_norm`, GPT-2 and Llama have neither. In a parallel block (GPT-J, GPT-NeoX) the output of
attention is part of the residual.

A table depends on the entry of its own model alone, which is among the model's settings in provenance. So a new entry makes no table stale.
"""

from dataclasses import dataclass


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
