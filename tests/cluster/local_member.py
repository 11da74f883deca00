"""A program: one member of a `local:` deployment, ordered about by lines of JSON on its input.

It prints a line of JSON for whatever its receiver is told, and for each order when it is done.
"""

import contextlib
import hashlib
import json
import os
import random
import secrets
import sys
import time

import gevent
from gevent.fileobject import FileObject

from greenrelay.cluster.backend import Member
from greenrelay.cluster.local import LocalBackend
from greenrelay.errors import ClusterError


def tell(what, **more):
    os.write(1, json.dumps({"what": what, **more}).encode() + b"\n")


class Program:
    """Receives, and obeys."""

    def __init__(self, node, options):
        self.me = Member(node, secrets.token_urlsafe(12))
        self.backend = LocalBackend(**options)
        self.members = {}
        self.lost = set()
        self.counts = {}
        self.digests = {}

    def on_up(self, member):
        self.members[member.node] = member
        self.counts[member.node] = 0
        self.digests[member.node] = hashlib.sha256()
        tell("up", node=member.node, incarnation=member.incarnation)

    def on_bytes(self, member, data):
        node = member.node
        self.counts[node] += 1
        if data[:1] == b"?":  # a ping
            self.backend.publish(member, b"!" + data[1:])
        elif data[:1] != b"!":
            self.digests[node].update(data)
        if data == b"end":
            tell("end", node=node, count=self.counts[node], digest=self.digests[node].hexdigest())

    def on_lost(self, member):
        self.members.pop(member.node, None)
        self.lost.add(member.incarnation)
        tell("lost", node=member.node, incarnation=member.incarnation)

    def on_isolated(self):
        self.me = Member(self.me.node, secrets.token_urlsafe(12))
        tell("isolated", incarnation=self.me.incarnation, up=list(self.members))
        return self.me

    def on_maybe_lost(self, what, count):
        tell("maybe_lost", text=what, count=count)

    def on_refused(self, what, count):
        tell("refused", text=what, count=count)

    # -- orders -----------------------------------------------------------------

    def send(self, node, count, seed, sizes):
        """Publish so many, made by dice of a seed, and an end."""
        dice, digest = random.Random(seed), hashlib.sha256()
        for _ in range(count):
            data = b"x" + dice.randbytes(dice.choice(sizes))
            digest.update(data)
            while not self.backend.publish(self.members[node], data):
                gevent.sleep(0.001)
            if self.backend.pending(self.members[node]) > 1 << 20:
                gevent.sleep(0)
        digest.update(b"end")
        while not self.backend.publish(self.members[node], b"end"):
            gevent.sleep(0.001)
        return digest.hexdigest()

    def fill(self, node, size, most):
        """Publish until it is refused, or so often; return how many were taken."""
        data, taken = b"x" * size, 0
        while taken < most and self.backend.publish(self.members[node], data):
            taken += 1
        return taken

    def claim(self, name, pid):
        return self.backend.claim(name, pid)

    def release(self, name, pid):
        self.backend.release(name, pid)

    def race(self, folder, names, rounds, seed):
        """Claim and release at random; a link to our incarnation stands for each name we hold.

        Returns:
            How often a name was held.
        """
        dice, held = random.Random(seed), 0
        for number in range(rounds):
            name, pid = f"name{dice.randrange(names)}", f"proc@{self.me.node}/{number}"
            me = self.me.incarnation
            try:
                holder = self.backend.claim(name, pid)
            except ClusterError:  # it has just woken up, and another stands still
                continue
            if holder == pid and self.hold(os.path.join(folder, name), me):
                held += 1
                gevent.sleep(dice.choice([0, 0, 0.001]))
                self.let_go(os.path.join(folder, name), me)
                self.backend.release(name, pid)
            if not number % 10:
                gevent.sleep(0)
        return held

    def hold(self, path, me):
        """Put up our link; another's must be of one that is lost, or we are."""
        while me == self.me.incarnation:
            try:
                os.symlink(me, path)
                return True
            except FileExistsError:
                other = os.readlink(path)
            end = time.monotonic() + 2
            while other not in self.lost and me == self.me.incarnation:
                if time.monotonic() > end:
                    tell("double", path=path, me=me, other=other)
                    return False
                gevent.sleep(0.01)
            self.let_go(path, other)
        return False

    def let_go(self, path, incarnation):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(path) == incarnation:
                os.unlink(path)

    def fork(self, seconds):
        """Have a child that lives so long; return what it can do with its parent's backend."""
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            return os.read(reader, 1000).decode()
        member = next(iter(self.members.values()))
        can = [self.backend.publish(member, b"from the child")]
        try:
            can.append(self.backend.claim("child", "proc@child/1"))
        except ClusterError as error:
            can.append(type(error).__name__)
        os.write(writer, json.dumps(can).encode())
        for fd in (0, 1, 2, writer):
            os.close(fd)
        gevent.sleep(seconds)
        os._exit(0)

    def stop(self):
        self.backend.stop()

    def run(self):
        try:
            self.backend.start(self.me, self)
        except ClusterError as error:
            tell("refused", text=str(error))
            return
        tell("joined", incarnation=self.me.incarnation)
        for line in FileObject(0, "r"):
            verb, *arguments = json.loads(line)
            gevent.spawn(self.obey, verb, arguments)
            if verb == "stop":
                gevent.sleep(3)

    def obey(self, verb, arguments):
        value = getattr(self, verb)(*arguments)
        tell("done", verb=verb, value=value)
        if verb == "stop":
            os._exit(0)


Program(sys.argv[1], json.loads(sys.argv[2])).run()
