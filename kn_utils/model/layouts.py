"""Finding the blocks, down-projections and value vectors of a model by its architecture's entry in `architectures`."""

from operator import attrgetter

from torch import Tensor, nn

from kn_utils.model.architectures import LAYOUTS, Layout


def layout_of(config) -> Layout:
    """Return the layout for a model's configuration. Raises ValueError for an unknown architecture."""
    name = config.model_type
    if name not in LAYOUTS:
        raise ValueError(
            f"model type {name!r} has an unknown feed-forward layout; known ones: {', '.join(LAYOUTS)}. "
            "Add one to kn_utils/model/architectures.py and its configuration to tests/tiny_models.py."
        )
    if LAYOUTS[name].masked and getattr(config, "is_decoder", False):
        raise ValueError(f"a {name!r} that is set up as a decoder (is_decoder) is not supported, only as a masked language model")
    if name == "opt" and not config.do_layer_norm_before:
        raise ValueError("OPT models that normalise after each sum (opt-350m) are not supported")
    return LAYOUTS[name]


def find_blocks(base_model: nn.Module, layout: Layout) -> list[nn.Module]:
    """Return the distinct transformer blocks of a model, in order."""
    found = [base_model]
    for name in layout.blocks:
        found = [child for module in found for child in (module if name == "*" else [getattr(module, name)])]
    return found


def submodule(block: nn.Module, name: str) -> nn.Module:
    """Return a submodule of a block by its dotted name."""
    return attrgetter(name)(block)


def value_vectors(down: nn.Module) -> Tensor:
    """Return a view of a down-projection's weight in which each row is a value vector, [neurons, hidden]."""
    return down.weight.T if isinstance(down, nn.Linear) else down.weight
