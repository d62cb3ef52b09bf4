"""Loss functions for time-based training of spiking neural networks: the package behind the book.

Its modules are imported when they are first used, because the command line handles signals before it imports torch.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import experiments, losses, networks, ops
    from .neuron import NeuronParameters

__all__ = ["NeuronParameters", "experiments", "losses", "networks", "ops"]


def __getattr__(name: str) -> object:
    """The package's version, modules and NeuronParameters."""
    if name not in ("__version__", *__all__):  # at once: the import system asks for every submodule here
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "__version__":
        metadata = import_module("importlib.metadata")
        try:
            value: object = metadata.version(__name__)
        except metadata.PackageNotFoundError:  # used from a source tree that was never installed
            value = "0+source"
    elif name == "NeuronParameters":
        value = import_module(".neuron", __name__).NeuronParameters
    else:
        value = import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
