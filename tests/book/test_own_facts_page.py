"""What the book's page on your own model and facts shows is run here as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from notebook_shell import run_here

from kn_utils.chapters.edit_facts.plans import chosen_edit
from kn_utils.chapters.edit_facts.table import show_edit
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.paths import ROOT
from kn_utils.store.runs import Run

PAGE = (ROOT / "book/own_model_and_facts.md").read_text(encoding="utf-8")
FILES = re.findall(r"```\{code-block\} json\n:caption: (\S+)\n\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```\{code-block\} bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ARCHITECTURES = (ROOT / "book/architectures.md").read_text(encoding="utf-8")
PYTHON = re.search(r"```\{code-block\} python\n(.*?)```", PAGE, re.DOTALL).group(1)


@pytest.fixture
def folder(tmp_path):
    """A folder with the page's files, and the notebooks where its commands expect them."""
    for name, content in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    return tmp_path


def test_the_page_shows_a_data_set_that_all_steps_can_use(folder):
    data = load_dataset(folder / "my_capitals")
    assert data.relations == ["capital"]
    assert len(data.facts["capital"]) >= 20 and len(data.templates["capital"]) >= 4


def sample(caption: str) -> list[str]:
    """The lines of a block of the page."""
    return (
        re.search(rf"```\{{code-block\}} \w+\n:caption: {re.escape(caption)}\n\n(.*?)```", PAGE, re.DOTALL).group(1).splitlines()
    )


def write_lines(folder: Path, name: str, *lines: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines), encoding="utf-8")


def test_facts_in_other_forms_are_read_as_the_page_shows_them(tmp_path):
    write_lines(tmp_path, "capital.csv", *sample("capital.csv"))
    write_lines(tmp_path, "capital.txt", "The capital of [X] is [Y].")
    write_lines(tmp_path, "counterfact.json", *sample("counterfact.json"))
    fact, relation = sample("LAMA/TREx/P36.jsonl and LAMA/relations.jsonl")
    write_lines(tmp_path, "LAMA/TREx/P36.jsonl", fact)
    write_lines(tmp_path, "LAMA/relations.jsonl", relation)
    fact, template = sample("mpararel/tuples/de/P36.jsonl and mpararel/patterns/de/P36.jsonl")
    write_lines(tmp_path, "mpararel/tuples/de/P36.jsonl", fact)
    write_lines(tmp_path, "mpararel/patterns/de/P36.jsonl", template)
    found = [load_dataset(tmp_path / name) for name in ("capital.csv", "counterfact.json", "LAMA/TREx", "mpararel/tuples/de")]
    facts = [[(fact.subject, fact.object) for name in dataset.facts for fact in dataset.facts[name]] for dataset in found]
    assert facts == [
        [("Norway", "Oslo"), ("Korea, South", "Seoul")],
        [("Norway", "Oslo")],
        [("Norway", "Oslo")],
        [("Norwegen", "Oslo")],
    ]
    assert found[1].templates == {"P36": ["The capital of [X] is [Y]."]}
    assert found[3].templates == {"P36": ["[X] hat die Hauptstadt [Y]."]}


def run_command(folder, command, **parameters):
    """Run a command of the page as it is printed, with some parameters more."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    given = {"results_dir": folder / "results"} | parameters  # not into this repository
    aside = ["--kernel", "python3", *(word for name, value in given.items() for word in ("-p", name, str(value)))]
    done = subprocess.run([*command.split(), *aside], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_run_on_few_of_the_facts(folder, monkeypatch, few_resamples, nothing_published):
    """The first as it is printed, the others in this process."""
    first, *others = COMMANDS
    few = {"n_facts": 6, "seed": 9}  # among them Portugal
    run_command(folder, first, **few)
    monkeypatch.chdir(folder)
    for command in others:
        papermill, notebook, _, *words = command.split()
        assert papermill == "papermill" and words[::3] == ["-p"] * (len(words) // 3)
        given = (
            few | {"results_dir": str(folder / "results"), "common_share": 0.5} | dict(zip(words[1::3], words[2::3], strict=True))
        )
        shown, _ = run_here(Path(notebook).stem, **given)
    assert "**Portugal**, capital: Lisbon → **Rome**" in "\n".join(data.get("text/markdown", "") for data in shown)


@pytest.mark.long
def test_the_commands_run_as_they_are_shown_and_the_edit_does_what_the_page_says(folder):
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        run_command(folder, command)
    results = folder / "results"
    assert "**Portugal**, capital: Lisbon → **Rome**" in markdown_of(folder / "own_06.ipynb")
    code = PYTHON.replace('"results"', repr(str(results)))
    shown = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert re.search(r"capital +9 +attribution", shown)

    lm, run = load_model("starter", "cpu"), Run("starter", load_dataset(folder / "my_capitals"), results_dir=results)
    prompts, others = show_edit(lm, run, chosen_edit(lm, run, ["capital"], "Portugal", "Rome"))
    assert prompts["answer_after"].tolist() == ["rome"] * 5 and "rome" not in prompts["answer_before"].tolist()
    assert len(others) == 23 and not others["changed"].any()


def markdown_of(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(output.get("data", {}).get("text/markdown", "") for cell in cells for output in cell.get("outputs", []))


def test_the_example_of_another_architecture_prints_what_its_page_says(capsys):
    code, printed = re.search(r"```python\n(.*?)```\n\nIt prints `([^`]*)`", ARCHITECTURES, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == f"{printed}\n"
