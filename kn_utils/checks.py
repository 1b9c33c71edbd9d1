"""Values that a reader passes as parameters, checked where they enter: one error that says which, what it is and what is allowed."""

import math
from collections.abc import Callable
from pathlib import Path


def check_number(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> None:
    """Raise ValueError unless a parameter is a finite number for which `holds` is true; `allowed` says so in words.

    A truth value is no number, though Python counts it as one.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
    if not is_number or not holds(value):
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def check_whole(name: str, value: object, lowest: int = 1, instead: str = "") -> None:
    """Raise ValueError unless a parameter is a whole number of at least `lowest`; `instead` says what the caller takes besides."""
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        other = f"{instead} or " if instead else ""
        raise ValueError(f"{name} is {value!r}; it must be {other}a whole number of at least {lowest}")


def check_text(name: str, value: object) -> None:
    """Raise ValueError unless a parameter is text; papermill turns 1984 into a number unless it is told not to."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; it must be text (by papermill: -r {name} '{value}')")


def check_folder(name: str, value: object) -> None:
    """Raise ValueError unless a parameter can be the path of a folder; whether it is there is not asked."""
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError(f"{name} is {value!r}; it must be the path of a folder")
