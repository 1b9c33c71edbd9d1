"""Answers to prompts while sets of neurons are suppressed or amplified: a copy of the prompt for each set, many in one pass."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from kn_utils.model.forward import log_odds, logits_at, prompts_at_once
from kn_utils.model.interventions import scaled_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, group_by_length, stack

Sets = Sequence[Sequence[Sequence[Neuron]]]  # for each prompt, its sets of neurons


class Answer(NamedTuple):
    """The log-odds of the target token, and the most probable token."""

    log_odds: float
    top: int


@torch.inference_mode()
def changed_answers(lm: LanguageModel, prompts: Sequence[Prompt], rounds: Sequence[tuple[str, Sets]]) -> list[list[list[Answer]]]:
    """Return for each round and prompt the answer with each of its sets of neurons changed; an empty set changes nothing.

    A round is an operation of `kn_utils.model.interventions.OPERATIONS` and the sets of each prompt. Rounds share the prompts' prefixes.
    """
    found: list[list[list[Answer]]] = [[[] for _ in prompts] for _ in rounds]
    for group in group_by_length(prompts, prompts_at_once):
        suffix = prompt_suffix(lm, stack([prompts[index] for index in group], lm.device))
        at_once = prompts_at_once(len(prompts[group[0]].ids))
        for answers, (operation, sets) in zip(found, rounds, strict=True):
            jobs = [(row, neurons) for row, index in enumerate(group) for neurons in sets[index]]
            for start in range(0, len(jobs), at_once):
                rows, neurons = zip(*jobs[start : start + at_once], strict=True)
                copies = suffix.select(torch.tensor(rows, device=lm.device))
                with scaled_neurons(lm, copies.position, neurons, operation):
                    logits = logits_at(lm, copies)
                odds = log_odds(logits, copies.target[:, None])[:, 0]
                for row, *answer in zip(rows, odds.tolist(), logits.argmax(1).tolist(), strict=True):
                    answers[group[row]].append(Answer(*answer))
    return found
