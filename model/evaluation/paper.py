"""The numbers that the paper reports (Export3D Tab. 1 to 5; Spec 8.1), and why ours are others."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.evaluation.protocol import Protocol

COLUMNS: tuple[tuple[Protocol, str], ...] = (
    ("same", "psnr"),
    ("same", "ssim"),
    ("same", "akd"),
    ("same", "csim"),
    ("same", "aed"),
    ("same", "apd6"),
    ("cross", "csim"),
    ("cross", "aed"),
    ("cross", "apd6"),
)
"""Protocol and metric of the nine numbers of each row, in our names."""

Row = tuple[float, ...]
Ablation = Mapping[tuple[Protocol, str], float]


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper: a row of nine numbers for each method."""

    number: str
    data: str
    rows: Mapping[str, Row]

    def value(self, method: str, protocol: Protocol, metric: str) -> float | None:
        """Return one number; None where the paper has no such column."""
        if (protocol, metric) not in COLUMNS:
            return None
        return self.rows[method][COLUMNS.index((protocol, metric))]


OURS = "Export3D"

VFHQ = PaperTable(
    "1",
    "VFHQ",
    {
        "StyleHEAT": (14.233, 0.428, 30.406, 0.464, 0.161, 0.139, 0.505, 0.242, 0.136),
        "DPE": (23.241, 0.750, 3.661, 0.831, 0.083, 0.032, 0.586, 0.253, 0.085),
        "ROME": (14.185, 0.642, 7.281, 0.737, 0.111, 0.051, 0.641, 0.224, 0.074),
        "OTAvatar": (17.441, 0.651, 11.502, 0.662, 0.176, 0.067, 0.610, 0.290, 0.198),
        "HiDe-NeRF": (21.228, 0.728, 8.245, 0.867, 0.106, 0.049, 0.707, 0.255, 0.065),
        OURS: (23.555, 0.704, 3.453, 0.811, 0.082, 0.030, 0.694, 0.208, 0.080),
    },
)
TALKING_HEAD_1KH = PaperTable(
    "2",
    "TalkingHead-1KH",
    {
        "StyleHEAT": (15.613, 0.517, 21.198, 0.575, 0.148, 0.095, 0.571, 0.218, 0.102),
        "DPE": (23.201, 0.786, 4.281, 0.807, 0.093, 0.029, 0.714, 0.216, 0.081),
        "ROME": (15.921, 0.695, 13.444, 0.726, 0.123, 0.062, 0.667, 0.201, 0.084),
        "OTAvatar": (16.952, 0.660, 11.615, 0.668, 0.181, 0.063, 0.682, 0.247, 0.150),
        "HiDe-NeRF": (19.759, 0.729, 5.746, 0.843, 0.112, 0.043, 0.757, 0.232, 0.085),
        OURS: (23.239, 0.797, 3.581, 0.764, 0.092, 0.033, 0.772, 0.204, 0.076),
    },
)
EXPRESSION_ENCODING = PaperTable(
    "3",
    "VFHQ",
    {
        "Direct 3DMM": (23.077, 0.688, 3.874, 0.789, 0.105, 0.044, 0.648, 0.209, 0.073),
        "E2E LeBS, n = 25": (23.105, 0.672, 3.775, 0.745, 0.109, 0.040, 0.670, 0.218, 0.071),
        "E2E LeBS, n = 10": (23.235, 0.676, 3.755, 0.751, 0.110, 0.038, 0.672, 0.238, 0.079),
        "E2E LeBS, n = 5": (22.631, 0.646, 4.114, 0.658, 0.140, 0.046, 0.632, 0.246, 0.076),
        OURS: VFHQ.rows[OURS],
    },
)
WITH_BACKGROUND = PaperTable(
    "5",
    "VFHQ with background",
    {
        "ROME": (8.309, 0.400, 11.179, 0.592, 0.123, 0.173, 0.495, 0.236, 0.201),
        "OTAvatar": (10.667, 0.457, 15.236, 0.492, 0.181, 0.182, 0.492, 0.288, 0.237),
        "HiDe-NeRF": (12.254, 0.345, 22.136, 0.354, 0.135, 0.252, 0.408, 0.259, 0.230),
        OURS: VFHQ.rows[OURS],
    },
)
TABLES = (VFHQ, TALKING_HEAD_1KH, EXPRESSION_ENCODING, WITH_BACKGROUND)

CROSS_ATTENTION: Ablation = {
    ("same", "csim"): 0.678,
    ("same", "aed"): 0.125,
    ("same", "apd6"): 0.042,
    ("cross", "csim"): 0.631,
    ("cross", "aed"): 0.271,
    ("cross", "apd6"): 0.122,
}
"""Table 4: cross-attention in place of EAdaLN; its other row is Export3D of table 1."""

NOT_COMPARABLE: Mapping[str, str] = {
    "psnr": "PSNR: other films and another picture size, and a smaller or blurrier picture scores "
    "higher at the same skill.",
    "ssim": "SSIM: other films and another picture size; the paper does not say which variant.",
    "l1": "L1: the paper does not report it.",
    "lpips": "Perceptual distance: the paper trains with LPIPS and reports none; the network here "
    "is another one, so its values compare with those of the same name alone.",
    "akd": "AKD: another landmark detector, and the paper does not say whether it adds both "
    "coordinates or averages them; here its number stands beside the average.",
    "akd_sum": "AKD (sum): the other reading of the paper's AKD, twice the first.",
    "csim": "CSIM: another identity network, whose cosines lie elsewhere.",
    "aed": "AED: coefficients of another face model, with other units and fitted to a clip as a "
    "whole.",
    "apd6": "APD-6: poses of another face model; angles and decimetres are averaged, and both "
    "depend on the model's size and origin.",
    "apd3": "APD-3: the paper reports six numbers of the pose together.",
    "jitter": "Jitter: the paper does not report it.",
    "flicker": "Flicker: the paper does not report it.",
}
"""One sentence for each metric: why a number of ours does not stand beside one of the paper's."""
