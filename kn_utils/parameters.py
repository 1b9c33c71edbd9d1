"""Allowed values of the notebooks' parameters, and one error message for a value that is not allowed."""

import difflib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

DTYPES = ("float32", "bfloat16", "float16")
QUADRATURES = ("released", "gauss-legendre")
ONE_TOKEN, FIRST_TOKEN = "one-token", "first-token"  # which objects are asked for: whole ones, or all by their first token
OBJECTS = (ONE_TOKEN, FIRST_TOKEN)
KEPT_SHARE = 0.1  # step 1 stores scores of at least this share of the prompt's largest, as the released code does


class Parameter(NamedTuple):
    """The allowed values of a parameter, in words and as a test."""

    allowed: str
    holds: Callable[[object], bool]


def _number(allowed: str, holds: Callable[[float], bool]) -> Parameter:
    def is_number(value: object) -> bool:  # in Python a bool is an int
        return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf

    return Parameter(allowed, lambda value: is_number(value) and holds(value))


def _whole(minimum: int, none: str = "") -> Parameter:
    def is_whole(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= minimum

    allowed = f"a whole number of at least {minimum}"
    if none:
        return Parameter(f"None ({none}) or {allowed}", lambda value: value is None or is_whole(value))
    return Parameter(allowed, is_whole)


def _folder() -> Parameter:
    def is_folder(value: object) -> bool:
        return isinstance(value, str | Path) and bool(str(value).strip()) and "\0" not in str(value)

    return Parameter("the path of a folder", is_folder)


def _share(minimum: float, why: str = "") -> Parameter:
    return _number(f"a number from {minimum:g} to 1{why}", lambda value: minimum <= value <= 1)


def _texts(name: str) -> Parameter:
    def are_texts(value: object) -> bool:
        return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(text, str) for text in value))

    return Parameter(f"text, or a list of texts (by papermill: -r {name} '...')", are_texts)


def _text(name: str) -> Parameter:  # with -p papermill turns 1984 into a number
    return Parameter(f"text (by papermill: -r {name} '...')", lambda value: isinstance(value, str))


PARAMETERS = {
    "n_facts": _whole(1, none="all facts"),
    "seed": _whole(0),
    "workers": _whole(1, none="one for each core"),
    "results_dir": _folder(),
    "figures_dir": _folder(),
    "dtype": Parameter(f"one of {', '.join(DTYPES)}", lambda value: value in DTYPES),
    "quadrature": Parameter(f"one of {', '.join(QUADRATURES)}", lambda value: value in QUADRATURES),
    "objects": Parameter(f"one of {', '.join(OBJECTS)}", lambda value: value in OBJECTS),
    "tolerance": _number("a positive number", lambda value: value > 0),
    "max_memory_gb": _number("a positive number", lambda value: value > 0),
    "score_share": _share(KEPT_SHARE, "; step 1 keeps no smaller scores"),
    "baseline_share": _share(KEPT_SHARE, "; step 1 keeps no smaller scores"),
    "prompt_share": _share(0),
    "n_examples": _whole(1),
    "lambda1": _number("a number of at least 0", lambda value: value >= 0),
    "lambda2": _number("a number of at least 0", lambda value: value >= 0),
    "common_share": _share(0),
    "subject": _text("subject"),
    "new_object": _text("new_object"),
    "sentences": _texts("sentences"),
    "answer": _text("answer"),
    "instead": _text("instead"),
    "other_facts": _whole(1, none="all facts"),
    "n_chosen": _whole(1),
    "n_prompts": _whole(1),
    "n_pairs": _whole(1),
    "min_probability": _share(0),
    "max_probability": _share(0),
    "n_edits": _whole(1),
}


def check(**given: object) -> None:
    """Raise ValueError if one of the given parameters has a value that is not allowed."""
    for name, value in given.items():
        if not PARAMETERS[name].holds(value):
            raise ValueError(f"{name} is {value!r}; it must be {PARAMETERS[name].allowed}")


def did_you_mean(name: str, names: Iterable[str], similarity: float = 0.75) -> str:
    """Return " (did you mean ...?)" with the names most similar to `name`, or "" if none reaches `similarity` (1 is equal).

    >>> did_you_mean("Norwey", ["Denmark", "Norway", "Sweden"])
    ' (did you mean Norway?)'
    """
    by_lower_case = {other.lower(): other for other in names}
    similar = difflib.get_close_matches(name.lower(), by_lower_case, cutoff=similarity)
    return f" (did you mean {' or '.join(by_lower_case[other] for other in similar)}?)" if similar else ""
