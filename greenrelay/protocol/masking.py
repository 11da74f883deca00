"""XOR masking of WebSocket payloads (RFC 6455 §5.3), the library `websockets`'.

`apply_mask` is its C function (1 µs for 64 KiB) if that was built on this machine, else its
Python one, which uses big integers. `websockets.frames` chooses alike, but gives no name away.
"""

from __future__ import annotations

from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # it ships its extension for common platforms only
    from websockets.utils import apply_mask

__all__ = ["MASK_BYTES", "apply_mask"]

MASK_BYTES: Final = 4
