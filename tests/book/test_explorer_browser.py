"""The explorer in a browser, opened as a file: type, click, follow links, go back, on a wide screen and on a phone."""

import re
import shutil

import pandas as pd
import pytest

from kn_utils.paths import ROOT
from kn_utils.report import explorer
from kn_utils.store.published import PublishedResults

RESULTS = [PublishedResults("starter", "starter"), PublishedResults("smollm2-135m", "pararel")]
START = "#starter/starter/facts"
WIDE, PHONE = 1400, 390

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page's address: the raw part of book/explorer.md with its files and the data of two published results."""
    folder = tmp_path_factory.mktemp("a book")  # with a blank
    shutil.copytree(ROOT / "book/_extra/explorer", folder / "explorer", ignore=shutil.ignore_patterns("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explorer, "published_results", lambda: RESULTS)
        explorer.write_explorer(folder / "explorer/data")
    (raw,) = re.findall(r"```\{raw\} html\n(.*?)```", (ROOT / "book/explorer.md").read_text(encoding="utf-8"), re.DOTALL)
    html = f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Explorer</title><h1 id="top">Explorer</h1>{raw}</html>'
    (folder / "explorer.html").write_text(html, encoding="utf-8")
    return (folder / "explorer.html").as_uri()


@pytest.fixture(params=[WIDE, PHONE])
def page(request, browser, address):
    """The explorer at its start; errors and requests for anything but its own files fail the test."""
    page, problems = browser.new_page(viewport={"width": request.param, "height": 900}), []
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    folder = address.rpartition("/")[0]
    page.on("request", lambda asked: asked.url.startswith(f"{folder}/") or problems.append(asked.url))
    page.goto(f"{address}{START}")
    page.locator("caption").wait_for()
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") == request.param
    assert problems == []
    page.close()


def place(page) -> str:
    return page.evaluate("decodeURIComponent(location.hash)")


def column(page, number: int) -> list[str]:
    return page.locator(f"tbody tr td:nth-child({number})").all_inner_texts()


def test_typing_finds_a_fact_and_links_lead_to_its_neurons_and_back(page):
    entries = page.evaluate("history.length")
    page.get_by_label("Search").press_sequentially("norway capital oslo")
    assert page.evaluate("history.length") == entries  # typing replaces the list's address
    page.get_by_role("link", name="Norway", exact=True).click()
    page.get_by_role("heading", name="Norway · capital · Oslo").wait_for()
    assert re.fullmatch(r"#starter/starter/P36/\d+", place(page))
    assert page.evaluate("document.activeElement.tagName") == "H2"
    neuron = page.locator("tbody a").first
    name = neuron.inner_text()
    neuron.click()
    page.get_by_role("heading", name=f"Neuron {name}").wait_for()
    assert place(page) == f"#starter/starter/{name}"
    page.go_back()
    page.get_by_role("heading", name="Norway · capital · Oslo").wait_for()
    page.go_back()
    page.get_by_text("1 of 1,512 facts").wait_for()
    assert page.get_by_label("Search").input_value() == "norway capital oslo"


@pytest.mark.parametrize("place, name", [((4, 377), "L5.377"), ((4, 37), "l5.37")])  # the second one begins as the first
def test_the_name_of_a_neuron_finds_the_facts_that_have_it(page, place, name):
    results = RESULTS[0]
    found = results.read("knowledge_neurons", results.relations).query("method == 'attribution'")
    having = found[(found["layer"] == place[0]) & (found["neuron"] == place[1])]
    page.get_by_label("Search").fill(name)
    page.get_by_text(f"{len(having):,} of 1,512 facts").wait_for()


def test_the_keyboard_alone_opens_what_is_found_first(page):
    page.get_by_label("Search").focus()
    page.keyboard.type("l5.377")
    page.get_by_text("Go to neuron").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Neuron L5.377").wait_for()
    page.keyboard.press("Tab")  # from the heading on
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Neuron L5.377").wait_for(state="detached")


def test_an_address_opens_a_fact_of_another_model(page, address):
    page.goto(f"{address}#smollm2-135m/pararel/P37/3")
    page.get_by_role("heading", name="Alta Verapaz Department · official language · Spanish").wait_for()
    assert page.get_by_label("Model and facts").input_value() == "smollm2-135m/pararel"
    assert "Spanish ✓" in page.locator("tbody").inner_text()


def test_a_neuron_without_words_says_why(page, address):
    page.goto(f"{address}#smollm2-135m/pararel/L1.223")
    page.get_by_text("the weights of smollm2-135m are not in this repository").wait_for()


def test_the_switch_of_model_and_facts_keeps_what_is_searched(page):
    page.get_by_label("Search").fill("paris")
    page.get_by_label("Model and facts").select_option("smollm2-135m/pararel")
    page.get_by_text(f"of {len(RESULTS[1].read('facts', RESULTS[1].relations)):,} facts").wait_for()
    assert place(page) == "#smollm2-135m/pararel/facts?find=paris"
    assert all("paris" in row.lower() for row in page.locator("tbody tr").all_inner_texts())


def test_a_relation_and_neurons_are_chosen_by_controls(page):
    page.get_by_label("Relation").select_option("P36")
    capitals = len(RESULTS[0].read("facts", ["P36"]))
    page.get_by_text(f"{capitals} of 1,512 facts").wait_for()
    page.get_by_label("neurons", exact=True).check()
    page.get_by_text(re.compile(r"of 964 neurons")).wait_for()
    assert place(page) == "#starter/starter/neurons?relation=P36"
    facts = [int(number) for number in column(page, 2)]
    assert facts == sorted(facts, reverse=True)


def test_a_click_on_a_header_sorts_and_a_second_one_the_other_way(page):
    header = page.get_by_role("button", name="before %")
    header.click()
    assert page.evaluate("document.activeElement.textContent") == "before %"
    down = [float(number) for number in column(page, 4)]
    assert down == sorted(down, reverse=True) and len(down) == 50
    header.click()
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("before %")
    page.get_by_role("button", name="Show more of 1,512").click()
    assert page.locator("tbody tr").count() == 250


def test_what_is_not_published_is_said(page, address):
    page.goto(f"{address}#starter/starter/L9.9")
    page.get_by_text("Nothing is published as L9.9").wait_for()
    page.get_by_role("link", name="all its facts").click()
    page.get_by_text("1,512 of 1,512 facts").wait_for()


@pytest.mark.parametrize(
    "hash", ["#top", "#nothing/like/this", "#%E0%A4%A/b", "#starter", "#starter/starter", "#starter/starter/facts?find=%"]
)
def test_other_addresses_show_the_list(page, address, hash):
    page.goto("about:blank")
    page.goto(f"{address}{hash}")
    page.locator(".kn-view :is(caption, [role=alert])").wait_for()


def test_case_and_accents_do_not_matter(page):
    page.get_by_label("Search").fill("dvorak COMPOSER")
    page.get_by_text(re.compile(r"^[1-9]\d* of 1,512 facts")).wait_for()
    assert "Antonín Dvořák" in page.locator("tbody").inner_text()


def test_print_has_the_facts_and_no_controls(page):
    page.emulate_media(media="print")
    assert not page.get_by_label("Search").is_visible() and page.locator("tbody tr").first.is_visible()


def test_a_neuron_and_a_fact_show_what_is_published(page, address):
    tables = ROOT / "data/published/results/starter/starter"
    neurons = pd.read_parquet(tables / "knowledge_neurons.parquet").query("method == 'attribution'")
    own = neurons[(neurons["layer"] == 4) & (neurons["neuron"] == 377)]
    page.goto(f"{address}#starter/starter/L5.377")
    having = len(neurons.drop_duplicates(["relation", "fact"]))
    page.get_by_text(
        f"A knowledge neuron of {len(own)} of the {having:,} facts that have any, in {own['relation'].nunique()} of"
    ).wait_for()
    first = own.iloc[0]
    page.goto(f"{address}#starter/starter/{first['relation']}/{first['fact']}")
    page.get_by_role("heading", name="Prompts").wait_for()
    of_fact = neurons[(neurons["relation"] == first["relation"]) & (neurons["fact"] == first["fact"])]
    named = page.locator("table").first.locator("tbody a").all_inner_texts()
    assert sorted(named) == sorted(
        f"L{layer + 1}.{index}" for layer, index in zip(of_fact["layer"], of_fact["neuron"], strict=True)
    )
    prompts = pd.read_parquet(tables / "prompts.parquet")
    prompts = prompts[(prompts["relation"] == first["relation"]) & (prompts["fact"] == first["fact"])].sort_values("prompt")
    shown = [cell.split()[0] for cell in page.locator("table").last.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert [float(cell) for cell in shown] == pytest.approx((100 * prompts["probability"]).tolist(), rel=0.05, abs=5e-5)
    assert page.locator("table").last.locator("tbody td:first-child").all_inner_texts() == prompts["text"].tolist()
