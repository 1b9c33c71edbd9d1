"""Answers to prompts while neurons are changed: their activations at the prediction position, or their value vectors everywhere.

The unchanged model runs once on each batch of prompts. The passes with a change start at the lowest layer that it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kn_utils.model.forward import Answers, log_odds, logits_at, prompts_at_once
from kn_utils.model.interventions import edited_value_vectors, scaled_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prefix import PromptSuffix, prompt_suffix, whole_prompts
from kn_utils.model.prompts import Prompt, group_by_length, stack
from kn_utils.model.restart import lowest_layer, started_at, stored_outputs

Sets = Sequence[Sequence[Sequence[Neuron]]]  # for each prompt, its sets of neurons
WORTH_A_PASS = 32  # copies of a prompt; for fewer, a pass spends most of its time on the weights of the vocabulary projection


class Answer(NamedTuple):
    """The log-odds of the target token, and the most probable token."""

    log_odds: float
    top: int


class _Job(NamedTuple):
    """A set of neurons to change: the prompt's row in a batch, and the place of the set among those of the prompt."""

    row: int
    place: int
    neurons: Sequence[Neuron]

    @property
    def layer(self) -> int:
        """The lowest layer that changes."""
        return lowest_layer(self.neurons)


@torch.inference_mode()
def changed_answers(lm: LanguageModel, prompts: Sequence[Prompt], rounds: Sequence[tuple[str, Sets]]) -> list[list[list[Answer]]]:
    """Return for each round and prompt the answer with each of its sets of neurons changed; an empty set changes nothing.

    A round is an operation of `kn_utils.model.interventions.OPERATIONS` and the sets of each prompt. A pass has a copy of a prompt for each
    of many sets.
    """
    found: list[list[list[Answer]]] = [[[] for _ in prompts] for _ in rounds]
    for group in group_by_length(prompts, prompts_at_once):
        suffix = prompt_suffix(lm, stack([prompts[index] for index in group], lm.device))
        with stored_outputs(lm) as outputs:
            unchanged = _answers(logits_at(lm, suffix), suffix.target)
        for answers, (operation, sets) in zip(found, rounds, strict=True):
            jobs = []
            for row, index in enumerate(group):
                answers[index] = [unchanged[row]] * len(sets[index])
                jobs += [_Job(row, place, neurons) for place, neurons in enumerate(sets[index]) if neurons]
            for part in _passes(jobs, prompts_at_once(len(prompts[group[0]].ids))):
                for job, answer in zip(part, _answers_of_pass(lm, suffix, operation, part, outputs), strict=True):
                    answers[group[job.row]][job.place] = answer
    return found


def _passes(jobs: list[_Job], at_once: int) -> Iterator[list[_Job]]:
    """Yield the jobs of each pass, those that change high layers only first: a pass starts at the lowest layer of its jobs.

    So it ends where this layer changes, but not before it has `WORTH_A_PASS` jobs.
    """
    part: list[_Job] = []
    for job in sorted(jobs, key=lambda job: job.layer, reverse=True):
        if len(part) == at_once or (len(part) >= WORTH_A_PASS and job.layer < part[-1].layer):
            yield part
            part = []
        part.append(job)
    if part:
        yield part


def _answers_of_pass(
    lm: LanguageModel, suffix: PromptSuffix, operation: str, jobs: Sequence[_Job], outputs: list
) -> list[Answer]:
    rows = torch.tensor([job.row for job in jobs], device=lm.device)
    copies, neurons = suffix.select(rows), [job.neurons for job in jobs]
    with started_at(lm, jobs[-1].layer, outputs, rows), scaled_neurons(lm, copies.position, neurons, operation):
        return _answers(logits_at(lm, copies), copies.target)


def _answers(logits: Tensor, targets: Tensor) -> list[Answer]:
    odds = log_odds(logits, targets[:, None])[:, 0]
    return [Answer(*answer) for answer in zip(odds.tolist(), logits.argmax(1).tolist(), strict=True)]


def edited_answers(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    tokens: Sequence[Sequence[int]],
    edits: Sequence[Mapping[Neuron, Tensor]],
) -> list[Answers]:
    """Return the answers of `kn_utils.model.forward.predict` with each of the edits made; an edit of no neuron changes nothing.

    An edit has the new value vectors of neurons. Raises as `kn_utils.model.interventions.edited_value_vectors`.
    """
    wanted = torch.tensor(tokens, device=lm.device)
    found = [Answers.empty(*wanted.shape) for _ in edits]
    for group in group_by_length(prompts, prompts_at_once):
        whole = whole_prompts(stack([prompts[index] for index in group], lm.device))
        with stored_outputs(lm) as outputs:
            unchanged = logits_at(lm, whole)
        every = torch.arange(len(group), device=lm.device)
        for answers, vectors in zip(found, edits, strict=True):
            logits = unchanged
            if vectors:
                with edited_value_vectors(lm, vectors), started_at(lm, lowest_layer(vectors), outputs, every):
                    logits = logits_at(lm, whole)
            answers.put(group, logits, wanted[group])
    return found
