"""The way into app_example: the list of rooms, pages that don't exist, what browsers may run."""

import re

import pytest

from app_example import chat, lobby, rules
from greenrelay import process
from tests.integration.browser import SECONDS, expect


@pytest.fixture
def open_page(example, new_page):
    """Open an address as somebody with a browser of their own."""

    def open_page(path="/", **options):
        page = new_page(**options)
        page.goto(example.url + path)
        return page

    return open_page


def rooms(page):
    return page.get_by_role("list", name="Open now").get_by_role("link")


def no_rooms(page):
    return page.get_by_text("No room yet.")


def test_entrance_shows_which_rooms_have_people_in_them(open_page):
    visitor = open_page()
    expect(no_rooms(visitor)).to_be_visible()
    ada = open_page("/rooms/tea?nick=Ada")
    expect(rooms(visitor)).to_have_text(["tea 1 person"])
    open_page("/rooms/tea?nick=Grace")
    open_page("/rooms/coffee?nick=Linus")
    expect(rooms(visitor)).to_have_text(["tea 2 people", "coffee 1 person"])
    ada.close()
    expect(rooms(visitor)).to_have_text(["coffee 1 person", "tea 1 person"])


def test_who_comes_later_sees_the_rooms_at_once(open_page):
    open_page("/rooms/pantry?nick=Ada")
    expect(rooms(open_page())).to_have_text(["pantry 1 person"])
    expect(rooms(open_page())).to_have_text(["pantry 1 person"])


def test_room_is_taken_off_the_list_with_its_last_visitor(open_page):
    visitor, ada = open_page(), open_page("/rooms/pier?nick=Ada")
    expect(rooms(visitor)).to_have_text(["pier 1 person"])
    ada.get_by_role("link", name="Leave").click()
    expect(no_rooms(visitor)).to_be_visible()


def test_choosing_a_room_keeps_the_nickname(open_page):
    visitor, _ = open_page(), open_page("/rooms/日本-tea?nick=Ada")
    visitor.get_by_label("Nickname").fill("Grace")
    rooms(visitor).click()
    expect(visitor.get_by_label("Room")).to_have_value("日本-tea")
    expect(visitor.get_by_label("Nickname")).to_be_focused()
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", level=1)).to_have_text("#日本-tea")


def test_choosing_a_room_works_in_a_new_tab(open_page):
    visitor, _ = open_page(), open_page("/rooms/tea?nick=Ada")
    with visitor.context.expect_page() as opened:
        rooms(visitor).click(modifiers=["ControlOrMeta"])
    expect(opened.value.get_by_label("Room")).to_have_value("tea")
    expect(opened.value.get_by_label("Nickname")).to_be_focused()


def test_list_is_hidden_while_nobody_knows_and_comes_back(example, open_page):
    visitor, _ = open_page(), open_page("/rooms/tea?nick=Ada")
    expect(rooms(visitor)).to_have_text(["tea 1 person"])
    example.stop()
    expect(rooms(visitor)).to_be_hidden()
    example.start(port=example.port)
    expect(rooms(visitor)).to_have_text(["tea 1 person"])


def test_page_that_does_not_exist_looks_like_the_others(example, open_page):
    page = open_page()
    assert page.goto(f"{example.url}/nothing/<b>here").status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    page.get_by_role("link", name="Go to the entrance").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Come in")


def test_other_errors_are_pages_too_and_keep_their_headers(example, open_page):
    answer = open_page().request.post(example.url)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert "<h1>Method Not Allowed</h1>" in answer.text()


def test_name_that_is_no_good_for_notes_is_replaced(open_page):
    page = open_page(f"/live/?name={'x' * 25}")
    expect(page.get_by_label("Your name")).to_have_value(re.compile(r"^Guest \d+$"))


INLINE = """() => new Promise(done => {
    addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "document.title = 'broken'";
    document.body.append(script);
})"""


@pytest.mark.parametrize("path", ["/", "/rooms/tea?nick=Ada", "/live/", "/nothing"])
def test_browsers_run_no_script_but_the_files(open_page, path):
    page = open_page(path)
    assert page.evaluate(INLINE) == "script-src-elem"
    assert page.title() != "broken"


# -- the lobby alone


def test_crashed_room_is_taken_off_the_list(in_process):
    def watch():
        news = process.listen("lobby.rooms")
        entrance = process.spawn(lobby.lobby)
        process.send(entrance, "sse.join")
        room = process.spawn(pretend_room)
        seen = [news.receive(SECONDS).payload for _ in range(2)]
        process.terminate(room)
        seen.append(news.receive(SECONDS).payload)
        return seen

    def pretend_room():
        process.group("rooms").join(meta={"name": "tea", "people": 3})
        process.inbox().receive()

    assert in_process(watch) == [[], [{"name": "tea", "people": 3}], []]


def test_room_says_how_many_are_in_it_until_it_is_empty(in_process):
    def visit():
        rooms, me = process.group("rooms"), {"client_pid": process.pid()}
        rooms.watch()
        news = process.inbox()
        news.receive(SECONDS)
        room = process.spawn(chat.room, "tea")
        process.send(room, "ws.join", {**me, "metadata": {"nick": "Ada"}})
        while (message := news.receive(SECONDS)).topic != "group.join":
            pass
        yield message.payload["meta"]
        process.send(room, "ws.leave", me)
        while news.receive(SECONDS).topic != "group.leave":
            pass
        yield rooms.details()
        process.cancel(room)

    assert in_process(lambda: list(visit())) == [{"name": "tea", "people": 1}, {}]


def test_lobby_ends_when_nobody_looks_and_when_it_is_asked_to(in_process):
    def look(pid):
        process.send(pid, "sse.join")
        process.listen("lobby.rooms").receive(SECONDS)

    def watch():
        entrance = process.spawn(lobby.lobby, monitor=True)
        process.spawn(look, entrance)
        yield process.events().receive(SECONDS).reason
        entrance = process.spawn(lobby.lobby, monitor=True)
        process.cancel(entrance)
        yield process.events().receive(SECONDS).reason

    assert in_process(lambda: list(watch())) == ["normal", "cancelled"]


def test_the_fullest_rooms_are_listed_first_and_empty_ones_not_at_all():
    open_rooms = [{"name": f"room-{number}", "people": number} for number in range(30)]
    listed = lobby.fullest(open_rooms)
    assert [room["people"] for room in listed] == list(range(29, 9, -1))


@pytest.mark.parametrize("name", ["tea-time", "日本", "हिन्दी", "ไทย", "İstanbul", "r2_d2"])
def test_room_can_be_named_in_any_script(name):
    assert rules.room_name(rules.room_name(name)) == rules.room_name(name)


@pytest.mark.parametrize("name", ["a/b", "a?b", "..", "<b>", "tea\u202e", "a\x00b", "🍵"])
def test_room_has_no_name_that_an_address_could_not_hold(name):
    with pytest.raises(rules.Refused, match="letters, digits, spaces and hyphens"):
        rules.room_name(name)
