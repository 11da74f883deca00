"""The lobby is a process too: it knows which rooms have people in them, and tells whoever looks.

It finds the rooms by a *group*, so that neither has to be there first, and has nothing that it
could lose: it is started by the first page that looks, and ends with the last.

    group "rooms"  the rooms with people in them, each with {"name": "tea-time", "people": 3}
    group "lobby"  the pages at the entrance
    lobby.rooms    the lobby to these pages: [{"name": "tea-time", "people": 3}, …]
"""

from contextlib import suppress

from greenrelay import ProcessDown, process

ROOMS_LISTED = 20


def lobby():
    """Be the lobby, for as long as somebody looks."""
    rooms, pages = process.group("rooms"), process.group("lobby")
    listed = fullest(rooms.details().values())
    for group in (rooms, pages):
        group.watch()
    for message in process.inbox():
        match message.topic, message.payload:
            case "sse.join", _:
                with suppress(ProcessDown):  # gone again already
                    pages.join(message.sender)
                process.send(message.sender, "lobby.rooms", listed)
            case "group.leave", {"group": "lobby"} if not pages.members():
                return
        if listed != (listed := fullest(rooms.details().values())):
            pages.broadcast("lobby.rooms", listed)


def fullest(rooms):
    """Return the rooms to list, the one with the most people first."""
    busy = [room for room in rooms if room["people"]]
    return sorted(busy, key=lambda room: (-room["people"], room["name"]))[:ROOMS_LISTED]
