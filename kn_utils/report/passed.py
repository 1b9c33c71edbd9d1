"""The parameters that papermill passes to a notebook. It only warns about a name that the notebook does not have; here that is an error."""

import ast
from itertools import pairwise

from IPython import get_ipython

from kn_utils.parameters import did_you_mean

INJECTED = "# Parameters\n"  # how papermill begins the cell that it puts behind the notebook's parameters
PAPERMILLS_OWN = "PAPERMILL_"  # begins the names that its option --inject-paths adds


def check_passed_parameters() -> None:
    """Raise ValueError for a parameter that was passed to a notebook that does not declare it. Outside notebooks it does nothing."""
    shell = get_ipython()
    check_cells(shell.user_ns.get("In", []) if shell else [])


def check_cells(cells: list[str]) -> None:
    """Raise ValueError if a cell of passed parameters assigns a name that the cell before it does not declare."""
    for declaring, passed in pairwise(cells):
        if passed.startswith(INJECTED):
            declared = _assigned(declaring)
            for name in _assigned(passed):
                if name not in declared and not name.startswith(PAPERMILLS_OWN):
                    raise ValueError(
                        f"this notebook has no parameter {name!r}{did_you_mean(name, declared)}; it has: {', '.join(declared)}"
                    )


def _assigned(cell: str) -> list[str]:
    targets = [
        target
        for statement in ast.parse(cell).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
    ]
    return [target.id for target in targets if isinstance(target, ast.Name)]
