"""The basis must be one and the same for one weight, whatever library computes it."""

import pytest
import torch
from torch.autograd import gradcheck

from model.geometry.orthonormal import orthonormal_columns


def gram_schmidt(weight_DL):
    basis_DL = weight_DL.clone()
    for place in range(weight_DL.shape[1]):
        column, earlier = basis_DL[:, place], basis_DL[:, :place]
        column -= earlier @ (earlier.T @ column)
        column /= column.norm()
    return basis_DL


@pytest.mark.parametrize("seed", range(8))
def test_equals_gram_schmidt_with_its_signs(seed):
    torch.manual_seed(seed)
    weight_DL = torch.randn(256, 10, dtype=torch.float64)
    basis_DL = orthonormal_columns(weight_DL)
    torch.testing.assert_close(basis_DL, gram_schmidt(weight_DL))
    upper_LL = basis_DL.T @ weight_DL
    assert (upper_LL.diagonal() > 0).all()


def test_columns_are_orthonormal_in_single_precision():
    torch.manual_seed(0)
    basis_DL = orthonormal_columns(torch.randn(256, 10))
    torch.testing.assert_close(basis_DL.T @ basis_DL, torch.eye(10), atol=2e-6, rtol=0)


def test_an_orthonormal_weight_stays_what_it_is():
    torch.testing.assert_close(orthonormal_columns(torch.eye(6)[:, :3]), torch.eye(6)[:, :3])


def test_gradient():
    torch.manual_seed(0)
    weight_DL = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(orthonormal_columns, (weight_DL,))


def test_half_precision_is_raised():
    assert orthonormal_columns(torch.randn(8, 2).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("shape", [(3, 4), (3,), (2, 3, 4)])
def test_what_has_no_basis_is_refused(shape):
    with pytest.raises(ValueError, match="tall matrix"):
        orthonormal_columns(torch.zeros(shape))
