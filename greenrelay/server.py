"""The server class, under its public name: `from greenrelay.server import RelayServer`."""

from greenrelay.serving.server import RelayServer

__all__ = ["RelayServer"]
