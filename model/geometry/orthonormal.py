"""One orthonormal basis for a matrix's columns, the same on every machine.

Shape suffixes: D rows (length of a vector), L columns (number of vectors).
"""

import torch
from torch import Tensor


def orthonormal_columns(weight_DL: Tensor) -> Tensor:
    """Return Q of the QR decomposition whose R has a positive diagonal (Export3D eq. 2).

    Libraries differ in the signs of Q's columns; with these signs Q equals classical Gram-Schmidt,
    so it is unique and continuous in the weight. `weight_DL` [D, L] must have full column rank for
    the gradient to exist and D >= L (else ValueError). Half precision is raised to float32, for
    which a kernel exists. Spec 2.3.3.
    """
    if weight_DL.ndim != 2 or weight_DL.shape[0] < weight_DL.shape[1]:
        raise ValueError(f"a basis needs a tall matrix, not one of shape {tuple(weight_DL.shape)}")
    if weight_DL.dtype in (torch.float16, torch.bfloat16):
        weight_DL = weight_DL.float()
    q_DL, r_LL = torch.linalg.qr(weight_DL)
    # sign(0) would erase a column of a rank-deficient weight.
    negative_L = r_LL.diagonal() < 0
    return torch.where(negative_L, -q_DL, q_DL)
