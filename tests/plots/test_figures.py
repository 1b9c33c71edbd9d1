"""The figures' common style, their files, the paper's forms of them; and notebook 08 on a tiny model's tables."""

import re
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny_folders
from matplotlib.text import Text
from notebook_shell import run_here

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts import figures as distant_prompts
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.figures import figures as paper
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation import figures as modify_activation
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.chapters.query_results.figures import plot_scaling
from kn_utils.chapters.query_results.numbers import growth
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.sentences import KINDS, read_corpus
from kn_utils.paths import user_path
from kn_utils.plots import layers, style
from kn_utils.plots.bars import plot_bars
from kn_utils.plots.changes import MEAN, PROBABILITY
from kn_utils.plots.files import file_links, save_figure
from kn_utils.plots.panels import label_log_scale, panels, plain_number
from kn_utils.report.figures import SHOWN, plot_effects
from kn_utils.report.judge import Judged
from kn_utils.stats.layers import layer_intervals, layer_shares
from kn_utils.stats.rule import Claim, Condition, Reported
from kn_utils.store.runs import Run

PRINTED = 160 / 25.4  # inches: the text column of an A4 page
RELATIONS = ["P101", "P36"]
TEMPLATES = ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[X] is home to [Y].", "[X] is known for [Y] ."]
LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share


@pytest.fixture(autouse=True)
def styled():
    with plt.rc_context():
        style.use_style()
        yield
        plt.close("all")


@pytest.fixture
def neurons():
    """Two facts of P36 and one of P101, in a model of three layers, of which the second has none."""
    rows = [("P36", 0, 2), ("P36", 0, 2), ("P36", 1, 0), ("P101", 0, 2)]
    table = pd.DataFrame(rows, columns=["relation", "fact", "layer"]).assign(neuron=range(4))
    return pd.concat([table.assign(method="attribution"), table.assign(method="activation", layer=0)], ignore_index=True)


@pytest.fixture
def changes():
    """Changes with intervals, all different."""
    index = pd.MultiIndex.from_product(
        [["suppress", "amplify"], ["own", "other"], list(style.PALETTE), [*RELATIONS, MEAN]],
        names=["operation", "target", "method", "relation"],
    )
    values = np.arange(len(index)) - 17.5
    return pd.DataFrame({"change": values, "low": values - 1, "high": values + 1}, index=index).reset_index()


@pytest.fixture
def means():
    """Means of three facts by both methods for all kinds of sentences; no comparable word in the last."""
    rows = [("P36", 0, 5, 1, 2, 3), ("P36", 1, 4, 1, 1, 1), ("P101", 0, 1, 2, np.nan, 0)]
    table = pd.DataFrame(rows, columns=["relation", "fact", *KINDS])
    return pd.concat([table.assign(method=method) for method in ("attribution", "activation")], ignore_index=True)


@pytest.fixture
def activations(means):
    long = means.melt(["relation", "fact", "method"], list(KINDS), "kind").groupby(["method", "kind"])["value"]
    return long.agg(mean="mean", low="min", high="max", facts="count").reset_index()


@pytest.fixture
def measured():
    """Three turns of a measurement in which time is in proportion to facts, to the square of layers, and to 1 / workers."""
    points = [("facts", count, 4, 1, 0.5 * count) for count in (10, 100)]
    points += [("layers", 8, count, 1, count**2) for count in (2, 4, 8)]
    points += [("workers", 80, 4, count, 40) for count in (1, 2)]
    columns = ["axis", "facts", "layers", "workers", "gflop"]
    table = pd.DataFrame(points, columns=columns).assign(hidden=64, prompts=lambda rows: 3 * rows["facts"], loaded_mb=400.0)
    seconds = table["gflop"] / table["workers"] / 10
    turns = [table.assign(turn=turn, seconds=seconds * (1 + turn), peak_memory_mb=500.0 + turn) for turn in (0, 1, 2)]
    return pd.concat(turns, ignore_index=True)


@pytest.fixture
def figures(neurons, changes, means, activations, measured):
    names = {"P36": "capital", "P101": "field of work"}
    shares = layer_intervals(neurons, 3, seed=0)
    return [
        layers.plot_layer_intervals(shares, "neurons", "title"),
        layers.plot_layer_shares(shares, "neurons", "title"),
        paper.plot_changes(changes, "suppress", "title"),
        modify_activation.plot_changes(changes, PROBABILITY, "title"),
        modify_activation.plot_relations(changes, "amplify", PROBABILITY, names, "title"),
        paper.plot_activations(activations, "title"),
        distant_prompts.plot_activations(activations, "title"),
        distant_prompts.plot_differences(means, "title"),
        plot_scaling(measured, "title"),
    ]


