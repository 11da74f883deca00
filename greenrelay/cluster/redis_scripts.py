"""What Redis does in one step: members, their leases, and names.

The clock is Redis's own. Whoever comes, leaves or is lost makes the version one higher and is news:
`+ VERSION MEMBER` or `- VERSION MEMBER`. It is told on the events' channel, to which others may
publish, too, so members take it for a hint to refresh. A refresh answers with the news since the
version that the node knows, and costs the same with two nodes and with a thousand.

Every key lives no longer than the leases of those who keep it: nothing is left of nodes that died.
"""

from __future__ import annotations

from typing import Final, Literal

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_keys import Keys, write_member

LOST_KEPT_MS: Final = 600_000
"""So long the lost are remembered: a node that has not refreshed for longer is lost itself."""

REAP_AT_ONCE: Final = 100
"""A refresh declares so many lost at most; the next one goes on."""

NEWS_KEPT: Final = 1000
"""Who has missed more of them reads the lists."""

FREE_AT_ONCE: Final = 500
"""Names freed in one step, about a millisecond of Redis's time."""

YOUNG_MS: Final = 2000
"""Nodes take about so long to be back after Redis was started again."""

_COMMON_TEXT: Final = """
local MEMBERS, LOST, VERSION, NAMES, YOUNG, OWN, NEWS = unpack(KEYS)
local PUBLISH, EVENTS, SEED = ARGV[1], ARGV[2], ARGV[3]
local LEASE, ME = tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function keep(key, ms)
    if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
local function tell(sign, member)
    redis.call('SET', VERSION, SEED, 'NX')
    redis.call('INCR', VERSION)
    keep(VERSION, LEASE)
    local version = redis.call('GET', VERSION)
    local event = sign .. ' ' .. version .. ' ' .. member
    redis.call('ZADD', NEWS, version, event)
    redis.call('ZREMRANGEBYRANK', NEWS, 0, -1 - NEWS_KEPT)
    keep(NEWS, LEASE)
    redis.call(PUBLISH, EVENTS, event)
end
local function lose(member)
    redis.call('ZREM', MEMBERS, member)
    redis.call('ZADD', LOST, now, member)
    keep(LOST, LEASE)
    tell('-', member)
end
local function reap()
    local late = redis.call('ZRANGEBYSCORE', MEMBERS, '-inf', now, 'LIMIT', 0, REAP_AT_ONCE)
    for _, member in ipairs(late) do lose(member) end
    redis.call('ZREMRANGEBYSCORE', LOST, '-inf', now - LOST_KEPT_MS)
    return late
end
local function renew()
    redis.call('ZADD', MEMBERS, now + LEASE, ME)
    for i = 1, 4 do keep(KEYS[i], LEASE) end
    keep(OWN, 2 * LEASE)
end
local function report(known, late)
    local version = redis.call('GET', VERSION)
    local first = redis.call('ZRANGE', MEMBERS, 0, 0, 'WITHSCORES')
    local reply = {'ok', version, first[2] - now, late}
    if version == known then return reply end
    local missed = version - (tonumber(known) or version)
    if missed > 0 and missed <= redis.call('ZCARD', NEWS) then
        reply[5] = redis.call('ZRANGE', NEWS, -missed, -1)
    else
        reply[5] = redis.call('ZRANGE', MEMBERS, 0, -1)
        reply[6] = redis.call('ZRANGE', LOST, 0, -1)
    end
    return reply
end
"""
_COMMON: Final = (
    _COMMON_TEXT.replace("REAP_AT_ONCE", str(REAP_AT_ONCE))
    .replace("LOST_KEPT_MS", str(LOST_KEPT_MS))
    .replace("NEWS_KEPT", str(NEWS_KEPT))
)

_JOIN: Final = """
local node = string.match(ME, '^[^:]*:(.*)$')
for _, other in ipairs(redis.call('ZRANGE', MEMBERS, 0, -1)) do
    if other ~= ME and string.match(other, '^[^:]*:(.*)$') == node then
        local ends = tonumber(redis.call('ZSCORE', MEMBERS, other))
        if ends > now and other ~= ARGV[6] then return {'taken', other, ends - now, ends} end
        lose(other)
    end
end
tell('+', ME)
renew()
return report('', reap())
"""

_REFRESH: Final = """
local ends = redis.call('ZSCORE', MEMBERS, ME)
local known = ARGV[6]
if not ends then
    if ARGV[7] ~= '1' or redis.call('ZSCORE', LOST, ME) then return {'lost'} end
    if redis.call('EXISTS', VERSION) == 0 then redis.call('SET', YOUNG, 1, 'PX', YOUNG_MS) end
    tell('+', ME)
    known = 'lost data'
elseif tonumber(ends) <= now then
    lose(ME)
    return {'lost'}
end
renew()
local reply = report(known, reap())
if not ends then reply[1] = 'again' end
return reply
""".replace("YOUNG_MS", str(YOUNG_MS))

