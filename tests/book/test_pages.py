"""The README and the written pages: what they link to and name is there, and the README can be skimmed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import kn_utils
from kn_utils.parameters import PARAMETERS
from kn_utils.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "book").glob("*.md"))
CARDS = [ROOT / "data/README.md", ROOT / "data/starter/model/README.md"]
IN_REPOSITORY = r"`(?:python |pytest |--configfile )?((?:benchmarks|book|data|kn_utils|notebooks|profiles|tests)/[\w./-]+\.\w+)\b"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(text: str) -> list[str]:
    """The targets of Markdown links and images but for addresses of other hosts and places in the page itself."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|#", target)]


def in_repository(page: Path, target: str) -> Path:
    """Where a link points; written pages of the book lie beside the folder of executed notebooks, whose templates are one floor up."""
    path = target.partition("#")[0]
    return ROOT / path if page.parent.name == "book" and path.startswith("notebooks/") else page.parent / path


def test_the_readme_can_be_skimmed():
    lines = README.splitlines()
    assert len(lines) <= 80
    assert [line for line in lines if len(line) > 120] == []


def test_the_readme_leads_to_every_page_for_users():
    contents = yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8"))["contents"]
    (pages,) = (part["pages"] for part in contents if part["caption"] == "How to use it")
    assert {f"book/{page}.md" for page in pages} <= set(links(README))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES, *CARDS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_are_there(page):
    text = text_of(page)
    missing = [target for target in links(text) if not in_repository(page, target).exists()]
    named = re.findall(IN_REPOSITORY, text)
    assert missing + [path for path in named if not (ROOT / path).exists()] == []


def test_links_and_named_files_are_found_in_a_text():
    text = "see [a](book/a.md#top), ![b](b.png), [c](https://c.org), [d](#d); `tests/e.py`, `python benchmarks/f.py X`, `results/g.h`"
    assert links(text) == ["book/a.md#top", "b.png"]
    assert re.findall(IN_REPOSITORY, text) == ["tests/e.py", "benchmarks/f.py"]


def test_a_parameter_of_the_notebooks_is_on_the_page_on_running_them():
    running = text_of(ROOT / "book/running.md")
    assert [name for name in PARAMETERS if f"`{name}`" not in running] == []


def test_every_module_of_the_package_gets_a_page(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx.ext.autosummary.generate",
        "-o",
        str(tmp_path),
        "-t",
        "book/_templates",
        "book/api.md",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "kn_utils").rglob("*.py")}
    assert {page.stem for page in tmp_path.iterdir()} == {module.removesuffix(".__init__") for module in modules}
    assert ".. automodule:: kn_utils.data.facts\n" in (tmp_path / "kn_utils.data.facts.rst").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["cff-version"]) == (kn_utils.__version__, "1.2.0")


def test_links_from_notebooks_to_written_pages_lead_there():
    """A notebook's page lies in book/notebooks/."""
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for target in re.findall(r"\]\(([\w./-]+\.md)\)", notebook.read_text(encoding="utf-8")):
            assert target.startswith("../"), (notebook.name, target)
            assert (ROOT / "book/notebooks" / target).resolve().name in {path.name for path in (ROOT / "book").glob("*.md")}
