"""Facts in other forms than ParaRel's: CSV, CounterFact, LAMA and mParaRel, each from a sample of a few lines."""

import json

import pytest

from kn_utils.data.facts import Fact, load_dataset
from kn_utils.paths import result_name


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def pairs(dataset):
    return {name: [(fact.subject, fact.object) for fact in facts] for name, facts in dataset.facts.items()}


def test_a_table_of_one_relation_and_its_templates(tmp_path):
    table = write(tmp_path / "capital.csv", 'subject,object\nNorway,Oslo\n"Korea, South",Seoul\n')
    write(tmp_path / "capital.txt", "The capital of [X] is [Y].\n\n [Y] is the capital of [X]. \n")
    dataset = load_dataset(str(table))
    assert dataset.facts == {"capital": [Fact("capital", 0, "Norway", "Oslo"), Fact("capital", 1, "Korea, South", "Seoul")]}
    assert dataset.templates == {"capital": ["The capital of [X] is [Y].", "[Y] is the capital of [X]."]}
    assert dataset.labels == {"capital": "capital"}
    assert dataset.name == result_name(table) and dataset.name.startswith("capital.csv-")
    with pytest.raises(FileNotFoundError, match="capital.csv has no web sentences"):
        dataset.web_sentences("capital")


def test_a_table_of_several_relations_with_a_mark_at_its_start_and_columns_in_any_order(tmp_path):
    table = write(
        tmp_path / "facts.csv", "\ufeffobject,relation,subject\r\nOslo,P36,Norway\r\nEurope,P30,Norway\r\nLima,P36,Peru\r\n"
    )
    write(tmp_path / "P36.txt", "[X] has the capital [Y].")
    write(tmp_path / "P30.txt", "\ufeff[X] lies in [Y].")
    dataset = load_dataset(table)
    assert pairs(dataset) == {"P36": [("Norway", "Oslo"), ("Peru", "Lima")], "P30": [("Norway", "Europe")]}
    assert dataset.templates == {"P36": ["[X] has the capital [Y]."], "P30": ["[X] lies in [Y]."]}


def record(relation, prompt, subject, answer):
    rewrite = {
        "relation_id": relation,
        "prompt": prompt,
        "subject": subject,
        "target_true": {"str": answer},
        "target_new": {"str": "x"},
    }
    return {"case_id": 0, "requested_rewrite": rewrite, "paraphrase_prompts": ["..."]}


def test_counterfact(tmp_path):
    records = [
        record("P103", "The mother tongue of {} is", "Ibsen", "Norwegian"),
        record("P36", "{}, whose capital is ", "Peru", "Lima"),
        record("P103", "{} grew up with", "Neruda", "Spanish"),
        record("P103", "The mother tongue of {} is", "Proust", "French"),
    ]
    dataset = load_dataset(write(tmp_path / "counterfact.json", json.dumps(records)))
    assert pairs(dataset) == {
        "P103": [("Ibsen", "Norwegian"), ("Neruda", "Spanish"), ("Proust", "French")],
        "P36": [("Peru", "Lima")],
    }
    assert dataset.templates == {
        "P103": ["The mother tongue of [X] is [Y].", "[X] grew up with [Y]."],
        "P36": ["[X], whose capital is [Y]."],
    }


def test_lama(tmp_path):
    write(tmp_path / "relations.jsonl", lines({"relation": "P36", "template": "The capital of [X] is [Y] .", "label": "capital"}))
    write(tmp_path / "TREx/P36.jsonl", lines({"uuid": "1", "sub_label": "Norway", "obj_label": "Oslo", "evidences": []}))
    write(tmp_path / "TREx/P37.jsonl", lines({"sub_label": "Norway", "obj_label": "Norwegian"}))  # without a template
    dataset = load_dataset(tmp_path / "TREx")
    assert (pairs(dataset), dataset.labels) == ({"P36": [("Norway", "Oslo")]}, {"P36": "capital"})
    assert dataset.templates == {"P36": ["The capital of [X] is [Y] ."]}


def test_a_language_of_mpararel(tmp_path):
    write(tmp_path / "tuples/de/P36.jsonl", lines({"sub_label": "Norwegen", "obj_label": "Oslo", "lineid": 3}))
    write(tmp_path / "patterns/de/P36.jsonl", lines({"pattern": "[X] hat die Hauptstadt [Y]"}, {"pattern": "[Y] in [X]"}))
    write(tmp_path / "patterns/fr/P36.jsonl", lines({"pattern": "[X] a pour capitale [Y]"}))
    dataset = load_dataset(tmp_path / "tuples/de")
    assert pairs(dataset) == {"P36": [("Norwegen", "Oslo")]}
    assert dataset.templates == {"P36": ["[X] hat die Hauptstadt [Y]", "[Y] in [X]"]}


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("P36.csv", "", "the first line must be subject,object or relation,subject,object; it is ''"),
        ("P36.csv", "subject;object\nNorway;Oslo\n", "it is 'subject;object'"),
        ("P36.csv", "subject,object\n", "P36.csv has no facts"),
        ("P36.csv", "subject,object\nNorway\n", r"fact 0 of P36 is \['Norway', None\]"),
        ("P36.csv", "subject,object\nNorway, \n", r"fact 0 of P36 is \['Norway', ' '\]"),
        ("P36.csv", "subject,object\nKorea, South,Seoul\n", r"fact 0 of P36 is \['Korea', ' South', 'Seoul'\]"),
        ("P36.csv", 'subject,object\n"Norway,Oslo\n', "P36.csv, line 2: unexpected end of data"),
        ("P36.csv", "subject,object\nMálaga,Spain\n".encode("latin-1"), "P36.csv is not UTF-8 text"),
        ("P36.csv", "relation,subject,object\n../P,Norway,Oslo\n", "relation '../P' must be 1 to 40 letters"),
        ("cf.json", '[{"requested_rewrite": {}}]', 'cf.json, record 0: must hold {"requested_rewrite"'),
        ("cf.json", json.dumps([record("P36", "no place", "Peru", "Lima")]), "cf.json, record 0: must hold"),
        ("cf.json", json.dumps([record("P36", "{} has", "Peru", 7)]), "cf.json, record 0: must hold"),
        ("cf.json", '[{"requested_rewrite"', "cf.json is not JSON"),
    ],
)
def test_what_cannot_be_read_is_one_error(tmp_path, name, text, says):
    write(tmp_path / "P36.txt", "[X] has [Y].")
    with pytest.raises(ValueError, match=says):
        load_dataset(write(tmp_path / name, text))


def test_missing_templates(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*capital.txt: it must hold the relation's templates, one a line"):
        load_dataset(write(tmp_path / "capital.csv", "subject,object\nNorway,Oslo\n"))
    write(tmp_path / "tuples/de/P36.jsonl", lines({"sub_label": "Norwegen", "obj_label": "Oslo"}))
    with pytest.raises(
        FileNotFoundError, match=r"tuples/de has no templates: looked for .*relations.jsonl and for .*patterns/de/"
    ):
        load_dataset(tmp_path / "tuples/de")
