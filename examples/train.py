"""Train a spiking network on images with the losses and layers of snnbook alone: the whole loop in one file.

    python examples/train.py [loss] [epochs]

It trains on the bundled part of Fashion-MNIST (2,000 images; 1,000 others for the test) and prints the test accuracy
after every epoch. Checkpoints, records and settings are left to `snnbook train`.
"""

import sys

import torch
from torch import Tensor

from snnbook import NeuronParameters, datasets, losses, networks, readout

STEPS = 5  # time steps that an image is shown for
BATCH = 50  # images a training step
RATE = 0.6  # spikes per neuron over all time steps, at the start


def load(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) with mean 0 and deviation 1 over all pixels, and their classes (N,)."""
    data = datasets.load("fashion_mnist_subset", split)
    return (data.images.float() / 255 - 0.286) / 0.353, data.labels


def train_epoch(net: networks.Network, loss: losses.Loss, optimiser: torch.optim.Optimizer, batches: list) -> None:
    """Take one step for each batch."""
    net.train()
    for images, labels in batches:
        optimiser.zero_grad()
        # In training mode the label's neuron is made to fire, so that there is a spike whose time can be learnt.
        spikes, _ = net(images, labels=labels)  # (T, N, classes)
        # backward leaves e = dL/dt at every output spike; the layers carry it down to the weights.
        loss(spikes, labels).backward()
        optimiser.step()
    net.fold()  # the last step's gamma moves into the thresholds


@torch.no_grad()
def accuracy(net: networks.Network, images: Tensor, labels: Tensor) -> float:
    """Share of images whose class the network finds, without the supervisory spike."""
    net.eval()
    classes = torch.cat([readout.predict(net(batch)) for batch in images.split(100)])
    return (classes == labels).float().mean().item()


def main(name: str = "enhanced_counting", epochs: int = 3) -> float:
    """Train for some epochs, and return the test accuracy after the last one."""
    torch.manual_seed(0)
    images, labels = load("train")
    neuron = NeuronParameters(tau_m=5, tau_s=3)
    net = networks.build("15C5-P2-40C5-P2-300", in_shape=(1, 28, 28), classes=10, neuron=neuron, steps=STEPS)
    net.initialise(images[:BATCH], rate=RATE)  # thresholds at which the neurons fire
    loss = losses.get(name)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    found = 0.0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(images)).split(BATCH)
        train_epoch(net, loss, optimiser, [(images[rows], labels[rows]) for rows in order])
        schedule.step()
        found = accuracy(net, *load("test"))
        print(f"epoch {epoch}: test accuracy {found:.1%}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
