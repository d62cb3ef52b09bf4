"""The neuron: its parameters and its response kernel.

The book's notation page is the authority for symbols and units; equations are cited by the labels that it carries.
"""

from dataclasses import dataclass

from .errors import UserError, choice, instance, plain, real, switch

SLOPE_BOUND_WEIGHT = 4.0
"""Largest |dt*/du| used for weight gradients (released settings): bounds 1/du where the potential only just crosses."""

SLOPE_BOUND_TIMING = 123456789.0
"""Largest |dt*/du| used for the input times (released settings): in effect none."""

KERNELS = ("exponential", "exact")


@dataclass(frozen=True)
class NeuronParameters:
    """Constants of a spike-response neuron in discrete time.

    Eq. (eq-neuron), (eq-response) of the book; App. 1 of Zhu et al. 2023 and the authors' released settings.

    Args:
        tau_m: membrane time constant, steps, > 1
        tau_s: synaptic time constant, steps, > 1, other than tau_m
        tau_g: time constant of the exponential backward kernel, steps, > 1
        kernel: how input times are credited: "exponential" (a positive kernel of constant tau_g) or
            "exact" (the derivative of the response itself, which changes sign)
        leaky: False lets the potential keep its value between steps (exponential kernel only)

    Raises:
        UserError: if a constant is not a finite number above 1, tau_m equals tau_s, or the kernel is unknown
    """

    tau_m: float = 5.0
    tau_s: float = 3.0
    tau_g: float = 2.5
    kernel: str = "exponential"
    leaky: bool = True

    def __post_init__(self) -> None:
        for name in ("tau_m", "tau_s", "tau_g"):
            real(name, getattr(self, name), above=1)
            object.__setattr__(self, name, plain(getattr(self, name)))
        if self.tau_m == self.tau_s:
            raise UserError(
                f"tau_m and tau_s must differ (both are {self.tau_m}): the response kernel divides by their "
                "difference; move one of them a little"
            )
        object.__setattr__(self, "kernel", choice("backward kernel", self.kernel, KERNELS))
        object.__setattr__(self, "leaky", switch("leaky", self.leaky))
        if not self.leaky and self.kernel == "exact":
            raise UserError("leaky=False goes with kernel='exponential' only")

    @property
    def decay_m(self) -> float:
        """What is left of the membrane trace after one step: 1 - 1/tau_m."""
        return 1 - 1 / self.tau_m

    @property
    def decay_s(self) -> float:
        """What is left of the synaptic trace after one step: 1 - 1/tau_s."""
        return 1 - 1 / self.tau_s

    @property
    def decay_g(self) -> float:
        """What is left of the backward trace after one step: 1 - 1/tau_g."""
        return 1 - 1 / self.tau_g

    @property
    def gain(self) -> float:
        """Scale of the response: tau_m / (tau_m - tau_s)."""
        return self.tau_m / (self.tau_m - self.tau_s)


def eps(k: int, neuron: NeuronParameters) -> float:
    """Potential left by a unit of current `k` steps ago: the spike response. Eq. (eq-response).

    Args:
        k: age of the input, steps; below 0 the response is 0
        neuron: the constants
    Raises:
        UserError: if k is no finite number, or neuron something else
    """
    k = _age(k, neuron)
    if k < 0:
        return 0.0
    return (neuron.decay_m ** (k + 1) - neuron.decay_s ** (k + 1)) * neuron.gain


def kappa(k: int, neuron: NeuronParameters) -> float:
    """Slope that a unit of current `k` steps ago adds at the output spike, as the backward pass sees it.

    Eq. (eq-kappa): exponential, or the exact increment of the response, eps(k) - eps(k - 1).

    Args:
        k: age of the input, steps; below 0 the kernel is 0
        neuron: the constants, `neuron.kernel` among them
    Raises:
        UserError: if k is no finite number, or neuron something else
    """
    k = _age(k, neuron)
    if k < 0:
        return 0.0
    if neuron.kernel == "exponential":
        return neuron.decay_g ** (k + 1)
    return eps(k, neuron) - eps(k - 1, neuron)


def _age(k: int, neuron: NeuronParameters) -> float:
    """Check the arguments of both kernels; k as a number of Python's."""
    instance("neuron", neuron, NeuronParameters)
    real("k", k)
    return plain(k)
