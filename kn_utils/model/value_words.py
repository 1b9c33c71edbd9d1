"""The words that value vectors raise and lower, read through the model's vocabulary head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kn_utils.model.interventions import check_layers_are_separate
from kn_utils.model.layouts import at_least_float32, value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron

AT_ONCE = 256  # neurons in one pass: their logits take AT_ONCE x vocabulary numbers


def value_words(lm: LanguageModel, neurons: Sequence[Neuron], n_words: int) -> dict[Neuron, tuple[list[str], list[str]]]:
    """Return for each neuron the words with the largest logits and those with the smallest, `n_words` each, the extreme ones first.

    A value vector is read as if it were the output of the last block (Geva et al., EMNLP 2022). So all that follows that block belongs to
    the head, in BERT its dense layer too: without that layer, the objects of a neuron's facts are hardly ever among its words.
    Raises ValueError for a model whose layers share one feed-forward network.
    """
    check_layers_are_separate(lm)
    words = {}
    for start in range(0, len(neurons), AT_ONCE):
        some = neurons[start : start + AT_ONCE]
        logits = head_logits(lm, torch.stack([value_vectors(lm.downs[layer])[index] for layer, index in some]))
        raised, lowered = logits.topk(n_words).indices.tolist(), (-logits).topk(n_words).indices.tolist()
        words |= {neuron: (lm.words(up), lm.words(down)) for neuron, up, down in zip(some, raised, lowered, strict=True)}
    return words


@torch.inference_mode()
def head_logits(lm: LanguageModel, vectors: Tensor) -> Tensor:
    """Return the logits of all words, [vectors, vocabulary], if `vectors` [vectors, hidden] are the output of the last block."""

    def replace(block: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        return (vectors[:, None], *output[1:]) if isinstance(output, tuple) else vectors[:, None]

    ids = torch.ones(len(vectors), 1, dtype=torch.long, device=lm.device)  # any token: its own output is replaced
    with lm.blocks[-1].register_forward_hook(replace):
        return at_least_float32(lm.model(ids, attention_mask=torch.ones_like(ids)).logits[:, 0])
