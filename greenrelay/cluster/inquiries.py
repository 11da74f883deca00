"""What one node asks another: do or look something up for a process of yours, and answer.

ask ─► Ask(number, verb, args) ─► a greenlet there ─► Answer(number, …) ─► its value, or its error

Either may be lost on the way, so a question is asked again under its number until it is answered;
who has answered it does nothing a second time, but gives the answer again.
"""

from __future__ import annotations

import itertools
import time
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from greenrelay.cluster import operations
from greenrelay.cluster.operations import BadOperation, encode
from greenrelay.cluster.peer import Peer
from greenrelay.cluster.peers import Peers
from greenrelay.cluster.values import pack, unpack
from greenrelay.errors import (
    ClusterError,
    GreenRelayError,
    NameTaken,
    NotPortable,
    ProcessDown,
)
from greenrelay.pid import PID
from greenrelay.processes import anywhere
from greenrelay.processes.node import Node
from greenrelay.wire import NOCONNECTION

ANSWER_SECONDS: Final = 5.0
"""As long as a call waits by default."""
REPEAT_SECONDS: Final = 1.0
"""Between two times that a question is asked: most that are this late wait for a claim there."""
MAX_KEPT_ANSWERS: Final = 64
"""For each member, in case they are lost; each is up to an envelope long."""

# Errors that are raised here as they were there, from what they are made of.
_ERRORS: Final[dict[str, Any]] = {
    kind.__name__: kind
    for kind in (NameTaken, ProcessDown, NotPortable, ClusterError, ValueError, TypeError)
}


class Inquiries:
    """What one node has asked the others, and what they ask it.

    Args:
        node: ours.
        peers: the other members.
    """

    def __init__(self, node: Node, peers: Peers) -> None:
        self._node = node
        self._peers = peers
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[Peer, AsyncResult[Any]]] = {}
        self._answered: dict[Peer, dict[int, bytes | None]] = {}
        """By member: its last questions, and what it was told; `None`: nothing yet."""

    def ask(self, pid: PID, verb: str, *args: Any) -> Any:
        """Return what a verb gives for a process of another node. Switches: yes.

        Raises:
            ProcessDown: its node is no member, or does not answer.
            GreenRelayError, ValueError, TypeError: what has been raised there.
        """
        peer = self._peers.of(pid)
        if peer is None:
            raise ProcessDown(pid, NOCONNECTION)
        number = next(self._numbers)
        result: AsyncResult[Any] = AsyncResult()
        self._waiting[number] = peer, result
        try:
            question = encode(operations.Ask(number, verb, [pid, *args]))
            deadline = time.monotonic() + ANSWER_SECONDS
            while not result.ready() and time.monotonic() < deadline:
                peer.send(question)
                result.wait(REPEAT_SECONDS)
        finally:
            del self._waiting[number]
        answer = result.value
        if not isinstance(answer, operations.Answer):
            raise ProcessDown(pid, NOCONNECTION)
        value = unpack(answer.value)
        if answer.error is None:
            return value
        raise _ERRORS.get(answer.error, GreenRelayError)(*value)

    def on_answer(self, peer: Peer, answer: operations.Answer) -> None:
        """Wake who has asked; `None` comes to those whose node is lost."""
        asked, result = self._waiting.get(answer.number, (None, None))
        if asked is peer and result is not None:
            result.set(answer)

    def on_ask(self, peer: Peer, question: operations.Ask) -> None:
        """Find the answer in a greenlet of its own: it may have to wait."""
        pid = question.args[0] if question.args else None
        if not isinstance(pid, PID) or pid.node != self._node.name:
            raise BadOperation(f"a question about {pid!r:.80}, which does not live here")
        answered = self._answered.setdefault(peer, {})
        if question.number not in answered:
            answered[question.number] = None
            if len(answered) > MAX_KEPT_ANSWERS:
                del answered[next(iter(answered))]
            gevent.spawn_raw(self._answer, peer, question)
        elif (answer := answered[question.number]) is not None:
            peer.send(answer)

    def _answer(self, peer: Peer, question: operations.Ask) -> None:
        number, verb, (pid, *args) = question
        error: str | None = None
        try:
            value = pack(anywhere.answer(self._node, verb, pid, *args), verb)
        except (NameTaken, ProcessDown) as refusal:
            error = type(refusal).__name__
            value = pack(list(vars(refusal).values()))
        except Exception as failure:  # whatever it is, it is the asker's to see
            error = type(failure).__name__
            value = pack([str(failure)])
        answer = encode(operations.Answer(number, error, value))
        peer.send(answer)
        answered = self._answered.get(peer, {})
        if number in answered:
            answered[number] = answer

    def lose(self, peer: Peer) -> None:
        """Have nobody wait for a member that is gone."""
        self._answered.pop(peer, None)
        for asked, result in list(self._waiting.values()):
            if asked is peer:
                result.set(None)
