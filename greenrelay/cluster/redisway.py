"""The way of a client to the nodes that share a Redis: redis-py, in a thread and without gevent.

    [the thread] our channel ─► on_bytes ; events ─► a look ; the lease, refreshed by a third
    [any thread] publish ─► one round trip; nobody has heard it: the member is lost

It is a member as the nodes are, by the same keys and scripts. One that was declared lost, as its
machine slept or Redis was away for a lease, is a member again under another incarnation.

Rules: the roster and the lease are the thread's own. A publish may be tried again when its answer
is lost: envelopes are numbered, so it arrives once at most.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from greenrelay.cluster.backend import Member, Receiver
from greenrelay.cluster.redis_hearsay import LOOK_SECONDS, Hearsay
from greenrelay.cluster.redis_keys import Keys, write_bundle
from greenrelay.cluster.redis_roster import Roster
from greenrelay.cluster.redis_scripts import Scripts
from greenrelay.cluster.redis_urls import Login, RedisUrl, parse_redis_url
from greenrelay.cluster.urls import ClusterURL
from greenrelay.errors import ClusterError
from greenrelay.logs import log_now

log = logging.getLogger("greenrelay.cluster")

ANSWER_SECONDS: Final = 2.0
TURN_SECONDS: Final = 0.1
"""How long the thread listens before it looks whether something else is due."""
MAX_BACKOFF_SECONDS: Final = 2.0
_SEEDS: Final = 2**40


class RedisWay:
    """A client's way to nodes on several machines; see `Way`."""

    def __init__(self, where: ClusterURL) -> None:
        self.is_joined = False
        self.problem = ""
        self._url = parse_redis_url(where.text)
        self._keys = Keys(self._url.deployment)
        self._is_sharded = self._url.kind == "cluster"
        self._redis: Any = None
        self._hearing: Any = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._deadline = self._due = self._next_look = 0.0

    # -- for any thread --------------------------------------------------------------------

    def start(self, me: Member, receiver: Receiver) -> None:
        """Join; everybody who was there is up afterwards. Blocks.

        Raises:
            ClusterError: Redis is away, or refuses us.
        """
        self._receiver = receiver
        with self._told():
            self._redis = _connect(self._url)
            self._become(me)
            self._subscribe()
            self._join("")
        self._thread = threading.Thread(target=self._run, name="greenrelay client", daemon=True)
        self._thread.start()

    def publish(self, member: Member, data: bytes) -> bool:
        """Send bytes; `False`: nobody hears them, or Redis is away. Blocks for a round trip."""
        bundle = write_bundle(self._scripts.me, [data])
        try:
            return bool(self._redis.execute_command(self._verb, self._keys.channel(member), bundle))
        except (RedisError, OSError) as error:
            self._note(error)
            return False

    def pending(self, member: Member) -> int:
        """Return 0: what was published is out."""
        return 0

    def stop(self) -> None:
        """Leave. Blocks, for 2 s at most; idempotent."""
        self._is_stopping = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(ANSWER_SECONDS + 1.0)
        elif thread is None:
            self._let_go()

    def abandon(self) -> None:
        """In a child that was forked: redis-py leaves alone by itself what is the parent's."""
        self._is_stopping = True

    @property
    def _verb(self) -> str:
        return "SPUBLISH" if self._is_sharded else "PUBLISH"

    def _note(self, error: Exception) -> None:
        self.is_joined = False
        self.problem = f"Redis at {self._url.shown}: {' '.join(str(error).split())}"

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            self._note(error)
            self._let_go()
            raise ClusterError(f"can't join the cluster: {self.problem}") from None

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = 0.0
        while not self._is_stopping:
            try:
                if self._hearing is None:
                    self._subscribe()
                    self._receiver.on_maybe_lost("while the subscription was away", 1)
                    self._due, self._roster.version, self._hearsay.version = 0.0, "", -1
                self._turn()
                backoff = 0.0
            except Exception as error:  # the outermost: a bug of ours must not end the client
                if not isinstance(error, (RedisError, OSError)):
                    log_now(log, logging.ERROR, "a client's connections failed", exc_info=True)
                self._note(error)
                self._unsubscribe()
                backoff = min(MAX_BACKOFF_SECONDS, max(0.05, 2 * backoff))
                time.sleep(backoff * random.uniform(0.5, 1.0))
        with contextlib.suppress(RedisError, OSError):  # else our keys end with the lease
            self._redis.execute_command(*self._scripts.leave())
        self._let_go()

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            self._start_over()
        elif now >= self._due:
            self._refresh()
        self._take(self._next(min(TURN_SECONDS, max(0.0, self._due - time.monotonic()))))

    def _take(self, message: Any) -> None:
        if message is None or message["type"] not in ("message", "smessage"):
            return
        if message["channel"] == self._keys.events.encode():
            self._hearsay.on_event(message["data"])
        else:
            self._hearsay.on_message(message["data"])

    def _look_soon(self) -> None:
        self._due = min(self._due, self._next_look)

    # -- being a member --------------------------------------------------------------------

    def _become(self, me: Member) -> None:
        self._me = me
        verb: Any = self._verb
        seed = random.randrange(_SEEDS)
        self._scripts = Scripts(self._keys, me, self._url.lease, verb, seed)
        self._roster = Roster(me, self._receiver.on_up, self._receiver.on_lost, self._url.lease)
        self._hearsay = Hearsay(self._roster, self._receiver, self._look_soon, _go_on)

    def _join(self, instead_of: str) -> None:
        sent = time.monotonic()
        reply = self._redis.execute_command(*self._scripts.join(instead_of))
        if reply[0] != b"ok":
            raise ClusterError(f"can't join the cluster: {self._me.node} is taken")
        self._read(reply, sent)

    def _refresh(self) -> None:
        sent = time.monotonic()
        self._next_look = sent + LOOK_SECONDS
        self._hearsay.begin_look()
        known = "" if self._roster.has_missing else self._roster.version
        reply = self._redis.execute_command(*self._scripts.refresh(known, is_valid=True))
        if reply[0] == b"lost":
            self._start_over()
        else:
            self._read(reply, sent)

    def _read(self, reply: Any, sent: float) -> None:
        """Take what a script reports: a lease that begins when it was sent, and the members."""
        _, version, next_end, late, *changes = reply
        self._deadline = sent + self._url.lease
        self._due = min(sent + self._url.lease / 3, time.monotonic() + next_end / 1000 + 0.01)
        if changes:
            self._catch_up(int(version))
            self._hearsay.take(version.decode(), changes, time.monotonic())
        self._roster.lose_missing(time.monotonic())
        self._hearsay.end_look()
        self.is_joined = True
        for member in late:  # who finds a member's end frees its names
            while self._redis.execute_command(*self._scripts.free(member.decode())):
                pass

    def _catch_up(self, version: int) -> None:
        """Hear what was published before the news: a member's last words come before its loss."""
        end = time.monotonic() + LOOK_SECONDS
        while self._hearsay.version < version and time.monotonic() < end:
            self._take(self._next(LOOK_SECONDS))

    def _start_over(self) -> None:
        """Lose everybody, and come back as another member."""
        self.is_joined = False
        self._roster.lose_all()
        former = self._scripts.me
        self._unsubscribe()
        self._become(self._receiver.on_isolated())
        self._deadline = float("inf")  # until it has joined
        self._subscribe()
        self._join(former)

    def _subscribe(self) -> None:
        self._hearing = self._redis.pubsub()
        channels = (self._keys.events, self._keys.channel(self._me))
        if self._is_sharded:
            self._hearing.ssubscribe(*channels)
        else:
            self._hearing.subscribe(*channels)
        waiting, end = len(channels), time.monotonic() + ANSWER_SECONDS
        while waiting:
            message = self._next(TURN_SECONDS)
            waiting -= message is not None and message["type"].endswith("subscribe")
            if time.monotonic() > end:
                raise TimeoutError("no answer to a subscription")

    def _next(self, seconds: float) -> Any:
        if self._is_sharded:
            return self._hearing.get_sharded_message(timeout=seconds)
        return self._hearing.get_message(timeout=seconds)

    def _unsubscribe(self) -> None:
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            with contextlib.suppress(RedisError, OSError):
                hearing.close()

    def _let_go(self) -> None:
        self.is_joined = False
        self._unsubscribe()
        if self._redis is not None:
            with contextlib.suppress(RedisError, OSError):
                self._redis.close()


