"""What a report's page holds, read as a browser would."""

import base64
import re
from xml.etree import ElementTree

import cv2
import numpy as np

_PICTURE = re.compile(r"src=\"data:(image/[a-z+]+);base64,([A-Za-z0-9+/=]+)\"")


def pictures_of(page: str) -> list[tuple[str, bytes]]:
    """(media type, bytes) of all pictures in a page; fails where one cannot be decoded."""
    assert page.count("<img") == len(_PICTURE.findall(page))
    pictures = [(kind, base64.b64decode(data)) for kind, data in _PICTURE.findall(page)]
    for kind, data in pictures:
        if kind == "image/svg+xml":
            assert ElementTree.fromstring(data).tag.endswith("svg")
        else:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert decoded is not None
            assert decoded.std() > 5
    return pictures
