"""Worker processes: the same tables whatever their number, errors that come back, and nothing left running after a kill."""

import os
import signal
import subprocess
import sys
import time

import joblib
import known_facts
import pandas as pd
import psutil
import pytest
import tiny_folders
import torch
from part_work import NumberedRows

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts import table as distant_prompts
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.does_it_help_editing import table as does_it_help_editing
from kn_utils.chapters.does_it_help_editing.table import compare_edits
from kn_utils.chapters.edit_facts.table import edit_facts
from kn_utils.chapters.erase_relation.table import erase_relation
from kn_utils.chapters.fact_or_word.table import swap_neurons
from kn_utils.chapters.how_few.table import shrink_sets
from kn_utils.chapters.how_much_passes.table import exchange_states
from kn_utils.chapters.is_it_knowledge.table import compare_knowledge
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation import table as modify_activation
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.chapters.which_score.table import compare_scores
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.model.sentences import read_corpus
from kn_utils.paths import ROOT
from kn_utils.steps import STEPS
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.results import FACTS_PER_PART, compute_in_parts
from kn_utils.store.runs import Run
from kn_utils.store.workers import default_workers, one_thread, run_all

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)
FACTS = list(range(6 * FACTS_PER_PART + 1))


def compute(folder, work, workers):
    compute_in_parts([folder / "attribution" / "P1.parquet"], {"seed": 1}, FACTS, work, workers=workers)
    return read_table(folder / "attribution" / "P1.parquet")


def test_tables_do_not_depend_on_the_number_of_workers(tmp_path):
    tables = {n: compute(tmp_path / str(n), NumberedRows(tmp_path / f"seen{n}"), n) for n in (1, 2, 3)}
    processes = {n: set((tmp_path / f"seen{n}").read_text().split()) for n in tables}
    assert processes[1] == {str(os.getpid())} and str(os.getpid()) not in processes[2] | processes[3]
    for table in tables.values():
        pd.testing.assert_frame_equal(table, tables[1], check_exact=True)


@pytest.mark.endurance
def test_workers_stay_for_the_next_table_though_they_keep_much_memory(tmp_path):
    """loky would end a worker that has grown by 300 MB."""
    for number in range(3):
        compute(tmp_path / str(number), NumberedRows(tmp_path / "seen", pause=0.4, megabytes=400), 2)
    assert len(set((tmp_path / "seen").read_text().split())) == 2


def test_an_error_in_a_worker_comes_back_whole_and_finished_parts_stay(tmp_path):
    fails_at = 3 * FACTS_PER_PART
    with pytest.raises(ArithmeticError, match=f"^fact {fails_at} cannot be computed$") as raised:
        compute(tmp_path, NumberedRows(tmp_path / "seen", fails_at=fails_at), 2)
    assert "part_work.py" in str(raised.value.__cause__)  # the worker's traceback
    before = len((tmp_path / "seen").read_text().split())
    compute(tmp_path, NumberedRows(tmp_path / "seen"), 2)
    assert len((tmp_path / "seen").read_text().split()) < before + 7


def test_one_thread_inside_and_as_many_as_before_afterwards():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == before
    assert list(run_all(lambda: None, [(), ()], 1)) == [0, 1]


def test_the_default_is_a_worker_for_each_core_that_may_be_used(monkeypatch):
    assert default_workers(torch.device("cpu")) == joblib.cpu_count()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert default_workers(torch.device("cpu")) == 1
    assert default_workers(torch.device("cuda")) == default_workers(None) == 1


KILLED = """
import signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from part_work import NumberedRows
from kn_utils.store.results import compute_in_parts
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
folder = Path(sys.argv[1])
work = NumberedRows(folder / "seen", pause=60.0)
compute_in_parts([folder / "attribution" / "P1.parquet"], {"seed": 1}, list(range(100)), work, workers=2)
"""


