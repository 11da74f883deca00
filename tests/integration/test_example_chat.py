"""The chat of app_example as two people see it: a real server, a real browser."""

import pytest

from app_example import chat
from greenrelay import process
from tests.integration.browser import SECONDS, chromium, expect
from tests.integration.example import ExampleServer


@pytest.fixture(scope="module")
def server():
    with ExampleServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def new_page(browser):
    """Open pages as if by different people, each with a browser of their own."""
    contexts = []

    def new_page(**options):
        contexts.append(browser.new_context(**options))
        return contexts[-1].new_page()

    yield new_page
    for context in contexts:
        context.close()


@pytest.fixture
def enter(server, new_page):
    """Walk in through the entrance, as anybody would."""

    def enter(room, nick, **options):
        page = new_page(**options)
        fill_in_entrance(page, server, room, nick)
        expect(state(page)).to_have_text("Connected")
        return page

    return enter


def fill_in_entrance(page, server, room, nick):
    page.goto(server.url)
    page.get_by_label("Room").fill(room)
    page.get_by_label("Nickname").fill(nick)
    page.get_by_role("button", name="Enter the room").click()


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def state(page):
    return page.get_by_role("status")


def log(page):
    return page.get_by_role("log")


def said(page):
    return log(page).locator(".said .words")


def people(page):
    return page.get_by_role("list", name="People").get_by_role("listitem").locator("b")


def test_two_people_see_what_each_other_says(enter):
    ada, grace = enter("tea", "Ada"), enter("tea", "Grace")
    say(ada, "Is the kettle on?")
    expect(said(grace)).to_have_text(["Is the kettle on?"])
    say(grace, "Just now.")
    expect(said(ada)).to_have_text(["Is the kettle on?", "Just now."])
    expect(log(ada).locator(".said:not(.mine) .nick")).to_have_text(["Grace"])


def test_rooms_are_apart(enter):
    ada, grace = enter("kitchen", "Ada"), enter("garden", "Grace")
    say(ada, "in the kitchen")
    say(grace, "in the garden")
    expect(said(ada)).to_have_text(["in the kitchen"])
    expect(said(grace)).to_have_text(["in the garden"])


def test_everybody_sees_who_is_here(enter):
    ada, grace = enter("hall", "Ada"), enter("hall", "Grace")
    for page in (ada, grace):
        expect(people(page)).to_have_text(["Ada", "Grace"])
    expect(log(ada)).to_contain_text("Grace joined")


def test_who_leaves_is_taken_off_the_list(enter):
    ada, grace = enter("porch", "Ada"), enter("porch", "Grace")
    expect(people(ada)).to_have_text(["Ada", "Grace"])
    grace.get_by_role("link", name="Leave").click()
    expect(people(ada)).to_have_text(["Ada"])
    expect(log(ada)).to_contain_text("Grace left")


def test_one_nickname_at_two_screens_is_one_person(enter):
    desk, phone, grace = enter("attic", "Ada"), enter("attic", "Ada"), enter("attic", "Grace")
    phone.close()
    desk.get_by_role("link", name="Leave").click()
    expect(people(grace)).to_have_text(["Grace"])
    expect(log(grace).get_by_text("left")).to_have_count(1)


def test_a_newcomer_is_shown_what_was_said_before(enter):
    ada = enter("library", "Ada")
    say(ada, "first")
    say(ada, "second")
    expect(said(ada)).to_have_text(["first", "second"])
    expect(said(enter("library", "Grace"))).to_have_text(["first", "second"])


def test_markup_is_shown_as_text(enter):
    ada, eve = enter("cellar", "Ada"), enter("cellar", "<i>Eve</i>")
    markup = "<img src=x onerror=\"document.title='broken'\">"
    say(eve, markup)
    expect(said(ada)).to_have_text([markup])
    expect(people(ada)).to_have_text(["<i>Eve</i>", "Ada"])
    expect(ada.get_by_role("main").locator("img, i")).to_have_count(0)


def test_a_message_that_is_too_long_is_explained_and_given_back(enter):
    ada = enter("stairs", "Ada")
    ada.get_by_label("Message", exact=True).evaluate("box => box.removeAttribute('maxlength')")
    say(ada, "x" * 501)
    problem = "A message has at most 500 characters, this one has 501."
    expect(ada.get_by_role("alert")).to_have_text(problem)
    expect(ada.get_by_label("Message", exact=True)).to_have_value("x" * 501)
    say(ada, "shorter")
    expect(said(ada)).to_have_text(["shorter"])


def test_the_entrance_says_what_is_wrong_with_a_nickname(server, new_page):
    page = new_page()
    fill_in_entrance(page, server, "tea", "   ")
    expect(page.get_by_role("alert")).to_have_text("A nickname can't be empty.")
    expect(page.get_by_label("Room")).to_have_value("tea")


def test_the_room_says_what_is_wrong_with_a_nickname(server, new_page):
    page = new_page()
    page.goto(f"{server.url}/rooms/tea?nick={'x' * 25}")
    expect(state(page)).to_have_text("Not connected")
    expect(page.get_by_role("alert")).to_contain_text("A nickname has at most 24 characters")
    page.get_by_role("link", name="Choose another nickname").click()
    expect(page.get_by_label("Room")).to_have_value("tea")


def test_a_phone_shows_it_all_without_scrolling_sideways(enter):
    ada = enter("a-room-with-quite-a-long-name-12", "Ada", viewport={"width": 360, "height": 640})
    say(ada, "w" * 200)
    expect(said(ada)).to_be_in_viewport()
    expect(ada.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    assert ada.evaluate("document.documentElement.scrollWidth") == 360


def test_pages_come_back_by_themselves_when_the_server_does(server, enter):
    ada, grace = enter("yard", "Ada"), enter("yard", "Grace")
    say(ada, "before")
    expect(said(grace)).to_have_text(["before"])
    server.stop()
    for page in (ada, grace):
        expect(state(page)).to_have_text("Reconnecting…")
    server.start(port=server.port)
    for page in (ada, grace):
        expect(state(page)).to_have_text("Connected")
    say(grace, "after")
    expect(said(ada)).to_have_text(["before", "after"])


# -- the room alone: another process talks to it, and no socket is needed


def join(room, nick):
    process.send(room, "ws.join", {"client_pid": process.pid(), "metadata": {"nick": nick}})


def test_a_room_remembers_the_last_fifty_messages(in_process):
    def talk():
        room, welcomes = process.spawn(chat.room, "tea"), process.listen("chat.welcome")
        join(room, "Ada")
        for number in range(60):
            process.send(room, "ws.message", str(number))
        join(room, "Ada")
        _, welcome = welcomes.receive(SECONDS), welcomes.receive(SECONDS)
        process.cancel(room)
        return [line["text"] for line in welcome.payload["history"]]

    assert in_process(talk) == [str(number) for number in range(10, 60)]


def test_a_room_ends_when_nobody_comes(in_process):
    def wait():
        process.spawn(chat.room, "tea", patience=0.01, monitor=True)
        return process.events().receive(SECONDS).reason

    assert in_process(wait) == "normal"


def test_a_binary_message_is_explained_and_the_room_goes_on(in_process):
    def talk():
        errors, said = process.listen("chat.error"), process.listen("chat.said")
        room = process.spawn(chat.room, "tea")
        join(room, "Ada")
        for payload in (b"\xff", "hello"):
            process.send(room, "ws.message", payload)
        heard = errors.receive(SECONDS).payload["text"], said.receive(SECONDS).payload["text"]
        process.cancel(room)
        return heard

    assert in_process(talk) == ("This room takes text only.", "hello")
