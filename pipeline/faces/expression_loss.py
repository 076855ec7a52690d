"""The loss that compares expressions: MediaPipe's face mesh, read by the face model mesh478."""

from model.training.expression_loss import ExpressionLoss, MeshReading
from model.training.tflite import TfliteNetwork
from preprocess.face3d.mesh478 import read_mesh478, readout
from preprocess.landmarks.litert import read_member
from preprocess.landmarks.mediapipe import MESH_MEMBER
from preprocess.landmarks.mesh_points import EYE_CORNERS
from storage import assets
from storage.identity import JSON

_MESH = "face_landmarker"


def expression_loss_identity() -> JSON:
    """Return what the loss depends on; loads no weights."""
    return {"mesh": assets.weights_digest(_MESH), "face_model": read_mesh478().face.digest}


def open_expression_loss() -> ExpressionLoss:
    """Load the loss. Raises AssetError for weights that lack."""
    model = read_mesh478()
    (left, _), (_, right) = EYE_CORNERS
    reading = MeshReading(
        mean_V3=model.face.mean_V3,
        weight_V=model.weight_V,
        readout_KD=readout(model),
        eyes=(left, right),
        identities=len(model.face.identity_IV3),
    )
    content = read_member(assets.locate(_MESH), assets.weights_digest(_MESH), MESH_MEMBER)
    return ExpressionLoss(TfliteNetwork(content), reading)
