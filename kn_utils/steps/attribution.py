"""Step 1 as tables: attribute the prompts of a relation's facts and keep what later steps and readers need."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from torch import Tensor

from kn_utils.attribution import KEPT_SHARE, Attribution, Method, integrated_gradients
from kn_utils.facts import Dataset, Fact
from kn_utils.models import LanguageModel
from kn_utils.prompts import LeftOut, Prompt, encode, group_by_length, stack
from kn_utils.results import Shard, compute_in_parts
from kn_utils.runs import Run

SIDE_TABLES = ("facts", "prompts", "completeness")


def attribute_relation(lm: LanguageModel, run: Run, relation: str, method: Method, shard: Shard | None = None) -> Path:
    """Make the tables `attribution`, `facts`, `prompts` and `completeness` of a relation and return the first one's path.

    `attribution` holds, per prompt, the neurons whose integrated gradient ("attribution") or activation ("activation", the paper's
    baseline) is at least a tenth of the prompt's largest; `facts` which facts were asked or left out, and why; `prompts` what the
    model answered; `completeness` the quadrature's size, gap and error per layer. A `shard` prepares its share of the facts, and no table.
    """
    main = run.path("attribution", relation)
    facts, drawn = run.facts(relation, lm), run.dataset.draw(relation, run.n_facts, run.seed)
    inputs = run.inputs("attribution", relation, lm) | {"kept_share": KEPT_SHARE} | method.inputs()
    if instead := [fact.index for fact in facts[len(drawn) :]]:
        inputs["drawn_instead"] = instead
    compute_in_parts(main, SIDE_TABLES, inputs, facts, partial(attributed, lm, run.dataset, method), shard=shard)
    return main


def attributed(lm: LanguageModel, dataset: Dataset, method: Method, facts: Sequence[Fact]) -> dict[str, pd.DataFrame]:
    """Return the rows of all tables of step 1 for some facts, by table."""
    encoded = encode(lm, dataset, facts)
    prompts = [prompt for prompt in encoded if isinstance(prompt, Prompt)]
    rows: list[dict[str, pd.DataFrame]] = [{} for _ in prompts]
    for group in group_by_length(prompts, lambda length: method.prompts_at_once(lm, length)):
        found = integrated_gradients(lm, stack([prompts[index] for index in group], lm.device), method)
        for place, index in enumerate(group):
            rows[index] = _prompt_rows(lm, prompts[index], found, place)
    tables = {name: pd.concat([_EMPTY[name], *(row[name] for row in rows)], ignore_index=True) for name in _EMPTY}
    return tables | {"facts": _fact_rows(facts, encoded)}


def _fact_rows(facts: Sequence[Fact], encoded: list[Prompt | LeftOut]) -> pd.DataFrame:
    rows = []
    for fact in facts:
        own = [item for item in encoded if item.fact == fact]
        asked = sum(isinstance(item, Prompt) for item in own)
        reason = "" if asked else next(item.reason for item in own)
        rows.append((fact.relation, fact.index, fact.subject, fact.object, asked, len(own) - asked, reason))
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


_EMPTY = {name: _frame([], _PLACE | columns) for name, columns in _COLUMNS.items()}


def _prompt_rows(lm: LanguageModel, prompt: Prompt, found: Attribution, place: int) -> dict[str, pd.DataFrame]:
    top = int(found.top_token[place])
    tokens = [lm.tokenizer.decode([token]).strip() for token in (prompt.target, top)]
    answer = {
        "text": prompt.text,
        "target": tokens[0],
        "probability": float(found.probability[place]),
        "top_answer": tokens[1],
        "correct": top == prompt.target,
    }
    quadrature = {"layer": range(lm.n_layers)} | {name: getattr(found, name)[place].numpy() for name in ("nodes", "gap", "error")}
    scores = [_kept(method, values[place]) for method, values in (("attribution", found.score), ("activation", found.activation))]
    where = {"relation": prompt.fact.relation, "fact": prompt.fact.index, "prompt": prompt.index}
    tables = {"prompts": pd.DataFrame([answer]), "completeness": pd.DataFrame(quadrature), "attribution": pd.concat(scores)}
    return {name: table.assign(**where)[list(_EMPTY[name])].astype(_EMPTY[name].dtypes) for name, table in tables.items()}


def _kept(method: str, values: Tensor) -> pd.DataFrame:
    """The neurons of one prompt whose value is at least a tenth of its largest; none if the largest is not positive."""
    largest = values.max()
    layer, neuron = ((values >= KEPT_SHARE * largest) & (largest > 0)).nonzero(as_tuple=True)
    return pd.DataFrame(
        {"method": method, "layer": layer.numpy(), "neuron": neuron.numpy(), "score": values[layer, neuron].numpy()}
    )
