"""The relay: app.py binds it to the app, and views turn requests into connections with it."""

from greenrelay import GreenRelay

relay = GreenRelay()
