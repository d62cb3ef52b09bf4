"""Loss functions for time-based training of spiking neural networks: the package behind the book."""

from importlib.metadata import PackageNotFoundError, version

from . import experiments, losses, networks, ops
from .neuron import NeuronParameters

try:
    __version__ = version("snnbook")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+source"

__all__ = ["NeuronParameters", "experiments", "losses", "networks", "ops"]
