"""What notebooks show: figures with captions and alternative texts, folded tables."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from kn_utils.plots.alternative import MAX_ROWS, alternative_text
from kn_utils.plots.markup import scope
from kn_utils.plots.panels import panels
from kn_utils.report import notebook
from kn_utils.report.notebook import folded, show, show_figure
from kn_utils.store.published import PublishedResults


@pytest.fixture
def figure():
    with panels("Change\nof 3 facts", 3, columns=2) as (figure, [left, right]):
        left.set(title="suppressed", xlabel="change (%)", yticks=[0, 1], yticklabels=["own", "other"])
        left.plot([1, 2], label="random neurons")
        right.plot([1, 2], label="the paper's value")
        right.set(title="amplified", xlabel="rank", ylabel="share")
        right.set_yticks([0, 1])
    yield figure
    plt.close("all")


def test_the_alternative_text_names_title_panels_scales_rows_and_legend(figure):
    assert alternative_text(figure) == (
        "Change of 3 facts. Panel suppressed: change (%); rows: own, other. Panel amplified: rank by share. "
        "Shown: random neurons, the paper's value"
    )


def test_the_alternative_text_is_short_where_there_are_many_rows():
    figure, axis = plt.subplots()
    axis.set(yticks=range(40), yticklabels=[f"row {number}" for number in range(40)])
    assert f"row {MAX_ROWS - 1}, and {40 - MAX_ROWS} more" in alternative_text(figure) and "row 39" not in alternative_text(
        figure
    )
    plt.close(figure)


def test_a_figure_is_shown_as_vectors_with_its_caption_below_and_closed(figure, monkeypatch):
    shown = []
    monkeypatch.setattr(notebook, "display", lambda item, metadata, raw=False: shown.append((item, metadata)))
    show_figure(figure, "See *this*.")
    (picture, described), (caption, of_caption) = shown
    assert picture["image/svg+xml"].lstrip().startswith("<?xml") and "image/png" not in picture
    assert described["figure"] == {"caption": "See *this*.", "alt": alternative_text(figure)}
    assert caption.data == "See *this*." and of_caption == {"caption": True}
    assert figure.number not in plt.get_fignums()


def test_a_folded_table_shows_its_title_as_text():
    html = folded("<b>P36</b>", show(pd.DataFrame({"x": [1]}))).data
    assert (
        html.startswith("<details><summary>&lt;b&gt;P36&lt;/b&gt;</summary>") and "<table" in html and html.endswith("</details>")
    )


def test_a_model_and_facts_of_one_name_are_told_apart():
    results = PublishedResults("starter", "starter")
    assert scope(results, ["P36"]) == "starter (model) on the starter facts, P36"
    assert scope(PublishedResults("smollm2-135m", "pararel"), ["P1"] * 5) == "smollm2-135m on pararel, 5 relations"
