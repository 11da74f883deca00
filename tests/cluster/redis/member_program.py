"""A member in an interpreter of its own: `member_program.py NODE URL`; it tells what it is told.

One JSON list a line: `["joined", incarnation]`, `["up", node]`, `["lost", node]`, `["isolated"]`,
`["bytes", text]`. It claims the name that is its node's, and ends when its standard input does.
"""

import json
import secrets
import sys

import gevent
import gevent.fileobject

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis import open_redis


def tell(*words):
    print(json.dumps(words), flush=True)


class Teller:
    def __init__(self, node):
        self.node = node

    def on_up(self, member):
        tell("up", member.node)

    def on_bytes(self, member, data):
        tell("bytes", data.decode())

    def on_lost(self, member):
        tell("lost", member.node)

    def on_isolated(self):
        tell("isolated")
        return Member(self.node, secrets.token_urlsafe(12))

    def on_maybe_lost(self, what, count):
        tell("maybe lost", what, count)

    def on_refused(self, what, count):
        tell("refused", what, count)


def main():
    node, url = sys.argv[1:]
    backend = open_redis(url)
    me = Member(node, secrets.token_urlsafe(12))
    backend.start(me, Teller(node))
    backend.claim(node, f"proc@{node}/1")
    tell("joined", me.incarnation)
    gevent.fileobject.FileObject(sys.stdin, "rb").read()
    backend.stop()


if __name__ == "__main__":
    main()
