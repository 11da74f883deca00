"""The lobby is a process too: it knows which rooms have people in them, and tells whoever looks.

Rooms and lobby find each other by *groups*, so that neither has to be there first, and the lobby
has nothing that it could lose: it is started by the first page that looks, and ends with the last.

    lobby.opened  the lobby to the group "rooms", those with people; each answers with room.people
    room.people   a room to the group "lobby", whenever somebody has come or gone
    lobby.rooms   the lobby to the pages at the entrance: [{"name": "tea-time", "people": 3}, …]
"""

from greenrelay import Cancel, Exit, Message, process

ROOMS_LISTED = 20


def lobby():
    """Be the lobby, for as long as somebody looks."""
    rooms = {}  # PID of a room → what it said last, {"name": str, "people": int}
    looking, listed = set(), []
    inbox, events = process.inbox(), process.events()
    process.group("lobby").join()
    process.group("rooms").broadcast("lobby.opened")
    while True:
        _, news = process.select(events, inbox)
        match news:
            case Message(topic="sse.join", sender=page):
                looking.add(page)
                process.send(page, "lobby.rooms", listed)
            case Message(topic="sse.leave", sender=page):
                looking.discard(page)
                if not looking:
                    return
            case Message(topic="room.people", sender=room, payload=now):
                if room not in rooms:
                    process.monitor(room)
                rooms[room] = now
            case Exit(sender=room):  # it was empty for long, or has crashed, or its machine has
                rooms.pop(room, None)
            case Cancel():  # the server stops
                return
        if listed != (listed := fullest(rooms.values())):
            process.broadcast(looking, "lobby.rooms", listed)


def fullest(rooms):
    """Return the rooms to list, the one with the most people first."""
    busy = [room for room in rooms if room["people"]]
    return sorted(busy, key=lambda room: (-room["people"], room["name"]))[:ROOMS_LISTED]
