"""The digest of sources: code that can change values changes it, comments and pages do not; and which commit a table was made at."""

import subprocess
from pathlib import Path

import pytest

from kn_utils.paths import ROOT
from kn_utils.steps import STEPS
from kn_utils.store import provenance

MODULES = {
    "kn_utils/chapters/first/table.py": "from kn_utils.model.used import work\n\n\ndef make():\n    return work()\n",
    "kn_utils/chapters/first/figures.py": "from kn_utils.chapters.first.table import make\n",
    "kn_utils/model/used.py": "def work():\n    from kn_utils.model import deep\n\n    return deep.VALUE\n",
    "kn_utils/model/deep.py": '"""A docstring."""\n\nfrom kn_utils import paths\n\nVALUE = 1\n',
    "kn_utils/paths.py": "ROOT = 1\n",
    "kn_utils/model/unused.py": "VALUE = 2\n",
}

NOT_USED = ["kn_utils/model/unused.py", "kn_utils/chapters/first/figures.py", "kn_utils/paths.py"]


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """A function that writes one of `MODULES` anew, if one is given, and returns the digest of the step `first`."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def digest(name="", text=""):
        if name:
            (tmp_path / name).write_text(text)
        for cached in (provenance.sources_digest, provenance.imported_modules, provenance.direct_imports, provenance._tree):
            cached.cache_clear()
        return provenance.sources_digest("kn_utils.chapters.first.table")

    yield digest
    digest()


@pytest.mark.parametrize("name", [name for name in MODULES if name not in NOT_USED])
def test_code_that_a_step_uses_changes_its_digest(digest, name):
    before = digest()
    assert digest(name, MODULES[name] + "\n\nOTHER = 3\n") != before
    assert digest(name, MODULES[name]) == before


@pytest.mark.parametrize("name", NOT_USED)
def test_a_figure_a_path_or_what_a_step_does_not_use_changes_nothing(digest, name):
    before = digest()
    assert digest(name, MODULES[name] + "\n\nOTHER = 3\n") == before


def test_comments_docstrings_and_formatting_change_nothing(digest):
    before = digest()
    text = '"""Another docstring."""\n# a comment\ndef make():\n    """Make it."""\n    return (\n        work()\n    )\n'
    assert digest("kn_utils/chapters/first/table.py", "from kn_utils.model.used import work\n" + text) == before
    assert digest("kn_utils/model/deep.py", "from kn_utils import paths\nVALUE = (1)  # the same\n") == before
    assert digest("kn_utils/model/deep.py", "from kn_utils import paths\nVALUE = 1.0\n") != before


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_steps_values_depend_on_the_floors_below_and_on_its_own_room_alone(step):
    modules = provenance.imported_modules(f"kn_utils.chapters.{step.name}.table")
    assert {"kn_utils.store.results", "kn_utils.store.runs", "kn_utils.data.facts", "kn_utils.model.prompts"} <= modules
    rooms = {name for name in modules if ".chapters." in name}
    assert all(name.startswith(f"kn_utils.chapters.{step.name}.") for name in rooms)
    assert not [name for name in modules if name.split(".")[1] in ("report", "plots") or name.endswith((".figures", ".claims"))]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository in the place of this one, and a function that runs git in it."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    provenance.commit.cache_clear()

    def git(*arguments):
        who = ["-c", "user.name=A", "-c", "user.email=a@b.org"]
        done = subprocess.run(["git", *who, "-C", str(tmp_path), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    yield git
    provenance.commit.cache_clear()


def commit_now():
    provenance.commit.cache_clear()
    return provenance.commit()


def test_the_commit_says_whether_files_differ_from_it(repository, tmp_path):
    assert commit_now() == ""
    repository("init", "--quiet")
    (tmp_path / "code.py").write_text("A = 1\n")
    repository("add", ".")
    repository("commit", "--quiet", "-m", "first")
    head = repository("rev-parse", "HEAD")
    assert commit_now() == head and len(head) == 40
    published = tmp_path / "data/published/results/table.parquet"
    published.parent.mkdir(parents=True)
    published.write_text("rows")
    assert commit_now() == head
    (tmp_path / "code.py").write_text("A = 2\n")
    assert commit_now() == head + provenance.CHANGED
    repository("checkout", "--quiet", "code.py")
    (tmp_path / "my_facts.json").write_text("{}")
    assert commit_now() == head
    (tmp_path / "kn_utils").mkdir()
    (tmp_path / "kn_utils/new.py").write_text("B = 1\n")
    assert commit_now() == head + provenance.CHANGED


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_now() == ""


def test_all_modules_are_found_where_they_are():
    assert provenance.ROOT == ROOT and Path(provenance._path("kn_utils.store.provenance")).is_file()