def heights(figure) -> dict[str, list[float]]:
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[0].containers}


def test_letters_are_at_least_7_pt_in_a_printed_column(figures):
    for figure in figures:
        assert figure.get_figwidth() <= style.WIDTH
        shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert shown and min(text.get_fontsize() for text in shown) * PRINTED / figure.get_figwidth() >= 7


def test_methods_differ_without_colour():
    for looks in (style.MARKERS, style.LINES, style.HATCHES):
        assert list(looks) == list(style.PALETTE) == list(style.NAMES) and len(set(looks.values())) == len(looks)


def test_every_figure_has_its_title(figures):
    assert [figure.get_suptitle() for figure in figures] == ["title"] * len(figures)


def test_panels_share_a_title_and_a_legend_that_names_the_methods_in_one_order():
    with panels("title", 4, rows=2, columns=2, sharex=True) as (figure, axes):
        for number, label in enumerate(("something else", *reversed(style.NAMES.values()))):
            axes[number].plot([0, 1], label=label)
        axes[0].plot([1, 0], label="integrated gradients")  # named once
    assert figure.get_suptitle() == "title" and figure.get_size_inches().tolist() == [style.WIDTH, 4]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*style.NAMES.values(), "something else"]
    assert [axis.get_subplotspec().num1 for axis in axes] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "value, text",
    [(1, "1"), (0, "0"), (0.001, "0.001"), (50_000, "50,000"), (1e6, "10⁶"), (2e7, "2·10⁷"), (1e-8, "10⁻⁸"), (-1e6, "-10⁶")],
)
def test_numbers_on_scales_are_for_people(value, text):
    assert plain_number(value) == text


@pytest.mark.parametrize("largest, labels", [(100, {"1", "2", "5", "10", "20", "50", "100"}), (1e9, {"1", "100", "10⁶", "10⁸"})])
def test_a_logarithmic_scale_has_labels_however_long_it_is(largest, labels):
    with panels("title", 3) as (figure, [axis]):
        axis.plot([0, 1], [1, largest])
        axis.set_yscale("log")
        label_log_scale(axis.yaxis)
    figure.canvas.draw()
    low, high = axis.get_ylim()
    shown = {label.get_text() for label in axis.get_yticklabels() if low <= label.get_position()[1] <= high}
    assert labels <= shown, shown


def test_panels_without_labels_have_no_legend():
    with panels("title", 2) as (figure, [axis]):
        axis.plot([0, 1])
    assert not figure.legends


