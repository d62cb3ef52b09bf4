"""The dense floor: the best library calls for a network's products, and nothing else."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from snnbook.layers import SpikingLayer
from snnbook.networks import Network
from snnbook.ops.affine import map_gradient, product


class DenseFloor:
    """The products of a training step: currents, gradients of inputs and of weights, each one call over T x N images.

    The first layer's input repeats, so its products have no time axis, and its input needs no gradient.

    Args:
        net: whose layers are meant
        batch: N
    """

    def __init__(self, net: Network, batch: int) -> None:
        self._layers = []
        shape: tuple[int, ...] = net.in_shape
        for layer in net.spiking:
            images = batch * (net.steps if self._layers else 1)
            size = (images, *shape) if layer.weight.dim() == 4 else (images, layer.weight.shape[1])
            x = torch.rand(size).contiguous(memory_format=_format(len(size)))
            current = self._current(layer, x)
            self._layers.append((layer, x, torch.rand_like(current)))
            shape = tuple(current.shape[1:])
            shape = (shape[0], *(side // layer.pool for side in shape[1:]))

    @staticmethod
    def _current(layer: SpikingLayer, x: Tensor) -> Tensor:
        weight = layer.weight.detach()
        return F.conv2d(x, weight, padding=layer.affine.padding) if weight.dim() == 4 else product(x, weight)

    @torch.no_grad()
    def infer(self) -> None:
        """The currents of all layers."""
        for layer, x, _ in self._layers:
            self._current(layer, x)

    @torch.no_grad()
    def train(self) -> None:
        """Currents, and the gradients of inputs and weights."""
        self.infer()
        for number, (layer, x, grad) in enumerate(self._layers):
            weight, pad = layer.weight.detach(), layer.affine.padding
            if weight.dim() == 4:
                conv2d_weight(x, weight.shape, grad, padding=pad)
                if number:
                    map_gradient(grad, weight, x.shape, pad)
            else:
                product(grad.T, x.T)
                product(grad, weight.T)


def _format(dimensions: int) -> torch.memory_format:
    return torch.channels_last if dimensions == 4 else torch.contiguous_format
