"""Processes as Erlang has them, on gevent."""
