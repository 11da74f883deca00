"""Connections as processes: bytes on one side, messages on the other."""
