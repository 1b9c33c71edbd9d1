"""The step of notebook 16: a fact edited through its own neurons and through others, with equal injected norm."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from kn_utils.chapters.does_it_help_editing.choice import activations_at, choose_neurons
from kn_utils.chapters.does_it_help_editing.plans import Edit, plan_edits
from kn_utils.model.changed_answers import edited_answers
from kn_utils.model.forward import Answers
from kn_utils.model.interventions import RULES, check_editable, new_vectors, target_embedding
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import COMMON_SHARE, Neuron, neuron_list, neuron_name
from kn_utils.parameters import check
from kn_utils.store.known import knowledge_neurons
from kn_utils.store.runs import Run

STRENGTHS = (0.25, 0.5, 1.0, 2.0)  # of the injected norm; 1 is the rule applied to the fact's own neurons
EDITS_PER_PART = 2
_COLUMNS = {"relation": str, "fact": "int32", "old_object": str, "new_object": str, "half": "int32"}
_COLUMNS |= {"method": str, "rule": str, "strength": "float32", "neuron_names": str, "factor": "float32", "injected": "float32"}
_COLUMNS |= dict.fromkeys(["templates", "templates_success", "others", "others_success", "others_changed"], "int32")
_COLUMNS |= dict.fromkeys(["log_odds_change", "others_log_odds_change"], "float32")


def compare_edits(lm: LanguageModel, run: Run, relation: str, n_edits: int = 5, common_share: float = COMMON_SHARE) -> Path:
    """Make the table `does_it_help_editing` of a relation, and return its path.

    `n_edits` facts that the model knows are edited, one at a time, each through four neurons of every method. Half of the templates choose
    the neurons, and the other half judges the edit:

    * "attribution": the neurons with the largest mean attribution scores, the fact's own.
    * "matched": neurons of the same layers and nearly the same mean activation, with small scores (see `matched_neurons`).
    * "another fact": as the first, of another known fact of the relation with another object; none of the fact's own.
    * "random": random neurons of the same layers.
    * "exact": neurons whose ablation lowers the log-odds of the old object most, each alone.

    Neurons that are common in the relation (see `uncommon_neurons`) are spared by all methods but "random". The rule's change of a value
    vector is negated where the mean activation is negative, so that every neuron adds the new object to the residual stream. The injected
    norm is the sum over neurons of the absolute mean activation, in the prompts that choose, times the length of the change. All changes of
    a method are multiplied by `factor`, so that its injected norm is `strength` times that of the rule applied to the fact's own neurons.
    `injected` is the injected norm in the prompts that judge.

    `templates` and `others` count the prompts that judge, of the fact and of other facts of the relation. `templates_success` and
    `others_success` count those that are answered with the new object after the edit and not before; `others_changed` counts those whose
    answer changes. `log_odds_change` and `others_log_odds_change` are mean changes of the log-odds of the new object.
    A method without enough neurons, or whose neurons are all silent, has no rows.
    Raises ValueError if a parameter is not allowed or value vectors cannot be edited, and as `Run.made_with` for steps 1 and 2.
    """
    check(n_edits=n_edits, common_share=common_share)
    check_editable(lm)
    edits: list[Edit | None] = [*plan_edits(lm, run, relation, n_edits)] or [None]  # without an edit the table is empty
    common = common_neurons(run, relation, common_share)

    def work(part: Sequence[Edit | None]) -> dict[str, pd.DataFrame]:
        rows = [row for edit in part if edit for row in _rows(lm, edit, common, run.seed)]
        return {"does_it_help_editing": pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)}

    inputs = {"n_edits": n_edits, "common_share": common_share}
    return run.make("does_it_help_editing", relation, edits, work, inputs, lm, EDITS_PER_PART)


def common_neurons(run: Run, relation: str, common_share: float) -> frozenset[Neuron]:
    """Return the knowledge neurons that too many facts of the relation have."""
    every, uncommon = knowledge_neurons(run, relation, common_share)
    return frozenset(neuron_list(every)) - set(neuron_list(uncommon))


def _rows(lm: LanguageModel, edit: Edit, common: frozenset[Neuron], seed: int) -> list[dict]:
    """Return the rows of an edit: each rule, method and strength."""
    place = {"relation": edit.fact.relation, "fact": edit.fact.index, "half": edit.half}
    place |= {"old_object": edit.fact.object, "new_object": edit.new_object}
    edits = [*_edits(lm, edit, choose_neurons(lm, edit, common, seed))]
    before, *after = _answers(lm, edit, [{}, *(vectors for _, vectors in edits)])
    judged = [_judged(len(edit.judged_by), before, answers) for answers in after]
    return [place | described | outcome for (described, _), outcome in zip(edits, judged, strict=True)]


def _edits(lm: LanguageModel, edit: Edit, chosen: dict[str, list[Neuron]]) -> Iterator[tuple[dict, dict[Neuron, Tensor]]]:
    """Yield the columns that describe each rule, method and strength, and the new value vectors."""
    at_choice, at_judging = (activations_at(lm, prompts).mean(0) for prompts in (edit.chosen_on, edit.judged_by))
    for rule in RULES:
        changes = {method: value_changes(lm, edit, rule, neurons, at_choice) for method, neurons in chosen.items()}
        norms = {method: injected_norm(changes[method], at_choice, at_choice) for method in chosen}
        for method in (method for method, norm in norms.items() if norm):
            about = {"method": method, "rule": rule, "neuron_names": " ".join(neuron_name(*neuron) for neuron in chosen[method])}
            for strength in STRENGTHS:
                factor = strength * norms["attribution"] / norms[method]
                injected = factor * injected_norm(changes[method], at_choice, at_judging)
                described = about | {"strength": strength, "factor": factor, "injected": injected}
                yield described, edited_vectors(lm, changes[method], factor)


def value_changes(
    lm: LanguageModel, edit: Edit, rule: str, neurons: Sequence[Neuron], activation: Tensor
) -> dict[Neuron, Tensor]:
    """Return the change of each value vector by a rule, negated where the mean `activation` [layers, neurons] is negative."""
    old, new = (target_embedding(lm, prompts[0].target) for prompts in (edit.chosen_on, edit.judged_by))
    found = new_vectors(lm, neurons, lambda vector: RULES[rule](vector, old, new) - vector)
    return {neuron: change if activation[neuron] >= 0 else -change for neuron, change in found.items()}


def injected_norm(changes: Mapping[Neuron, Tensor], at_choice: Tensor, activation: Tensor) -> float:
    """Return the sum over neurons of mean activation times the length of the change; its sign is that of the activation `at_choice`.

    Both activations are [layers, neurons]. If they are the same, this is a sum of absolute values.
    """
    sizes = {neuron: float(activation[neuron] * at_choice[neuron].sign()) for neuron in changes}
    return sum(sizes[neuron] * float(change.norm()) for neuron, change in changes.items())


def edited_vectors(lm: LanguageModel, changes: Mapping[Neuron, Tensor], factor: float) -> dict[Neuron, Tensor]:
    """Return the value vectors with `factor` times these changes added to them."""
    vectors = new_vectors(lm, list(changes), torch.clone)
    return {neuron: vectors[neuron] + factor * change for neuron, change in changes.items()}


def _answers(lm: LanguageModel, edit: Edit, edits: Sequence[Mapping[Neuron, Tensor]]) -> list[Answers]:
    """Return the answers to all prompts that judge, the fact's first, with each edit; the token asked for is the new object's."""
    prompts = [*edit.judged_by, *edit.others]
    return edited_answers(lm, prompts, [(prompt.target,) for prompt in prompts], edits)


def _judged(templates: int, before: Answers, after: Answers) -> dict:
    """Return the outcomes of an edit; the first `templates` answers are to prompts of the fact, the others to those of other facts."""
    success = (after.rank[:, 0] == 1) & (before.rank[:, 0] > 1)
    change = (after.log_odds - before.log_odds)[:, 0]
    changed = after.top != before.top
    return {
        "templates": templates,
        "templates_success": success[:templates].sum(),
        "others": len(success) - templates,
        "others_success": success[templates:].sum(),
        "others_changed": changed[templates:].sum(),
        "log_odds_change": change[:templates].mean(),
        "others_log_odds_change": change[templates:].mean(),
    }
