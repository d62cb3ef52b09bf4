"""The same network and training step in the libraries that a user might choose instead.

All train the Fashion-MNIST network of the paper (32C5-P2-64C5-P2-1024-10, padding 2, T = 5, batch 50, direct coding,
float32, fused AdamW) by surrogate gradients, each with the neuron, surrogate and loss of its tutorials. Their
mathematics differs from the book's, so only speed and memory are compared. A library that is not installed is
reported and left out: `pip install snntorch spikingjelly norse` installs them.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 5
"""Time steps T."""

LEARNING_RATE = 5e-4
"""The paper's learning rate of AdamW on this network."""


class Peer:
    """A library's network that trains on one batch.

    Args:
        images: (N, 1, 28, 28)
        labels: (N,)
        learning_rate: of AdamW
    """

    settings = ""
    package = ""
    net: nn.Module

    def __init__(self, images: Tensor, labels: Tensor, learning_rate: float) -> None:
        self.images = images
        self.labels = labels
        torch.manual_seed(0)
        self.make()
        self.optimiser = torch.optim.AdamW(self.net.parameters(), learning_rate, fused=True)

    @property
    def title(self) -> str:
        """Name and version of the library."""
        return f"{self.package} {version(self.package)}"

    def make(self) -> None:
        """Build `net`."""
        raise NotImplementedError

    def outputs(self) -> Tensor:
        """Compute the output spikes, (T, N, classes)."""
        raise NotImplementedError

    def loss(self, spikes: Tensor) -> Tensor:
        """Compute the library's usual loss on output spikes."""
        return F.cross_entropy(spikes.mean(0), self.labels)

    def train(self) -> None:
        """Do one step."""
        self.optimiser.zero_grad()
        self.loss(self.outputs()).backward()
        self.optimiser.step()

    def reset(self) -> None:
        """Reset the neurons' states, if the library's modules store them."""

    def rest(self) -> None:
        """Free everything but parameters, optimiser and data."""
        self.reset()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def infer(self) -> Tensor:
        """Compute the output spikes, (T, N, classes), without gradients."""
        return self.outputs()


def _maps() -> list[nn.Module]:
    """Return the affine maps of the network, input side first."""
    return [
        nn.Conv2d(1, 32, 5, padding=2, bias=False),
        nn.Conv2d(32, 64, 5, padding=2, bias=False),
        nn.Linear(3136, 1024, bias=False),
        nn.Linear(1024, 10, bias=False),
    ]


class SnnTorch(Peer):
    """snnTorch: a loop over time around step modules."""

    package = "snntorch"
    settings = "Leaky(beta=0.9), fast sigmoid of slope 25, ce_rate_loss, a loop over time"

    def make(self) -> None:
        import snntorch
        from snntorch import functional, surrogate

        def neurons() -> nn.Module:
            return snntorch.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=25), init_hidden=True)

        conv1, conv2, hidden, output = _maps()
        pool = nn.AvgPool2d(2)
        self.net = nn.Sequential(
            conv1, neurons(), pool, conv2, neurons(), pool, nn.Flatten(), hidden, neurons(), output, neurons()
        )
        self._leaky = snntorch.Leaky
        self.loss = lambda spikes: functional.ce_rate_loss()(spikes, self.labels)

    def reset(self) -> None:
        for layer in self.net:
            if isinstance(layer, self._leaky):
                layer.reset_mem()

    def outputs(self) -> Tensor:
        self.reset()
        return torch.stack([self.net(self.images) for _ in range(STEPS)])


class SpikingJelly(Peer):
    """SpikingJelly: layer by layer, each over all steps (its multi-step mode)."""

    package = "spikingjelly"
    settings = "LIFNode(tau=2, detach_reset=True), ATan, mean squared error on rates, step mode 'm', torch backend"

    def make(self) -> None:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        def neurons() -> nn.Module:
            return neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True)

        self.net = nn.Sequential(
            layer.Conv2d(1, 32, 5, padding=2, bias=False), neurons(), layer.AvgPool2d(2),
            layer.Conv2d(32, 64, 5, padding=2, bias=False), neurons(), layer.AvgPool2d(2),
            layer.Flatten(), layer.Linear(3136, 1024, bias=False), neurons(),
            layer.Linear(1024, 10, bias=False), neurons(),
        )  # fmt: skip
        functional.set_step_mode(self.net, "m")
        self._functional = functional

    def reset(self) -> None:
        self._functional.reset_net(self.net)

    def outputs(self) -> Tensor:
        self.reset()
        return self.net(self.images.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1))

    def loss(self, spikes: Tensor) -> Tensor:
        return F.mse_loss(spikes.mean(0), F.one_hot(self.labels, 10).float())


class Norse(Peer):
    """Norse: neurons over all steps, and maps lifted over time."""

    package = "norse"
    settings = "LIF with default parameters (SuperSpike, alpha 100), lifted maps, cross entropy on rates"

    def make(self) -> None:
        import norse.torch as norse

        conv1, conv2, hidden, output = _maps()
        pool = nn.AvgPool2d(2)
        self.net = norse.SequentialState(
            norse.Lift(conv1), norse.LIF(), norse.Lift(pool), norse.Lift(conv2), norse.LIF(), norse.Lift(pool),
            nn.Flatten(2), norse.Lift(hidden), norse.LIF(), norse.Lift(output), norse.LIF(),
        )  # fmt: skip

    def outputs(self) -> Tensor:
        return self.net(self.images.expand(STEPS, *self.images.shape))[0]


class Tuned:
    """A peer whose fully connected products are computed by oneDNN, as our engine's are.

    Torch chooses oneDNN under `torch.set_float32_matmul_precision("medium")`, which no library's tutorial sets. On
    processors with bfloat16 it also rounds the products to bfloat16.

    Args:
        peer: whose network and step are used
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def train(self) -> None:
        """Do one step."""
        self._run(self._peer.train)

    def infer(self) -> Tensor:
        """Compute the output spikes, (T, N, classes)."""
        return self._run(self._peer.infer)

    @staticmethod
    def _run(task: Callable[[], Any]) -> Any:
        """Run a task with torch's precision set to "medium"."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return task()
        finally:
            torch.set_float32_matmul_precision(before)


PEERS: tuple[type[Peer], ...] = (SnnTorch, SpikingJelly, Norse)


def available(images: Tensor, labels: Tensor, learning_rate: float, report: Callable[[str], None]) -> dict[str, Peer]:
    """Build the peers that are installed here, by title; report those that are not."""
    found: dict[str, Peer] = {}
    for kind in PEERS:
        try:
            peer = kind(images, labels, learning_rate)
        except ImportError as error:
            report(f"{kind.package} is left out: {error} (pip install {kind.package})")
        else:
            found[peer.title] = peer
    return found
