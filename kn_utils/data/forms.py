"""Facts in other forms than ParaRel's: CSV, CounterFact, and the tuple files of LAMA and mParaRel. One reader for each form."""

import csv
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from kn_utils.data.reading import check_relation, is_text, parse, read_lines, read_text


class Content(NamedTuple):
    """What a file of facts holds: [subject, object] rows, templates and the name of each relation, all by its id."""

    rows: dict[str, list]
    templates: dict[str, list[str]]
    labels: dict[str, str]


def read_form(path: Path) -> Content | None:
    """Return the facts at a path if they are in one of these forms; None if they are not. Raises ValueError if they are malformed.

    A CSV file and CounterFact's JSON file are known by their names and by what they hold, tuple files by their keys.
    """
    if path.suffix == ".csv" and path.is_file():
        return read_csv(path)
    if path.suffix == ".json" and path.is_file() and '"requested_rewrite"' in read_text(path):
        return read_counterfact(path)
    if path.is_dir() and any('"sub_label"' in read_text(file) for file in sorted(path.glob("*.jsonl"))[:1]):
        return read_tuples(path)
    return None


def read_csv(path: Path) -> Content:
    """Read a table with the columns subject, object and, if there are several relations, relation.

    The templates of a relation are the lines of `<relation>.txt` beside the table. Without the column, the relation is the table's name.
    """
    reader = csv.DictReader(StringIO(read_text(path), newline=""), restkey="more", strict=True)
    head = reader.fieldnames or []
    if sorted(head) not in (["object", "subject"], ["object", "relation", "subject"]):
        raise ValueError(f"{path}: the first line must be subject,object or relation,subject,object; it is {','.join(head)!r}")
    rows: dict[str, list] = {}
    try:
        for row in reader:
            name = row["relation"] if "relation" in head else path.stem
            rows.setdefault((name or "").strip(), []).append([row["subject"], row["object"], *row.get("more", [])])
    except csv.Error as reason:
        raise ValueError(f"{path}, line {reader.reader.line_num}: {reason}") from None
    for name in rows:
        check_relation(name, path)
    return Content(rows, {name: _text_lines(path.with_name(f"{name}.txt")) for name in rows}, {})


def read_counterfact(path: Path) -> Content:
    """Read CounterFact (Meng et al., NeurIPS 2022): the true facts of its records.

    The templates of a relation are all prompts of its records, each with the object and a full stop behind it.
    """
    records = parse(read_text(path), str(path))
    rows: dict[str, list] = {}
    templates: dict[str, dict[str, None]] = {}
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        try:
            given = record["requested_rewrite"]
            relation, prompt, subject, answer = (
                given["relation_id"],
                given["prompt"],
                given["subject"],
                given["target_true"]["str"],
            )
        except (KeyError, TypeError):
            relation = prompt = subject = answer = None
        if not all(map(is_text, (relation, prompt, subject, answer))) or prompt.count("{}") != 1:
            raise ValueError(
                f'{path}, record {number}: must hold {{"requested_rewrite": {{"relation_id", "prompt" with {{}}, "subject", '
                '"target_true": {"str"}}}'
            )
        rows.setdefault(relation, []).append([subject, answer])
        templates.setdefault(relation, {})[f"{prompt.replace('{}', '[X]').rstrip()} [Y]."] = None
    return Content(rows, {relation: list(found) for relation, found in templates.items()}, {})


def read_tuples(folder: Path) -> Content:
    """Read a folder of tuple files, `<relation>.jsonl` with sub_label and obj_label: LAMA's TREx, or a language of mParaRel.

    Templates are in LAMA's `relations.jsonl` beside the folder, or in mParaRel's folder `patterns/<language>` beside `tuples/<language>`.
    Relations without templates are not read.
    """
    lama, patterns = folder.parent / "relations.jsonl", folder.parent.parent / "patterns" / folder.name
    labels: dict[str, str] = {}
    if lama.is_file():
        relations = read_lines(lama, ("relation", "template", "label"))
        templates = {row["relation"]: [row["template"]] for row in relations}
        labels = {row["relation"]: row["label"] for row in relations}
    else:
        found = sorted(patterns.glob("*.jsonl"))
        templates = {file.stem: [row["pattern"] for row in read_lines(file, ("pattern",))] for file in found}
    files = [file for file in sorted(folder.glob("*.jsonl")) if file.stem in templates]
    if not files:
        raise FileNotFoundError(f"data set {folder} has no templates: looked for {lama} and for {patterns}/<relation>.jsonl")
    rows = {
        file.stem: [[row["sub_label"], row["obj_label"]] for row in read_lines(file, ("sub_label", "obj_label"))]
        for file in files
    }
    return Content(rows, {name: templates[name] for name in rows}, labels)


def _text_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: it must hold the relation's templates, one a line, with [X] and [Y]")
    return [line for line in read_text(path).splitlines() if line.strip()]
