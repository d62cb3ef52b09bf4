"""The dense floor: the best library calls for a network's products, and nothing else."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from snnbook.layers import SpikingLayer
from snnbook.networks import Network
from snnbook.ops.affine import map_gradient, product


class DenseFloor:
    """The products of a training step: currents, and gradients of inputs and weights, each one call over T x N images.

    The first layer's input is the same at every step, so its products have no time axis. It needs no gradient.

    Args:
        net: whose layers are used
        batch: number of images, N
    """

    def __init__(self, net: Network, batch: int) -> None:
        self._layers = []
        shape: tuple[int, ...] = net.in_shape
        for layer in net.spiking:
            images = batch * net.steps if self._layers else batch
            if _is_convolution(layer):
                x = torch.rand((images, *shape)).contiguous(memory_format=torch.channels_last)
            else:
                x = torch.rand((images, layer.weight.shape[1]))
            current = self._current(layer, x)
            self._layers.append((layer, x, torch.rand_like(current)))
            shape = tuple(current.shape[1:])
            shape = (shape[0], *(side // layer.pool for side in shape[1:]))

    @staticmethod
    def _current(layer: SpikingLayer, x: Tensor) -> Tensor:
        """Compute a layer's currents."""
        weight = layer.weight.detach()
        if _is_convolution(layer):
            return F.conv2d(x, weight, padding=layer.affine.padding)
        return product(x, weight)

    @torch.no_grad()
    def infer(self) -> None:
        """Compute the currents of all layers."""
        for layer, x, _ in self._layers:
            self._current(layer, x)

    @torch.no_grad()
    def train(self) -> None:
        """Compute currents, and the gradients of inputs and weights."""
        self.infer()
        for number, (layer, x, grad) in enumerate(self._layers):
            weight = layer.weight.detach()
            if _is_convolution(layer):
                padding = layer.affine.padding
                conv2d_weight(x, weight.shape, grad, padding=padding)
                if number > 0:
                    map_gradient(grad, weight, x.shape, padding)
            else:
                product(grad.T, x.T)
                product(grad, weight.T)


def _is_convolution(layer: SpikingLayer) -> bool:
    """Return whether a layer's weights are (C_out, C_in, height, width)."""
    return layer.weight.dim() == 4
