"""A film's packets, each with what is known to be wrong with it before it is decoded.

Most decoders hide what they cannot read: they fill in and say nothing. So damage that shows in the
packets themselves is looked for here. What cannot be found: a changed bit that still makes sense to
the decoder (VP8, VP9, AV1 and HEVC hold no redundancy at all).
"""

from collections.abc import Iterator

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

# Entropy coders that never write so many zero bytes in a row (measured: 5 at most): there the disk
# or the download left a hole. Annex B streams may be padded with zeros, so they are not looked at.
_HOLE = bytes(32)
_HOLE_AT_END = bytes(8)
_LENGTH_PREFIXED = frozenset({"h264", "hevc"})
_DENSE = frozenset({"vp8", "vp9", "av1", "mpeg4"})
# Edit lists may show a part of a film again; an index that points to the same bytes more often
# than this would be decoded for days.
_MOST_READINGS = 4

# Joined broadcasts break the count of packets at a key frame, and nothing is lost; the demuxer
# marks one of the two pictures before it.
_SPLICE_PACKETS = 2

LOST = "a part of a picture is missing in the file"
HOLE = "a part of a picture was overwritten with zeros"
SKIPPED = "pictures that the film's index names are missing"
ENDLESS = "the film's index leads to the same pictures again and again"


def checked_packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple["Packet[VideoStream]", str]]:
    """Packets in decoding order with a sentence about the damage, empty for a sound one.

    The last one is empty: it makes the decoder give what it holds. Raises av.FFmpegError where the
    container cannot be read.
    """
    holes = _cannot_hold_zeros(stream)
    missing = _IndexWatch(container, stream)
    by_index = "mov" in container.format.name
    readable_bytes = _MOST_READINGS * max(container.size, 1)
    doubtful: list[Packet[VideoStream]] = []
    for packet in container.demux(stream):
        readable_bytes -= max(packet.size, 1)
        if doubtful or (packet.is_corrupt and packet.size):
            doubtful.append(packet)
            if packet.is_keyframe and len(doubtful) > 1:
                yield from ((waited, "") for waited in doubtful)
                doubtful.clear()
            elif len(doubtful) > _SPLICE_PACKETS or not packet.size:
                yield from ((waited, LOST if waited.is_corrupt else "") for waited in doubtful)
                doubtful.clear()
        elif by_index and readable_bytes < 0:
            yield packet, ENDLESS
        elif missing.before(packet):
            yield packet, SKIPPED
        else:
            yield packet, HOLE if holes and _has_hole(bytes(packet)) else ""


class _IndexWatch:
    """Notices packets of an AVI that the demuxer passed over: it goes on without a word.

    Times are counted there, so all that follows would come too early.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        is_avi = container.format.name == "avi"
        entries = stream.index_entries if is_avi else ()
        self._places = [(entry.pos, entry.size) for entry in entries if entry.size]
        self._next = 0

    def before(self, packet: "Packet[VideoStream]") -> bool:
        if self._next >= len(self._places) or packet.pos is None:
            return False
        place, size = self._places[self._next]
        self._next += 1
        if packet.pos < place:  # an index that does not fit the file says nothing
            self._places = []
        return packet.pos >= place + size


def _has_hole(content: bytes) -> bool:
    return _HOLE in content or content.endswith(_HOLE_AT_END)


def _cannot_hold_zeros(stream: VideoStream) -> bool:
    name = stream.codec_context.codec.canonical_name
    extradata = stream.codec_context.extradata or b""
    return name in _DENSE or (name in _LENGTH_PREFIXED and extradata[:1] == b"\x01")
