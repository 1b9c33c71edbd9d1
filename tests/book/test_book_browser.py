"""The built book in a browser: every page opens whole, from its own host alone, on a wide screen and on a phone."""

import functools
import http.server
import json
import os
import re
import threading
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
import yaml

from kn_utils.data.facts import load_dataset
from kn_utils.paths import ROOT

BOOK = Path(os.environ.get("KN_BOOK", ROOT / "book"))
HTML = BOOK / "_build/html"
PHONE = 390

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),  # each page is visited once
    pytest.mark.skipif(not (HTML / "index.html").is_file(), reason=f"there is no book in {HTML}: make book"),
]


def files_of(entries) -> list[str]:
    return [name for entry in entries for name in (entry["file"], *files_of(entry.get("sections", [])))]


def contents() -> list[str]:
    """All pages in the book's order, the opening page first; none if there is no book."""
    if not (BOOK / "_toc.yml").is_file():
        return []
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(name for part in toc["parts"] for name in files_of(part["chapters"]))]


PAGES = contents()
CHAPTER = "notebooks/01_attribution"
DESCRIBED = """images => images.map(image => ({
    alt: image.alt, caption: image.closest("figure")?.querySelector("figcaption")?.innerText ?? ""
}))"""
VISITOR = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
every_page = pytest.mark.parametrize("name", PAGES)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def host():
    handler = functools.partial(QuietHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def open_page(browser, host):
    """A function that opens a page of the book, as a new visitor or in a context; what goes wrong on the way is in its `problems`."""

    def open_page(path, context=None):
        page = context.new_page() if context else browser.new_page(**VISITOR)
        page.problems = []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("requestfailed", lambda request: page.problems.append(f"failed: {request.url}"))
        page.on("response", lambda answer: answer.status >= 400 and page.problems.append(f"{answer.status}: {answer.url}"))
        page.on("request", lambda request: elsewhere(request.url) and page.problems.append(f"another host: {request.url}"))
        page.goto(f"{host}/{path}", wait_until="networkidle")
        return page

    def elsewhere(url):
        return not url.startswith((f"{host}/", "data:", "blob:"))

    return open_page


@pytest.fixture(scope="module")
def look_at(open_page, browser):
    """A function that visits a page of the book once and returns what the tests ask about it; scripts are loaded once for all pages."""
    context = browser.new_context(**VISITOR)

    @functools.cache
    def look_at(name):
        page = open_page(f"{name}.html", context)
        page.eval_on_selector_all("img", "images => images.forEach(image => { image.loading = 'eager' })")
        page.wait_for_load_state("networkidle")
        seen = {
            "headings": page.locator("article h1").all_inner_texts(),
            "images": page.eval_on_selector_all("img", "images => images.map(image => [image.src, image.naturalWidth])"),
            "formulas": page.locator(".math").count() - page.locator(".math mjx-container").count(),
            "figures": page.eval_on_selector_all("article img", DESCRIBED),
            "headers": page.eval_on_selector_all(".cell_output th", "cells => cells.map(cell => cell.textContent.trim())"),
            "mathjax": page.evaluate("[...document.scripts].some(script => /mathjax/i.test(script.src))"),
            "math": page.locator(".math").count(),
            "links": page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"),
        }
        page.set_viewport_size({"width": PHONE, "height": 900})
        page.eval_on_selector_all("details", "folds => folds.forEach(fold => { fold.open = true })")
        seen["width"] = page.evaluate("document.documentElement.scrollWidth")
        seen["problems"] = page.problems
        page.close()
        return seen

    return look_at


@every_page
def test_a_page_opens_without_errors_and_asks_no_other_host(look_at, name):
    seen = look_at(name)
    assert len(seen["headings"]) == 1
    assert seen["problems"] == []


@every_page
def test_images_and_formulas_show(look_at, name):
    seen = look_at(name)
    assert [source for source, width in seen["images"] if width == 0] == []
    assert seen["formulas"] == 0


@every_page
def test_a_phone_never_scrolls_the_page_sideways(look_at, name):
    assert look_at(name)["width"] == PHONE


@every_page
def test_every_link_within_the_book_leads_somewhere(look_at, host, name):
    inside = {link for link in look_at(name)["links"] if link.startswith(host)}
    assert [link for link in sorted(inside) if not leads_somewhere(urlsplit(link))] == []


def leads_somewhere(link) -> bool:
    target = HTML / unquote(link.path).lstrip("/")
    if not target.is_file():
        return False
    if target.name == "explorer.html" and "/" in link.fragment:
        return unquote(link.fragment).partition("?")[0] in explorer_addresses()
    return target.suffix != ".html" or not link.fragment or unquote(link.fragment) in anchors(target)


@functools.cache
def anchors(page: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))


