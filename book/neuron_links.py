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
    """Let the names of neurons in a notebook's outputs link to the explorer, if our results of this model and data set have them.

    An output that names other models of which we have results on this data set, as a comparison does, may have their neurons too. So a name
    there is a link if only one of these results has the neuron.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in LEFT_ALONE.keys() & output.get("data", {}).keys():
                text = output.data[kind]
                others = [
                    name for name, of_facts in results() if of_facts == dataset and re.search(rf"\b{re.escape(name)}\b", text)
                ]
                output.data[kind] = linked(text, kind, {model, *others}, dataset)


def linked(text: str, kind: str, models: set[str], dataset: str) -> str:
    """Return HTML or Markdown with links, relative to a page in a folder of the book, from neurons that results of one of `models` have."""

    def link(found: re.Match) -> str:
        if found["layer"] is None:
            return found[0]
        neuron = int(found["layer"]) - 1, int(found["index"])
        having = [model for model in models if neuron in published_neurons(model, dataset)]
        if len(having) != 1:
            return found[0]
        return f'<a href="../explorer.html#{quote(f"{having[0]}/{dataset}/{found[0]}")}">{found[0]}</a>'

    return re.sub(f"{LEFT_ALONE[kind]}|{NAME}", link, text, flags=re.DOTALL)


@cache
def results() -> dict[tuple[str, str], PublishedResults]:
    """Return our published results by model and data set."""
    return {(found.model, found.dataset): found for found in published_results()}


@cache
def published_neurons(model: str, dataset: str) -> frozenset[Neuron]:
    """Return the knowledge neurons of our published results of a model on a data set; none if there are no such results."""
    found = results().get((model, dataset))
    table = found and found.read("knowledge_neurons", found.relations).query("method == 'attribution'")
    return frozenset(neuron_list(table)) if found else frozenset()
