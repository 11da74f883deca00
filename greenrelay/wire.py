"""Names and numbers that other programs see: headers, topics, codes, defaults.

Two rules: nothing here is computed, and every number has its source or reason.
"""

from __future__ import annotations

from typing import Final

# Response headers by which a view asks for a relay.
WS_RELAY_HEADER: Final = "X-WS-Relay"
SSE_RELAY_HEADER: Final = "X-SSE-Relay"

# Topics a connection sends to its target.
WS_JOIN: Final = "ws.join"
WS_LEAVE: Final = "ws.leave"
WS_HEARTBEAT: Final = "ws.heartbeat"
WS_MESSAGE: Final = "ws.message"

# Topics a connection obeys instead of forwarding.
WS_SEND: Final = "ws.send"
WS_CLOSE: Final = "ws.close"
WS_CONTROL: Final = "ws.control"

# The same for event streams.
SSE_JOIN: Final = "sse.join"
SSE_LEAVE: Final = "sse.leave"
SSE_HEARTBEAT: Final = "sse.heartbeat"
SSE_MESSAGE: Final = "sse.message"
SSE_CONTROL: Final = "sse.control"
SSE_CLOSE: Final = "sse.close"
SSE_RESERVED: Final = frozenset({SSE_JOIN, SSE_LEAVE, SSE_HEARTBEAT, SSE_CONTROL, SSE_CLOSE})
"""Topics that are never forwarded, whatever the filter says."""

# Events that an event stream sends on its own account.
SSE_READY: Final = "ready"
SSE_DONE: Final = "done"

# Topics of what watchers of a process group are told.
GROUP_STATE: Final = "group.state"
GROUP_JOIN: Final = "group.join"
GROUP_LEAVE: Final = "group.leave"

# Hosts in the PIDs of connections, and the default one of processes.
HOST_PROCESS: Final = "proc"
HOST_WEBSOCKET: Final = "ws"
HOST_EVENT_STREAM: Final = "sse"

# Exit reasons. The first five are Erlang's; the rest say who asked, or how a connection ended.
NORMAL: Final = "normal"
SHUTDOWN: Final = "shutdown"
KILLED: Final = "killed"
NOPROC: Final = "noproc"
NOCONNECTION: Final = "noconnection"
CANCELLED: Final = "cancelled"
CONNECTION_LOST: Final = "connection_lost"
PROTOCOL_ERROR: Final = "protocol_error"
MESSAGE_TOO_BIG: Final = "message_too_big"
SLOW_CONSUMER: Final = "slow_consumer"
PING_TIMEOUT: Final = "ping_timeout"
IDLE_TIMEOUT: Final = "idle_timeout"
HARD_TIMEOUT: Final = "hard_timeout"
RATE_LIMITED: Final = "rate_limited"

# A leave that is no end: the connection moved to another target.
TRANSFERRED: Final = "transferred"

# Close codes. Source: RFC 6455 §7.4.1 and the IANA WebSocket Close Code registry.
CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_NO_STATUS: Final = 1005
CLOSE_ABNORMAL: Final = 1006
CLOSE_INVALID_DATA: Final = 1007
CLOSE_POLICY: Final = 1008
CLOSE_TOO_BIG: Final = 1009
CLOSE_INTERNAL_ERROR: Final = 1011
CLOSE_SERVICE_RESTART: Final = 1012
CLOSE_TRY_AGAIN: Final = 1013

# Texts in close frames that clients may match on.
TARGET_EXITED: Final = "target process exited"
TARGET_FAILED: Final = "target process failed"

# A control frame holds 125 bytes, two of them the code. Source: RFC 6455 §5.5.
MAX_CLOSE_REASON_BYTES: Final = 123

# Seconds without progress until a closing peer is cut off; seconds in all.
CLOSE_TIMEOUT_SECONDS: Final = 5.0
MAX_CLOSE_SECONDS: Final = 60.0  # as long as common proxies wait for a client that reads slowly

# Limits and their defaults; 0 is off.
MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_BACKLOG_BYTES: Final = 1024 * 1024
# Control frames may exceed a backlog from which messages are dropped by so much: 500 large pongs.
CONTROL_BACKLOG_BYTES: Final = 64 * 1024
PING_INTERVAL_SECONDS: Final = (
    25.0  # below the 30 s after which mobile carriers drop idle NAT entries
)
PING_INTERVALS_UNTIL_GONE: Final = 2
SSE_HEARTBEAT_SECONDS: Final = 30.0  # half of the 60 s after which common proxies give up
MAX_MAILBOX_MESSAGES: Final = 10_000
MAX_MAILBOX_BYTES: Final = 16 * 1024 * 1024  # of clients' text and bytes: 16 whole messages

# The most that one read takes, of whatever is read piece by piece: frames, bodies, what a client
# still sends. Of a busy connection it is one turn, and a message of 64 KiB has to fit with its
# header; to all others a KiB more or less makes no difference.
READ_BYTES: Final = 65 * 1024
# One read of a connection whose last one was short: allocating 64 KiB for 40 bytes
# costs 0.7 µs, a fifth of the read.
SHORT_READ_BYTES: Final = 4 * 1024

# What one connection may have parsed before it is the next one's turn; the rest of its read is
# kept meanwhile. Each frame counts so many bytes beside what it hands out: a read of 65 KiB can
# hold 11,000 empty ones, 30 ms for one connection and more than a second for forty, or sixty
# compressed messages of 1 MiB. 32 small frames take 0.1 to 0.2 ms, so forty who flood stay below
# the 10 ms that nobody notices.
TURN_BYTES: Final = 64 * 1024
FRAME_COST_BYTES: Final = 2 * 1024
# So long after the loop has looked at its sockets the next one may still wait: a client that
# sends alone, a hundred messages at once, is not kept waiting for nobody (it cost 20 %).
TURN_SECONDS: Final = 0.001

# The server's guards around a request head.
HEAD_TIMEOUT_SECONDS: Final = 10.0
MAX_HEAD_BYTES: Final = 64 * 1024
BODY_TIMEOUT_SECONDS: Final = 30.0  # without a byte; a phone between two cells is silent so long
WRITE_TIMEOUT_SECONDS: Final = 30.0  # without a byte taken by the client
KEEP_ALIVE_SECONDS: Final = 75.0  # longer than the 60 s for which common proxies keep a connection
DRAIN_SECONDS: Final = 10.0
RETRY_AFTER_SECONDS: Final = 5  # what a client that was refused for lack of room is told
