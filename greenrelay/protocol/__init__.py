"""No I/O and no clock: bytes and texts in, values out."""
