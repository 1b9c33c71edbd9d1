"""A stand-in for models such as Gemma, which are lost without their start token."""

from types import SimpleNamespace

import torch


class NeedsStart:
    """A model that knows each next token with probability 0.8 behind its start token, and with 0.8 / `factor` without it."""

    device, vocabulary = torch.device("cpu"), 409  # the size of the tiny decoders' vocabulary

    def __init__(self, factor: float):
        self.without = 0.8 / factor
        self.config = SimpleNamespace(bos_token_id=0, vocab_size=self.vocabulary)
        self.config.get_text_config = lambda: self.config

    def __call__(self, ids):
        right = 0.8 if ids[0, 0] == 0 else self.without
        probability = torch.full((1, ids.shape[1], self.vocabulary), (1 - right) / (self.vocabulary - 1))
        for position, token in enumerate(ids[0, 1:]):
            probability[0, position, token] = right
        return SimpleNamespace(logits=probability.log())