@pytest.mark.parametrize(
    "folder, address",
    [
        ("figures", "../figures/name.svg"),
        ("my/pictures", "../my/pictures/name.svg"),
        ("with space", "../with%20space/name.svg"),
        ("book/figures", "../figures/name.svg"),  # seen from the book's notebooks
        ("notebooks/../figures", "../figures/name.svg"),
        ("/elsewhere/pictures", "file:///elsewhere/pictures/name.svg"),
        ("~/pictures", "file:///home/me/pictures/name.svg"),
    ],
)
def test_links_to_figures_lead_to_where_they_are_saved(folder, address, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    saved = {"a figure": [user_path(folder) / "name.svg"]}
    assert file_links(saved).splitlines()[-1] == f"| a figure | [SVG]({address}) |"


def test_bars_stand_side_by_side_around_the_index():
    axis = plt.figure().subplots()
    plot_bars(axis, pd.DataFrame({"activation": [1, 2], "attribution": [3, 4]}, index=[5, 7]))
    ours, baseline = axis.containers
    assert ours.get_label() == style.NAMES["attribution"] and [bar.get_height() for bar in ours] == [3, 4]
    assert [bar.get_x() for bar in ours] == pytest.approx([4.6, 6.6]) and [bar.get_x() for bar in baseline] == [5, 7]
    assert {bar.get_hatch() for bar in baseline} == {style.HATCHES["activation"]}


def test_layer_shares_with_intervals(neurons):
    shares = layer_intervals(neurons, 3, seed=0)
    pd.testing.assert_frame_equal(shares[["method", "layer", "share"]], layer_shares(neurons, 3))
    ours = shares[shares["method"] == "attribution"].set_index("layer")
    assert ours["share"].tolist() == [25, 0, 75]
    # with two relations the interval is as wide as a share can be, and no wider
    assert ours.loc[1, ["low", "high"]].tolist() == [0, 100]
    figure = layers.plot_layer_shares(shares[shares["method"] == "attribution"], "neurons", "title")
    assert heights(figure) == {style.NAMES["attribution"]: [25, 0, 75]}


def test_shares_of_no_neurons_are_empty(neurons):
    shares = layer_intervals(neurons[neurons["method"] == "attribution"], 3, seed=0)
    assert shares.loc[shares["method"] == "activation", ["share", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("operation", ["suppress", "amplify"])
def test_bars_of_figures_4_and_5_are_the_changes(changes, operation):
    figure = paper.plot_changes(changes, operation, "title")
    own = changes.query("operation == @operation and target == 'own'").set_index(["method", "relation"])["change"]
    expected = {style.NAMES[method]: own[method][["P36", "P101"]].tolist() for method in ("attribution", "activation")}
    assert heights(figure) == expected
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["P36", "P101"]


def test_changes_by_relation_show_the_control_beside_if_there_is_one(changes):
    names = {"P36": "capital", "P101": "field of work"}
    own, other = modify_activation.plot_relations(changes, "suppress", PROBABILITY, names, "title").axes
    table = changes.query("operation == 'suppress' and method == 'random'").set_index(["target", "relation"])["change"]
    for axis, target in ((own, "own"), (other, "other")):
        [dots] = [line for line in axis.lines if line.get_label() == style.NAMES["random"]]
        assert list(dots.get_xdata()) == table[target][RELATIONS].tolist()
    assert [label.get_text() for label in own.get_yticklabels()] == ["field of work (P101)", "capital (P36)"]
    alone = changes[changes["target"] == "own"]
    assert len(modify_activation.plot_relations(alone, "suppress", PROBABILITY, names, "title").axes) == 1


def test_bars_of_web_sentences_are_the_means(activations):
    figure = paper.plot_activations(activations, "title")
    assert heights(figure) == {style.NAMES["attribution"]: pytest.approx([10 / 3, 4 / 3, 4 / 3])}
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        style.KIND_NAMES[kind] for kind in ("head_and_tail", "head_only", "random")
    ]


def test_differences_are_head_and_tail_minus_the_other_kind(means):
    ours, _ = distant_prompts.plot_differences(means, "title").axes
    medians = [line.get_xdata() for line in ours.lines if line.get_color() == "white"]
    assert [list(values) for values in medians] == [[3, 3], [3, 3], [2, 2]]  # of 4, 3, -1; of 3, 3; of 2, 3, 1
    assert ours.yaxis_inverted()


def test_growth_is_of_the_medians_and_its_orders_are_powers(measured):
    table = growth(measured).set_index(["axis", "facts", "layers"])
    seconds = [1, 10, 0.8, 3.2, 12.8, 8, 4]  # the middle turn took twice the first's time
    assert table["seconds"].tolist() == pytest.approx(seconds)
    assert table["ms_per_prompt"].iloc[0] == pytest.approx(1000 / 30) and table["gflop_per_second"].tolist() == pytest.approx(
        [5] * 6 + [10]
    )
    assert table.loc["facts", "order"].tolist() == pytest.approx([np.nan, 1], nan_ok=True)
    assert table.loc["layers", "order_of_work"].tolist() == pytest.approx([np.nan, 2, 2], nan_ok=True)
    for order in ("order", "order_of_work"):
        assert table.loc["workers", order].tolist() == pytest.approx([np.nan, -1], nan_ok=True)


def test_the_figure_of_the_scaling_shows_medians_all_turns_and_the_counted_work(measured):
    figure = plot_scaling(measured, "title")
    facts, layers = figure.axes[0], figure.axes[1]
    drawn = {line.get_label(): list(line.get_ydata()) for line in layers.lines}
    assert drawn["measured"] == pytest.approx([0.8, 3.2, 12.8]) and drawn["work, counted"] == pytest.approx([0.8, 3.2, 12.8])
    bars = np.array([bar[:, 1] for bar in layers.collections[0].get_segments()])
    assert bars == pytest.approx(np.array([[0.4, 1.2], [1.6, 4.8], [6.4, 19.2]]))
    assert [label.get_text() for label in figure.axes[3].get_xticklabels()] == ["10", "100"]
    assert facts.get_xscale() == facts.get_yscale() == "log"
    assert [list(line.get_ydata()) for line in figure.axes[2].lines if line.get_label() == "work, counted"] == [[8, 4]]


def test_two_saves_give_the_same_bytes(changes, tmp_path):
    saved = [save_figure(paper.plot_changes(changes, "suppress", "title"), tmp_path / place, "name") for place in "ab"]
    assert [path.name for path in saved[0]] == ["name.svg", "name.pdf", "name.png"]
    assert [path.read_bytes() for path in saved[0]] == [path.read_bytes() for path in saved[1]]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["name.pdf", "name.png", "name.svg"]


def test_files_fit_for_print(changes, tmp_path):
    svg, pdf, png = save_figure(paper.plot_changes(changes, "suppress", "title"), tmp_path, "name")
    assert b"/FontFile2" in pdf.read_bytes() and b"/Type3" not in pdf.read_bytes()
    assert "<text" not in svg.read_text(encoding="utf-8")
    picture = plt.imread(png)
    assert abs(picture.shape[1] / 300 - style.WIDTH) < 0.3
    assert (picture[0, 0] == 1).all()  # white and opaque, also on a dark page


def test_a_save_that_fails_leaves_the_old_file(changes, tmp_path, monkeypatch):
    figure = paper.plot_changes(changes, "suppress", "title")
    old = [path.read_bytes() for path in save_figure(figure, tmp_path, "name")]

    def full(partial, **_):
        partial.write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        save_figure(figure, tmp_path, "name")
    assert [
        path.read_bytes() for path in sorted(tmp_path.glob("name.*"), key=lambda path: "svg pdf png".find(path.suffix[1:]))
    ] == old


@pytest.fixture(scope="module")
def parameters(loaded, folder_of, tmp_path_factory):
    """The parameters of a run of a tiny BERT through steps 1 to 4."""
    folder = tmp_path_factory.mktemp("figures")
    data = tiny_folders.write_data(folder / "tiny", templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES))
    dataset = load_dataset(tiny_folders.write_sentences(data))
    lm, run = loaded("bert"), Run(loaded("bert").name, dataset, results_dir=folder / "results")
    for relation in RELATIONS:
        attribute_relation(lm, run, relation, Quadrature())
        find_neurons(run, relation, LOW)
        modify_activations(lm, run, relation)
        read_sentences(lm, run, relation, read_corpus(dataset))
    common = {"relation": "P36,P101", "model": str(folder_of("bert")), "dataset": str(data)}
    return common | {"results_dir": str(folder / "results")}


def test_the_notebook_saves_and_links_every_figure_it_shows(parameters, few_resamples, tmp_path):
    outputs, figures = run_here("08_figures", **parameters, figures_dir=str(tmp_path))
    links = re.findall(r"\((file://[^)]+)\)", outputs[-1]["text/markdown"])
    assert len(links) == 3 * figures == 27
    assert sorted(links) == sorted(path.as_uri() for path in tmp_path.iterdir())


def test_without_web_sentences_the_notebook_says_so_and_saves_the_other_figures(parameters, few_resamples, tmp_path):
    shutil.copytree(parameters["results_dir"], tmp_path / "results", ignore=shutil.ignore_patterns("distant_prompts"))
    given = parameters | {"results_dir": str(tmp_path / "results"), "figures_dir": str(tmp_path / "figures")}
    outputs, figures = run_here("08_figures", **given)
    assert any("notebook 04 has not been run" in output.get("text/markdown", "") for output in outputs)
    assert len(list((tmp_path / "figures").iterdir())) == 3 * figures == 18


def test_an_effect_beyond_the_axis_is_an_arrow_at_its_end():
    def judged(value):
        claim = Condition("more", value, value - 1, value + 1, above=0, paper=Reported(2.0, True))
        return Judged(Claim("9", "it grows"), [claim])

    runs = {name: [judged(value)] for name, value in {"small": 1.0, "large": 900.0, "opposite": -900.0}.items()}
    axis = plot_effects(runs, "Effects").axes[0]
    low, high = axis.get_xlim()
    assert -300 < low < SHOWN[0] and SHOWN[1] < high < 700
    points = [line for line in axis.lines if line.get_marker() != "None" and len(line.get_xdata()) == 1]
    drawn = {
        fill: [(point.get_marker(), *point.get_xdata()) for point in points if point.get_fillstyle() == fill]
        for fill in ("full", "none")
    }
    assert drawn["full"] == [("o", 50), (">", SHOWN[1]), ("<", SHOWN[0])]
    assert drawn["none"] == [(">", SHOWN[1])] * 2 + [("<", SHOWN[0])] * 2  # both ends of the intervals
