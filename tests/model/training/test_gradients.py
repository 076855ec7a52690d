"""A gradient that breaks is named."""

import pytest
import torch
from torch import nn

from model.training.gradients import check_gradients
from model.training.loop import DivergedError


def test_the_first_broken_gradient_is_named() -> None:
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair(torch.ones(1, 2)).sum().backward()
    check_gradients(pair, "generator", 7)
    gradient = pair[1].weight.grad
    assert gradient is not None
    gradient[0, 0] = torch.inf
    with pytest.raises(DivergedError, match=r"generator\.1\.weight is not finite at step 7"):
        check_gradients(pair, "generator", 7)
