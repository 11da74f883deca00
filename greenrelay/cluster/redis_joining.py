"""How a node becomes a member when its name may still be another member's.

The other one is dead, and its lease has not ended yet: nobody hears its channel, and we take its
place at once. It is away or hung: its lease ends, and then we take its place. It lives: two nodes
were given one name, and the later one can't join.
"""

from __future__ import annotations

from typing import Any, Final

import gevent

from greenrelay.cluster.redis_control import Control
from greenrelay.cluster.redis_keys import read_member
from greenrelay.cluster.redis_stay import Site, Stay, is_heard
from greenrelay.errors import ClusterError

ANSWER_SECONDS: Final = 5.0
"""Redis, and a subscription, have so long when a node joins."""

LOOKS: Final = 20
"""So often in a lease it is looked at whether the other one lives."""


def join(site: Site, control: Control, stay: Stay, instead_of: str) -> tuple[Any, float]:
    """Become a member; return the script's report, and when it was asked for. Switches: yes.

    Args:
        instead_of: the text of a member of our name that is us, and lost; or empty.

    Raises:
        ClusterError: why not, in one line.
    """
    stay.wait(ANSWER_SECONDS)
    ends = None
    while True:
        reply, sent = control.ask_when(stay.scripts.join(instead_of), ANSWER_SECONDS)
        if reply[0] != b"taken":
            return reply, sent
        other = read_member(reply[1].decode())
        if ends is not None and reply[3] > ends:
            raise ClusterError(
                f"{site.url.shown}: a node named {other.node!r} is a member already; "
                f"give each node a name of its own"
            )
        ends = reply[3]
        if not is_heard(site, other):
            instead_of = reply[1].decode()
        else:
            gevent.sleep(min(site.url.lease / LOOKS, reply[2] / 1000 + 0.01))
