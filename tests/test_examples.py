"""The examples in docstrings run, and `import kn_utils` loads nothing."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import kn_utils
from kn_utils.paths import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "kn_utils").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_the_functions_for_readers_have_examples():
    documented = {kn_utils, *map(import_module, MODULES)}
    assert {getattr(kn_utils, name).__module__ for name in kn_utils.__all__} <= {module.__name__ for module in documented}


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
    done = doctest.testmod(import_module(module))
    assert done.attempted > 0 and done.failed == 0


def test_importing_the_package_loads_neither_torch_nor_transformers():
    loaded = "import kn_utils, sys; print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)), kn_utils.load.__name__)"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split()[:1] == ["[]"] and done.stdout.split()[1] == "load"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        kn_utils.lode  # noqa: B018
