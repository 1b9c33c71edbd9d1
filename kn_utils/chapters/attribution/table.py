"""Step 1: attribution scores of all prompts of a relation, as tables."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.attribution import Attribution, Quadrature, integrated_gradients
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, encode, group_by_length, stack
from kn_utils.parameters import KEPT_SHARE
from kn_utils.store.runs import Run


def attribute_relation(lm: LanguageModel, run: Run, relation: str, quadrature: Quadrature = Quadrature()) -> Path:
    """Make the tables `attribution`, `facts`, `prompts` and `completeness` of a relation, and return the path of the first.

    * `attribution`: the neurons of each prompt with at least a tenth of the prompt's largest score. The method "attribution" is integrated
      gradients; "activation" is the paper's baseline.
    * `facts`: the number of prompts of each fact, and why it has none.
    * `prompts`: the answers of the model.
    * `completeness`: number of nodes, completeness gap and estimated error for each prompt and layer.
    """
    facts, sampled = run.facts(relation, lm), run.dataset.draw(relation, run.n_facts, run.seed)
    inputs = {"kept_share": KEPT_SHARE} | quadrature.inputs()
    if replacements := [fact.index for fact in facts[len(sampled) :]]:
        inputs["drawn_instead"] = replacements
    return run.make("attribution", relation, facts, partial(attributed, lm, run.dataset, quadrature), inputs, lm)


def attributed(lm: LanguageModel, dataset: Dataset, quadrature: Quadrature, facts: Sequence[Fact]) -> dict[str, pd.DataFrame]:
    """Return the rows of all tables of step 1 for some facts, by name of the table."""
    encoded = encode(lm, dataset, facts)
    prompts = [prompt for prompt in encoded if isinstance(prompt, Prompt)]
    rows: list[dict[str, dict]] = [{} for _ in prompts]
    for group in group_by_length(prompts, lambda length: quadrature.prompts_at_once(lm, length)):
        found = integrated_gradients(lm, stack([prompts[index] for index in group], lm.device), quadrature)
        for place, index in enumerate(group):
            rows[index] = _prompt_rows(lm, prompts[index], found, place)
    tables = {name: _joined(columns, [row[name] for row in rows]) for name, columns in _COLUMNS.items()}
    return tables | {"facts": _fact_rows(facts, encoded)}


def _fact_rows(facts: Sequence[Fact], encoded: list[Prompt | LeftOut]) -> pd.DataFrame:
    rows = []
    for fact in facts:
        of_fact = [item for item in encoded if item.fact == fact]
        prompts = sum(isinstance(item, Prompt) for item in of_fact)
        reason = "" if prompts else next(item.reason for item in of_fact)
        rows.append((fact.relation, fact.index, fact.subject, fact.object, prompts, len(of_fact) - prompts, reason))
    return _frame(rows, _FACT_COLUMNS)


_FACT_COLUMNS = {"relation": str, "fact": "int32", "subject": str, "object": str}
_FACT_COLUMNS |= {"prompts": "int32", "prompts_left_out": "int32", "left_out_because": str}
_PLACE = {"relation": str, "fact": "int32", "prompt": "int32"}
_COLUMNS = {
    "prompts": {"text": str, "target": str, "probability": "float64", "top_answer": str, "correct": bool},
    "completeness": {"layer": "int32", "nodes": "int32", "gap": "float64", "error": "float64"},
    "attribution": {"method": str, "layer": "int32", "neuron": "int32", "score": "float32"},
}


def _frame(rows: list[tuple], columns: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _joined(columns: dict, rows: list[dict]) -> pd.DataFrame:
    """Return the table with the rows of all prompts; one frame for each prompt would take a twelfth of the time of this step."""
    empty = _frame([], _PLACE | columns)
    return pd.DataFrame({
        name: np.concatenate([empty[name].to_numpy(), *(row[name] for row in rows)]) for name in empty
    }).astype(empty.dtypes)  # fmt: skip


def _prompt_rows(lm: LanguageModel, prompt: Prompt, found: Attribution, place: int) -> dict[str, dict]:
    """Return the columns of a prompt's rows in each table."""
    top = int(found.top_token[place])
    target, answer = lm.words([prompt.target, top])
    prompts = {
        "text": [prompt.text],
        "target": [target],
        "probability": [float(found.probability[place])],
        "top_answer": [answer],
        "correct": [top == prompt.target],
    }
    completeness = {"layer": np.arange(lm.n_layers)} | {
        name: getattr(found, name)[place].numpy() for name in ("nodes", "gap", "error")
    }
    attribution = _kept({"attribution": found.score[place], "activation": found.activation[place]})
    tables = {"prompts": prompts, "completeness": completeness, "attribution": attribution}
    where = {"relation": prompt.fact.relation, "fact": prompt.fact.index, "prompt": prompt.index}
    return {
        name: {column: [value] * len(next(iter(columns.values()))) for column, value in where.items()} | columns
        for name, columns in tables.items()
    }


def _kept(by_method: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the neurons of a prompt with at least a tenth of a method's largest value; none if the largest is not positive."""
    kept = [(values >= KEPT_SHARE * values.max()) & (values.max() > 0) for values in by_method.values()]
    method, layer, neuron = torch.stack(kept).nonzero(as_tuple=True)
    score = torch.stack(list(by_method.values()))[method, layer, neuron]
    names = np.array(list(by_method), dtype=object)[method.numpy()]
    return {"method": names, "layer": layer.numpy(), "neuron": neuron.numpy(), "score": score.numpy()}