@pytest.mark.parametrize(
    "sent",
    [signal.SIGINT, *(pytest.param(sent, marks=pytest.mark.endurance) for sent in (signal.SIGKILL, signal.SIGTERM))],
    ids=lambda sent: sent.name,
)
def test_a_kill_leaves_nothing_running(tmp_path, sent):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers = wait_for(
        lambda: (tmp_path / "seen").is_file() and len(set((tmp_path / "seen").read_text().split())) == 2 and children(running)
    )
    running.send_signal(sent)
    running.wait(120)
    wait_for(lambda: not [process for process in workers if process.is_running() and process.status() != psutil.STATUS_ZOMBIE])


def children(running):
    return psutil.Process(running.pid).children(recursive=True)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


def test_a_loaded_model_is_sent_as_its_files_and_attributes_the_same(folder_of, tmp_path):
    lm = load_model(folder_of("bert"), "cpu")
    data = load_dataset(tiny_folders.write_data(tmp_path / "tiny", {"P36": tiny_folders.many_facts(20)}))
    tables = {}
    for workers in (1, 2):
        run = Run(lm.name, data, results_dir=tmp_path / str(workers), workers=workers)
        path = attribute_relation(lm, run, "P36")
        assert read_provenance(path)["threads"] == 1
        tables[workers] = read_table(path)
    pd.testing.assert_frame_equal(tables[1], tables[2], check_exact=True)


def all_steps(folder, data, results_dir, workers):
    """Every step that works in parts, of P36, with small parts; its tables by name."""
    lm = load_model(folder, "cpu")
    run = Run(lm.name, load_dataset(data), 10, results_dir=results_dir, workers=workers)
    attribute_relation(lm, run, "P36")
    find_neurons(run, "P36", LOW)
    modify_activations(lm, run, "P36")
    read_sentences(lm, run, "P36", read_corpus(run.dataset))
    edit_facts(lm, run, "P36", common_share=0.9)
    erase_relation(lm, run, "P36", other_facts=1)
    compare_knowledge(lm, run, "P36", n_chosen=2)
    swap_neurons(lm, run, "P36", n_chosen=4)
    compare_scores(lm, run, "P36", n_prompts=3, min_probability=0, max_probability=1)
    exchange_states(lm, run, "P36", n_pairs=3)
    compare_edits(lm, run, "P36", n_edits=2, common_share=0.9)
    shrink_sets(lm, run, "P36", n_chosen=3)
    return {table: run.read(table, ["P36"]) for step in STEPS for table in step.tables if run.path(table, "P36").is_file()}


def test_every_step_gives_the_same_tables_in_workers(tmp_path, monkeypatch):
    for module in (distant_prompts, modify_activation):
        monkeypatch.setattr(module, "FACTS_PER_PART", 4)
    monkeypatch.setattr(does_it_help_editing, "EDITS_PER_PART", 1)
    lm = known_facts.trained("bert")
    for part in (lm.model, lm.tokenizer):
        part.save_pretrained(tmp_path / "model")
    data = tiny_folders.write_data(tmp_path / "known", known_facts.FACTS, known_facts.TEMPLATES)
    tiny_folders.write_sentences(data, known_facts.FACTS)
    one, two = (all_steps(tmp_path / "model", data, tmp_path / str(workers), workers) for workers in (1, 2))
    assert len(one["edit_facts"]) and one.keys() == two.keys() >= {"distant_prompts", "erase_dose", "score_sets"}
    for table, rows in one.items():
        pd.testing.assert_frame_equal(two[table], rows, check_exact=True)


def test_a_model_whose_files_have_changed_is_not_taken_for_the_one_that_was_loaded(tmp_path):
    folder = tiny_folders.write_model(tmp_path / "model", "bert")
    rebuild, arguments = load_model(folder, "cpu").__reduce__()
    tiny_folders.write_model(tmp_path / "other", "bert", seed=1).rename(tmp_path / "gone")
    (tmp_path / "gone" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(ValueError, match="are not those in its files"):
        rebuild(*arguments)