_LEAVE: Final = """
if redis.call('ZSCORE', MEMBERS, ME) then lose(ME) end
reap()
redis.call('DEL', OWN)
if redis.call('ZCARD', MEMBERS) == 0 then
    redis.call('DEL', MEMBERS, LOST, VERSION, NAMES, YOUNG, NEWS)
end
"""

_CLAIM: Final = """
local function is_up(member)
    local ends = redis.call('ZSCORE', MEMBERS, member)
    return ends and tonumber(ends) > now
end
if not is_up(ME) then return {'lost'} end
local name, pid = ARGV[6], ARGV[7]
local held = redis.call('HGET', NAMES, name)
if held then
    local member, holder = string.match(held, '^(%S+) (.*)$')
    if holder ~= pid and is_up(member) then return {'held', holder} end
elseif ARGV[8] ~= '1' and redis.call('EXISTS', YOUNG) == 1 then
    return {'wait'}
end
redis.call('HSET', NAMES, name, ME .. ' ' .. pid)
redis.call('SADD', OWN, name)
keep(NAMES, LEASE)
keep(OWN, 2 * LEASE)
return {'held', pid}
"""

_RELEASE: Final = """
local name, pid = ARGV[6], ARGV[7]
if redis.call('HGET', NAMES, name) == ME .. ' ' .. pid then redis.call('HDEL', NAMES, name) end
redis.call('SREM', OWN, name)
"""

_FREE: Final = """
local member = ARGV[6]
for _, name in ipairs(redis.call('SPOP', OWN, FREE_AT_ONCE)) do
    local held = redis.call('HGET', NAMES, name)
    if held and string.sub(held, 1, #member + 1) == member .. ' ' then
        redis.call('HDEL', NAMES, name)
    end
end
return redis.call('SCARD', OWN)
""".replace("FREE_AT_ONCE", str(FREE_AT_ONCE))


class Scripts:
    """The commands of one incarnation of one node.

    Args:
        keys: of the deployment.
        me: who refreshes, claims and leaves.
        lease: seconds.
        publish: the command by which scripts tell events.
        seed: the version's first number, another at each time, so that a Redis that has lost its
            data is not taken for one that has not.
    """

    def __init__(
        self,
        keys: Keys,
        me: Member,
        lease: float,
        publish: Literal["PUBLISH", "SPUBLISH"],
        seed: int,
    ) -> None:
        self.me: Final = write_member(me)
        self._keys = keys
        self._common = (publish, keys.events, str(seed), str(round(lease * 1000)), self.me)

    def join(self, instead_of: str = "") -> tuple[str, ...]:
        """Become a member, `instead_of` another one of the same name: `ok …` or `taken …`."""
        return self._make(_JOIN, instead_of)

    def refresh(self, version: str, is_valid: bool) -> tuple[str, ...]:
        """Keep the lease: `ok …`, `again …` (Redis had lost its data) or `lost`.

        Args:
            version: the last one known; the reply has the news since then, or the
                lists if that is too long ago.
            is_valid: our own clock says that the lease has not ended.
        """
        return self._make(_REFRESH, version, str(int(is_valid)))

    def leave(self) -> tuple[str, ...]:
        """Be no member any more; the last one takes the keys along."""
        return self._make(_LEAVE)

    def claim(self, name: str, pid: str, is_back: bool = False) -> tuple[str, ...]:
        """Take a name unless a member holds it.

        The reply: `held PID`; `lost`: we are no member; `wait`: Redis has lost its names a moment
        ago, and whoever held one may claim it first.

        Args:
            is_back: it was ours when Redis lost it.
        """
        return self._make(_CLAIM, name, pid, str(int(is_back)))

    def release(self, name: str, pid: str) -> tuple[str, ...]:
        """Give a name back, if it is still ours."""
        return self._make(_RELEASE, name, pid)

    def free(self, member: str) -> tuple[str, ...]:
        """Free some names of a member that is gone; the reply is how many are left."""
        return self._make(_FREE, member, owner=member)

    def _make(self, body: str, *args: str, owner: str = "") -> tuple[str, ...]:
        keys = self._keys
        own = keys.names_of(owner or self.me)
        shared = (keys.members, keys.lost, keys.version, keys.names, keys.young)
        # The text each time, not its hash: Redis may have been started anew, or be another one.
        return ("EVAL", _COMMON + body, "7", *shared, own, keys.news, *self._common, *args)
