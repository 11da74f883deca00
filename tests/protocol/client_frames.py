"""Bytes of WebSocket clients, right and wrong, and what the parser makes of them."""

import tracemalloc

from hypothesis import settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from greenrelay.errors import ProtocolError
from greenrelay.protocol.frameparser import FrameParser

FIN = 0x80
LIMIT = 1000
MASK = b"\x12\x34\x56\x78"
EIGHT_GB = 8 * 1024**3
ALLOWED = [*range(1000, 1004), *range(1007, 1015), 3000, 3001, 3999, 4000, 4998, 4999]
"""Close codes that may be sent; of the private ones some."""
TOO_BIG = (1009, "messages hold 1000 bytes at most")

few = settings(max_examples=80, deadline=None)
many = settings(max_examples=250, deadline=None)


def frame(opcode, payload=b"", fin=True):
    """Return a correct client frame, made by an encoder that is not ours."""
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)


def announce(first, length, form=0, masked=True):
    """Return a frame's bytes before its mask; `length` in 7, 16 or 64 bits, 0: as it should be."""
    form = form or (7 if length < 126 else 16 if length < 1 << 16 else 64)
    second = {7: length, 16: 126, 64: 127}[form] | (0x80 if masked else 0)
    return bytes((first, second)) + (b"" if form == 7 else length.to_bytes(form // 8, "big"))


def header(first, length, form=0):
    return announce(first, length, form) + MASK


def deflated(frames):
    """Return what an independent client compresses a message's frames to."""
    extension = PerMessageDeflate(True, True, 15, 15)
    return b"".join(item.serialize(mask=True, extensions=[extension]) for item in frames)


def masked(payload):
    return bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


def events_of(parser, data):
    """Yield what the data completes, in order."""
    return (event for event in parser.steps(data) if event is not None)


def parse(pieces, limit=LIMIT, inflates=False):
    """Return the events before the fault, and `(close_code, reason)` of the fault or `None`."""
    parser, events = FrameParser(limit, inflates), []
    try:
        for piece in pieces:
            for event in events_of(parser, piece):
                events.append(event)
    except ProtocolError as error:
        return events, (error.close_code, error.reason)
    return events, None


def fault(data, limit=LIMIT, inflates=False):
    """Return the close code with which `data` is refused, `None` if it is not."""
    outcome = parse([data], limit, inflates)[1]
    return outcome and outcome[0]


def cut(data, positions):
    borders = sorted({0, len(data), *(position % (len(data) + 1) for position in positions)})
    return [data[start:stop] for start, stop in zip(borders, borders[1:], strict=False)]


def peak_of(function):
    """Return how many bytes a function takes at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- strategies ----------------------------------------------------------------------------

positions = st.lists(st.integers(0, 1 << 20), max_size=8)
messages = st.one_of(st.text(max_size=200), st.binary(max_size=300))
almost_text = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=40),
    st.lists(
        st.one_of(
            st.text(max_size=5).map(str.encode),
            st.sampled_from(
                [b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x92", b"\xf4\x90\x80"]
            ),
        ),
        max_size=8,
    ).map(b"".join),
)