@functools.cache
def explorer_addresses() -> set[str]:
    """The addresses in the explorer: lists, facts and neurons of every published result."""
    addresses = set()
    for script in (HTML / "explorer/data").glob("*.*.js"):
        name, _, content = script.read_text(encoding="utf-8").partition(" = ")
        name, data = json.loads(name.removeprefix("explorerData[").removesuffix("]")), json.loads(content.rstrip("\n;"))
        addresses |= {f"{name}/facts", f"{name}/neurons"}
        addresses |= {f"{name}/{relation}/{fact}" for relation, fact, *_ in data["facts"]}
        addresses |= {f"{name}/L{layer + 1}.{index}" for layer, index, *_ in data["neurons"]}
    return addresses


def test_a_chapter_leads_to_a_neuron_in_the_explorer(open_page):
    page = open_page("notebooks/02_knowledge_neurons.html")
    link = page.locator("a[href*='explorer.html#']").first
    name = link.inner_text()
    link.click()
    page.get_by_role("heading", name=f"Neuron {name}").wait_for()


def test_the_opening_page_is_short_and_its_first_screen_is_the_answer(open_page):
    page = open_page("index.html")
    page.set_viewport_size({"width": 1400, "height": 900})
    rows = page.locator("table.verdicts tbody tr")
    rows.first.wait_for()
    assert rows.count() >= 5 and set(page.locator("table.verdicts td").evaluate_all("cells => cells.map(cell => cell.innerText)"))
    assert rows.last.bounding_box()["y"] < 900
    assert page.evaluate("document.documentElement.scrollHeight") <= 6000
    assert page.locator("#the-answer details.hide").count() == 0


def test_the_appendix_has_all_conditions_of_every_run(open_page):
    runs = open_page("index.html").locator("table.verdicts thead th").count() - 1
    assert open_page("notebooks/00_report_appendix.html").locator("#all-conditions details table").count() == runs


@every_page
def test_figures_have_numbers_captions_and_alternative_texts(look_at, name):
    figures = look_at(name)["figures"]
    assert [figure for figure in figures if not figure["alt"] or figure["alt"].startswith((".", "/", "_"))] == []
    if name.startswith("notebooks/"):
        assert [figure for figure in figures if not re.match(r"Fig. \d+ ..", figure["caption"])] == []


@every_page
def test_no_header_of_a_result_table_is_empty_and_formulas_load_where_there_are_any(look_at, name):
    seen = look_at(name)
    assert "" not in seen["headers"]
    assert seen["mathjax"] == bool(seen["math"])


def test_a_click_on_a_header_sorts_and_the_field_above_a_table_filters(open_page):
    table = open_page(f"{CHAPTER}.html").locator("#what-the-model-knows table.sortable").first

    def column():
        return [float(text) for text in table.locator("tbody tr td:nth-child(4)").all_inner_texts()]

    header = table.locator("thead th:nth-child(4)")
    header.locator("button").click()
    assert column() == sorted(column()) and header.get_attribute("aria-sort") == "ascending"
    header.locator("button").press("Enter")
    assert column() == sorted(column(), reverse=True) and header.get_attribute("aria-sort") == "descending"
    relation = table.locator("tbody td").first.inner_text()
    table.locator("xpath=preceding-sibling::input").fill(relation)
    shown = table.locator("tbody tr:visible td:first-child").all_inner_texts()
    assert 0 < len(shown) < len(column()) and set(shown) == {relation}


def test_print_has_no_handles_of_folds_and_cuts_no_table(open_page):
    page = open_page(f"{CHAPTER}.html")
    page.emulate_media(media="print")
    assert page.locator("details.hide:visible").count() == 0 and page.locator(".table-filter:visible").count() == 0
    wider = "tables => tables.filter(table => table.scrollWidth > table.closest('article').clientWidth + 1).length"
    assert page.locator("article .cell_output table").evaluate_all(wider) == 0


@pytest.mark.parametrize("words_of", [lambda relation: relation, load_dataset("starter").labels.get], ids=["id", "label"])
def test_search_finds_a_relation(open_page, words_of):
    words = words_of("P36")
    open_page(f"search.html?q={quote(words)}").locator("ul.search a[href^='notebooks/']").first.wait_for()


def test_code_is_folded_and_unfolds_by_a_click(open_page):
    fold = open_page(f"{CHAPTER}.html").locator("details.hide").first
    code, handle = fold.locator("pre").first, fold.locator("summary")
    assert not code.is_visible()
    handle.click()
    assert code.is_visible()
    handle.click()
    assert not code.is_visible()


def test_dark_mode_toggles(open_page):
    page = open_page(f"{CHAPTER}.html")
    switch, background = page.locator(".theme-switch-button:visible").first, "getComputedStyle(document.body).backgroundColor"
    seen = set()
    for _ in range(3):  # automatic, light and dark
        switch.click()
        seen.add((page.evaluate("document.documentElement.dataset.theme"), page.evaluate(background)))
    assert {theme for theme, _ in seen} == {"light", "dark"} and len({colour for _, colour in seen}) == 2
