"""Fixtures shared by the tests: tiny models in folders of their own, loaded once, and the data set that fits them.

Fixtures import what they need: the process that hands tests to the others reads this file too, before these start.
"""

import os
import shutil
import subprocess
from functools import cache

# here, and in all that tests start: there is a test process for each core
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}

import pytest


def pytest_collection_modifyitems(items):
    """Slow tests first, so that no process is left alone with one; skip those on the paper's data where there is no copy of it."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("slow", "endurance"))))
    for item in items if "KN_DATA_DIR" not in os.environ else ():
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason="KN_DATA_DIR does not name a copy of the paper's data"))


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """A function from a model type to the folder of its tiny model, written once."""
    import tiny_folders

    written = {}

    def folder_of(model_type):
        if model_type not in written:
            written[model_type] = tiny_folders.write_model(tmp_path_factory.mktemp("models") / f"tiny-{model_type}", model_type)
        return written[model_type]

    return folder_of


@pytest.fixture(scope="session")
def loaded(folder_of):
    """A function from a model type to its tiny model, loaded once."""
    from kn_utils.model.models import load_model

    models = {}

    def loaded(model_type):
        if model_type not in models:
            models[model_type] = load_model(folder_of(model_type), device="cpu")
        return models[model_type]

    return loaded


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The data folder that fits the tiny models."""
    import tiny_folders

    return tiny_folders.write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def tiny_dataset(tiny_data):
    from kn_utils.data.facts import load_dataset

    return load_dataset(tiny_data)


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a disk of a given size, or mounts it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        what = ["remount," + options] if folder.is_mount() else [options, "-t", "tmpfs", "tmpfs"]
        done = subprocess.run(["mount", "-o", *what, str(folder)], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.partition(chr(10))[0]}")
        return folder

    if not shutil.which("mount"):
        pytest.skip("a small disk cannot be mounted here: no mount command")
    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@cache
def _judged_from_few():
    from kn_utils.report import side_by_side

    return cache(side_by_side._judged_published.__wrapped__)


@pytest.fixture
def few_resamples(monkeypatch):
    """Intervals are made from few resamples; verdicts with such intervals are kept for tests with this fixture alone."""
    judged = _judged_from_few()
    monkeypatch.setattr("kn_utils.stats.intervals.RESAMPLES", 99)
    monkeypatch.setattr("kn_utils.report.side_by_side._judged_published", judged)


@pytest.fixture
def nothing_published(monkeypatch):
    """Chapters show the run's own verdicts only, whose claims need not be tested on all that is published."""
    monkeypatch.setattr("kn_utils.report.side_by_side.published_results", list)
