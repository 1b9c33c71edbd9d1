"""Files of facts as text and as JSON; each that cannot be read is one error that names the file."""

import json
import re
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file. Raises ValueError for another encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
    except UnicodeDecodeError as reason:
        raise ValueError(f"{path} is not UTF-8 text: {reason}") from None


def parse(text: str, where: str) -> object:
    """Return the value of a JSON text. Raises ValueError if it is none, or gives a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_distinct_keys)
    except KeyError as twice:
        raise ValueError(f"{where} gives the key {twice.args[0]!r} twice: join the two, or remove one") from None
    except (ValueError, RecursionError) as reason:
        raise ValueError(f"{where} is not JSON: {reason}") from None


def read_lines(path: Path, keys: tuple[str, ...]) -> list[dict]:
    """Return the objects of a JSON Lines file. Raises ValueError for a line without a text for each of `keys`."""
    rows = []
    lines = read_text(path).split("\n")  # not splitlines: U+2028 is allowed inside a JSON string
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = parse(line, f"{path}, line {number}")
            if not isinstance(row, dict) or not all(is_text(row.get(key)) for key in keys):
                raise ValueError(f"{path}, line {number}: must be a JSON object with the texts {', '.join(keys)}")
            rows.append(row)
    return rows


def check_relation(relation: str, path: Path) -> None:
    """Raise ValueError for an id of a relation that cannot name files."""
    if not re.fullmatch(r"[\w-]{1,40}", relation):
        raise ValueError(f"{path}: relation {relation!r} must be 1 to 40 letters, digits, '_' and '-' alone (it names files)")


def is_text(value: object) -> bool:
    """Return whether a JSON value is a string that UTF-8 can encode; a lone surrogate, such as \\ud800, cannot be encoded."""
    return isinstance(value, str) and re.search("[\ud800-\udfff]", value) is None


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in found if names.count(name) > 1))
    return found
