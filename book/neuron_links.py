"""Links from the names of neurons in a page's results to the explorer."""

import re
from functools import cache
from urllib.parse import quote

from nbformat import NotebookNode

from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.store.published import PublishedResults, published_results

NAME = r"\bL(?P<layer>[1-9]\d*)\.(?P<index>0|[1-9]\d*)\b"  # as `neuron_name` makes it
LEFT_ALONE = {  # by MIME type: what is a link already, is no text, or is shown as it is
    "text/html": r"<(a|code|pre|script|style|svg)\b.*?</\1>|<[^>]*>",
    "text/markdown": r"<(a|code)\b.*?</\1>|<[^>]*>|(`+).*?\2|\[[^\]]*\]\([^)]*\)",
}


def link_neurons(notebook: NotebookNode, model: str, dataset: str) -> None:
    """Let the names of neurons in a notebook's outputs link to the explorer, if our results of this model have them.

    The results on the notebook's data set come first, then those on others. An output that names other models of which we have results, as
    a comparison does, may have their neurons too: a name there is a link if only one of these models has the neuron.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in LEFT_ALONE.keys() & output.get("data", {}).keys():
                text = output.data[kind]
                others = {results.model for results in published_results() if re.search(rf"\b{re.escape(results.model)}\b", text)}
                output.data[kind] = linked(text, kind, {model, *others}, dataset)


def linked(text: str, kind: str, models: set[str], dataset: str) -> str:
    """Return HTML or Markdown with links, relative to a page in a folder of the book, from neurons that only one of `models` has."""

    def link(found: re.Match) -> str:
        if found["layer"] is None:
            return found[0]
        neuron = int(found["layer"]) - 1, int(found["index"])
        having = [name for model in models if (name := _result_with(neuron, model, dataset))]
        if len(having) != 1:
            return found[0]
        return f'<a href="../explorer.html#{quote(f"{having[0]}/{found[0]}")}">{found[0]}</a>'

    return re.sub(f"{LEFT_ALONE[kind]}|{NAME}", link, text, flags=re.DOTALL)


def _result_with(neuron: Neuron, model: str, dataset: str) -> str:
    """Return the name of a model's published result that has a neuron, "" if none has it."""
    names = [name for name, neurons in published_neurons().items() if name.split("/")[0] == model and neuron in neurons]
    return min(names, key=lambda name: (name.split("/")[1] != dataset, name), default="")


@cache
def published_neurons() -> dict[str, frozenset[Neuron]]:
    """Return the knowledge neurons of each of our published results, by its name in the explorer."""
    return {f"{results.model}/{results.dataset}": _neurons(results) for results in published_results()}


def _neurons(results: PublishedResults) -> frozenset[Neuron]:
    table = results.read("knowledge_neurons", results.relations)
    return frozenset(neuron_list(table[table["method"] == "attribution"]))
