"""The event file holds every number and picture once, read back record by record."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from model.training.loop import MetricRow
from pipeline.reports.tensorboard import event_file


def events(data: bytes) -> list[Event]:
    """Records of the file: length, its checksum, an event, its checksum."""
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += 16 + length
    assert at == len(data)
    return found


def test_numbers_and_pictures_come_back(tmp_path: Path) -> None:
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[..., 2] = 255  # red, as OpenCV orders it
    path = tmp_path / "samples-0000020.png"
    cv2.imwrite(str(path), picture)
    rows = [
        MetricRow(step, "reconstruction", name, step / scale)
        for step in (10, 20)
        for name, scale in (("l2", 100), ("total", 10))
    ]
    values = [
        (value.tag, event.step, value)
        for event in events(event_file(rows, {20: path}))
        for value in event.summary.value
    ]
    scalars = {(tag, step): v.simple_value for tag, step, v in values if not v.image.height}
    assert len(values) == 5
    assert scalars == {
        (f"reconstruction/{row.name}", row.step): pytest.approx(row.value) for row in rows
    }
    ((tag, step, shown),) = [value for value in values if value[2].image.height]
    assert (tag, step) == ("samples", 20)
    data = np.frombuffer(shown.image.encoded_image_string, np.uint8)
    assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR), picture)
