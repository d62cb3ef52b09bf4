"""Products made in another way than torch's usual one: when, and that the numbers are the same."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.grad import conv2d_input

from snnbook.events import Convolution
from snnbook.ops import affine
from snnbook.ops.affine import image_products, map_gradient, needs_care, product

from ..conftest import relative


def test_which_gradients_of_weights_are_left_to_image_products(monkeypatch):
    """Those of wide kernels and of first layers, off the CPU, in full precision, where memory allows it."""
    grad, wide = torch.empty(50, 4, 28, 28, device="meta"), torch.Size((4, 1, 5, 5))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert needs_care(grad, wide)
    assert needs_care(grad, torch.Size((4, 9, 5, 5)))
    assert needs_care(grad, torch.Size((4, 1, 3, 3)))
    assert not needs_care(grad, torch.Size((4, 9, 3, 3)))
    assert not needs_care(torch.empty(grad.shape), wide)
    assert not needs_care(grad.bfloat16(), wide)
    assert not needs_care(grad, torch.Size((4, 999, 5, 5)))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert not needs_care(grad, wide)


@pytest.mark.parametrize(("size", "padding"), [((4, 3, 5, 5), 2), ((6, 1, 3, 5), 0), ((2, 2, 1, 1), 1)])
def test_a_weights_gradient_is_image_products(size, padding):
    """What a GPU does for wide kernels in place of cuDNN's way, which is not exact enough."""
    x = torch.randn(3, size[1], 9, 8, dtype=torch.double)
    grad = torch.randn_like(Convolution(padding).current(x, torch.zeros(size, dtype=torch.double)))
    got = image_products(grad, x, torch.Size(size), padding)
    assert relative(got, Convolution(padding).grad_weight(grad, x, torch.Size(size))) < 1e-13


@pytest.mark.parametrize("places", [(9, 8), (3, 4)])  # large enough for channels last, and not
@pytest.mark.parametrize(("size", "padding"), [((4, 9, 5, 5), 2), ((6, 8, 3, 3), 1), ((2, 3, 1, 1), 0)])
def test_a_maps_gradient_in_either_order_of_memory(size, padding, places):
    weight, x = torch.randn(size), torch.randn(3, size[1], *places)
    grad = torch.randn_like(Convolution(padding).current(x, weight))
    want = conv2d_input(x.shape, weight.double(), grad.double(), padding=padding)
    last = torch.channels_last
    grads = grad.contiguous(), grad.contiguous(memory_format=last)
    for one in grads:
        assert relative(map_gradient(one, weight, x.shape, padding).double(), want) < 1e-6
    if size[2] > 1:  # else a weight in one order is in the other, too
        lasts = [map_gradient(one, weight, x.shape, padding).is_contiguous(memory_format=last) for one in grads]
        assert lasts == [False, places == (9, 8)]


@pytest.fixture
def asked(monkeypatch):
    """What oneDNN is asked for, as shapes."""
    shapes, way = [], affine._onednn()
    if way is None:
        pytest.skip("this torch has no oneDNN")

    def ask(a, b):
        shapes.append((tuple(a.shape), tuple(b.shape)))
        return way(a, b)

    monkeypatch.setattr(affine, "_onednn", lambda: ask)
    return shapes


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_a_product_in_any_order_of_memory(turned, rows, columns, inner):
    """Shapes that fill no vector, and matrices that are transposes of what lies in memory, as the backward pass has."""
    generator = torch.Generator().manual_seed(rows * columns * inner)
    a, b = torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)
    a, b = (x.T.contiguous().T if t else x for x, t in zip((a, b), turned, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affine, "MANY", 0)
        error = (product(a, b).double() - a.double() @ b.double().T).abs()
    rounding = (inner + 2) * 2**-24 * (a.double().abs() @ b.double().abs().T)  # of every product and sum, at most
    assert (error <= rounding).all()


def test_large_products_go_to_onednn_in_full_precision(asked):
    a, b = (torch.randn(size, generator=torch.Generator().manual_seed(0)) for size in ((300, 1024), (64, 1024)))
    # a sum of 1,024 products is off by some root(1024) roundings, 1.9e-6; TF32 is 5e-4 off, bfloat16 some 3e-3
    assert relative(product(a, b).double(), a.double() @ b.double().T) < 2 * 1024**0.5 * 2**-24
    assert asked == [((300, 1024), (64, 1024))]


def test_other_products_are_torchs_own(asked):
    a, b = torch.ones(300, 1024), torch.ones(64, 1024)
    wanted = a @ b.T
    assert torch.equal(product(a.double(), b.double()), wanted.double())
    assert torch.equal(product(a.bfloat16(), b.bfloat16()), wanted.bfloat16())
    assert torch.equal(product(a[:100], b[:10]), wanted[:100, :10])
    assert asked == []


def test_a_product_carries_gradients_where_they_are_wanted(asked):
    a, b = torch.randn(300, 1024), torch.randn(64, 1024, requires_grad=True)
    product(a, b).sum().backward()
    assert torch.allclose(b.grad, a.sum(0).expand_as(b), atol=1e-4)
    with torch.no_grad():
        product(a, b)
    assert len(asked) == 1


def test_matrices_with_gaps_and_repeated_ones(asked):
    wide, row = torch.randn(300, 1100), torch.randn(1, 1024)
    for a, b in [
        (wide[:, :1024], wide[:64, 76:]),
        (wide[:, 76:], row.expand(64, -1)),
        (row.expand(300, -1), wide[:64, 76:]),
    ]:
        assert relative(product(a, b).double(), a.double() @ b.double().T) < 1e-5
    assert len(asked) == 3


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_torch_whose_call_is_another_keeps_its_usual_way(error, monkeypatch):
    def other(*_):
        raise error("not like this")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", other)
    assert affine._onednn.__wrapped__() is None


def test_without_onednn_torchs_own_way_is_taken(monkeypatch):
    monkeypatch.setattr(affine, "_onednn", lambda: None)
    a, b = torch.randn(300, 1024), torch.randn(64, 1024)
    assert torch.equal(product(a, b), torch.nn.functional.linear(a, b))