def _go_on() -> None:
    """Pause for nobody: the thread is our own."""


def _connect(url: RedisUrl) -> Any:
    """Return a client of redis-py that has reached its server."""
    options: dict[str, Any] = {
        **_login(url.login),
        **_tls(url),
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
    }
    if url.kind == "cluster":
        make_node: Any = ClusterNode  # without types, as what follows
        nodes = [make_node(host, port) for host, port in url.addresses]
        return RedisCluster(startup_nodes=nodes, **options)
    options |= {"db": url.db, "retry": Retry(ExponentialBackoff(0.5, 0.05), 2)}
    if url.kind == "sentinel":
        login = {**_login(url.sentinel_login), "socket_timeout": ANSWER_SECONDS}
        login["retry"] = Retry(NoBackoff(), 0)  # there are others to ask
        make_sentinel: Any = Sentinel
        sentinel = make_sentinel(list(url.addresses), sentinel_kwargs=login)
        client = sentinel.master_for(url.service, **options)
    else:
        host, port = url.addresses[0]
        client = redis.Redis(host=host, port=port, **options)
    client.ping()
    return client


def _login(login: Login) -> dict[str, Any]:
    return {"username": login.username, "password": login.password}


def _tls(url: RedisUrl) -> dict[str, Any]:
    tls = url.tls
    if tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_cert_reqs": "required" if tls.is_verified else "none",
        "ssl_check_hostname": tls.checks_hostname and tls.is_verified,
    }
