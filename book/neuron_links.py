"""Links from the names of neurons in a page's results to the explorer."""

import re
from functools import cache
from urllib.parse import quote

from nbformat import NotebookNode

from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.store.published import published_results

NAME = r"\bL(?P<layer>[1-9]\d*)\.(?P<index>0|[1-9]\d*)\b"  # as `neuron_name` makes it
LEFT_ALONE = {  # by MIME type: what is a link already, is no text, or is shown as it is
    "text/html": r"<(a|code|pre|script|style|svg)\b.*?</\1>|<[^>]*>",
    "text/markdown": r"<(a|code)\b.*?</\1>|<[^>]*>|(`+).*?\2|\[[^\]]*\]\([^)]*\)",
}


def link_neurons(notebook: NotebookNode, model: str, dataset: str) -> None:
    """Let the names of neurons in a notebook's outputs link to the explorer, if our results of this model and data set have them."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in LEFT_ALONE.keys() & output.get("data", {}).keys():
                output.data[kind] = linked(output.data[kind], kind, model, dataset)


def linked(text: str, kind: str, model: str, dataset: str) -> str:
    """Return HTML or Markdown in which names of published neurons are links, relative to a page in a folder of the book."""
    address = f"../explorer.html#{quote(f'{model}/{dataset}')}"

    def link(found: re.Match) -> str:
        if found["layer"] is None:
            return found[0]
        is_published = (int(found["layer"]) - 1, int(found["index"])) in published_neurons(model, dataset)
        return f'<a href="{address}/{found[0]}">{found[0]}</a>' if is_published else found[0]

    return re.sub(f"{LEFT_ALONE[kind]}|{NAME}", link, text, flags=re.DOTALL)


@cache
def published_neurons(model: str, dataset: str) -> frozenset[Neuron]:
    """Return the knowledge neurons of our published results of a model on a data set; none if there are no such results."""
    results = [found for found in published_results() if (found.model, found.dataset) == (model, dataset)]
    neurons = [found.read("knowledge_neurons", found.relations).query("method == 'attribution'") for found in results]
    return frozenset(neuron for table in neurons for neuron in neuron_list(table))
