"""What all connections of one node share."""

from greenrelay.message import Message
from greenrelay.processes.node import Node
from greenrelay.relay.connections import Connections


def test_a_node_has_one_of_its_own(node):
    assert node.shared(Connections) is node.shared(Connections)
    assert node.shared(Connections) is not Node("other").shared(Connections)


def test_a_bad_message_is_news_once_in_a_row():
    connections, one, other = Connections(), Message("x"), Message("x")
    news = [connections.note_bad_message(message) for message in (one, one, other, one)]
    assert news == [True, False, True, True]


def test_who_lingers_until_its_last_bytes_are_read(node, open_stream):
    stream, connections = open_stream(), node.shared(Connections)
    stream.transport.unsent = 10
    stream.drain()
    assert stream in connections
    assert not connections.are_delivered
    stream.transport.flush()
    assert connections.are_delivered
    stream.on_eof()
    assert not connections
