"""What a trained network makes of one portrait: edited expressions, other cameras, depth.

Shapes: B = 1, C channels, H, W, E expression coefficients, L basis vectors, 25 camera label.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.export3d.clebs import LeBS
from model.export3d.network import Export3D
from model.training.data import resize_antialiased, to_bytes, to_signed

Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class View:
    """What one camera sees. Depth (distance along the ray, in label units) and alpha (0 to 1) have
    the side of the raw image.
    """

    image_HWC: Bytes
    depth_HW: NDArray[np.float32]
    alpha_HW: NDArray[np.float32]


class PortraitViews:
    """Shows one portrait, one view at a time, so that its bytes depend on nothing but the view.

    Takes the network over: moves it to `device` and puts it in eval mode. The portrait is a square
    crop, uint8 [H, W, 3], of any size; `exp_E` the expression that it starts from. What does not
    depend on the camera is computed once (Spec 2.10.3).
    """

    def __init__(
        self,
        network: Export3D,
        portrait_HWC: Bytes,
        exp_E: Floats,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self._network = network.eval().to(device)
        self._device = torch.device(device)
        image_BCHW = resize_antialiased(to_signed(portrait_HWC[None]), network.config.image_px)
        with torch.inference_mode():
            self._source = network.encode_source(image_BCHW.to(self._device))
            self._exp_BE = self._row(exp_E)
            self._planes_BPCHW = network.planes(self._source, self._exp_BE)

    @property
    def has_basis(self) -> bool:
        """Whether the network's expressions have coefficients that can be edited."""
        return isinstance(self._network.condition.encoder, LeBS)

    @torch.inference_mode()
    def coefficients(self) -> NDArray[np.float32]:
        """Return lambda_L of the portrait's expression. Raises ValueError without a basis."""
        lambda_BL = self._network.condition.lebs().coefficients(self._exp_BE)
        coefficients_L: NDArray[np.float32] = lambda_BL[0].cpu().numpy()
        return coefficients_L

    def deviations(self) -> NDArray[np.float32]:
        """Return each coefficient's deviation over the training set, [L], as stored with CLeBS."""
        deviations_L: NDArray[np.float32] = (
            self._network.condition.lebs().lambda_std_L.cpu().numpy()
        )
        return deviations_L

    @torch.inference_mode()
    def seen(self, camera_25: Floats) -> View:
        """Return the portrait with its own expression from a camera; the planes stay the same."""
        return self._view(self._planes_BPCHW, camera_25)

    @torch.inference_mode()
    def edited(self, lambda_L: Floats, camera_25: Floats) -> View:
        """Return the portrait with edited coefficients; with `coefficients()` it is as `seen`.

        Raises ValueError without a basis.
        """
        network = self._network
        condition_BMD = network.condition.from_coefficients(self._row(lambda_L))
        raw_BPCHW = network.generator.decode(self._source, condition_BMD)
        return self._view(raw_BPCHW + network.plane_mean_PCHW, camera_25)

    def _view(self, planes_BPCHW: Tensor, camera_25: Floats) -> View:
        seen = self._network.render(planes_BPCHW, self._row(camera_25))
        return View(
            image_HWC=to_bytes(seen.image_BCHW)[0],
            depth_HW=seen.depth_B1HW[0, 0].cpu().numpy(),
            alpha_HW=seen.alpha_B1HW[0, 0].cpu().numpy(),
        )

    def _row(self, values: Floats) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._device).unsqueeze(0)
