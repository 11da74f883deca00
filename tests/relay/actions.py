"""What tests of connections do again and again."""

import struct

from greenrelay.message import Message
from greenrelay.protocol.eventstream import EventParser
from greenrelay.protocol.frames import OP_CLOSE, OP_TEXT, encode_frame
from tests.integration.raw import frame


def send(session, topic, payload=None):
    """Let somebody send a message to a connection."""
    return session.deliver(Message(topic, payload))


def text_frame(text):
    """Return a server's frame of a text."""
    return encode_frame(OP_TEXT, text.encode())


def close_frame(code, reason=b""):
    """Return a client's close frame."""
    return frame(OP_CLOSE, struct.pack("!H", code) + reason)


def forward(stream, payload=None, topic="sse.message"):
    """Let somebody send an event stream what it forwards, by default."""
    return send(stream, topic, payload)


def control(stream, **fields):
    """Change the configuration of an event stream."""
    return send(stream, "sse.control", fields)


def events(stream):
    """Return name and data of what the client has got."""
    return [event[:2] for event in EventParser().feed(stream.transport.written)]


def done(reason):
    """Return the last event of a stream, as `events()` has it."""
    return ("done", f'{{"reason":"{reason}"}}')
