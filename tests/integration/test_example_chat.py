"""The chat of app_example as two people see it: a real server, a real browser."""

import json

import pytest

from app_example import chat
from greenrelay import process
from tests.integration.browser import SECONDS, expect
from tests.integration.example import state


@pytest.fixture
def enter(example, new_page):
    """Walk in through the entrance, as anybody would."""

    def enter(room, nick, **options):
        page = new_page(**options)
        fill_in_entrance(page, example, room, nick)
        expect(state(page)).to_have_text("Connected")
        return page

    return enter


def fill_in_entrance(page, example, room, nick):
    page.goto(example.url)
    page.get_by_label("Room").fill(room)
    page.get_by_label("Nickname").fill(nick)
    page.get_by_role("button", name="Enter the room").click()


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def log(page):
    return page.get_by_role("log")


def said(page):
    return log(page).locator(".said .words")


def links(page):
    return said(page).get_by_role("link")


def typing(page):
    return page.locator("#typing")


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


HOSTILE = [
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "java\tscript:https://",
    "https:///",
    "http://[::1",
    "https://bank.example@evil.example/",
    "https://user:secret@evil.example",
    "xhttps://evil.example",
    "<a href=javascript:alert(1)>tea</a>",
]


def test_text_that_only_looks_like_a_link_stays_text(enter):
    ada, eve = enter("vault", "Ada"), enter("vault", "Eve")
    for text in HOSTILE:
        say(eve, text)
    expect(said(ada)).to_have_text([text.replace("\t", " ") for text in HOSTILE])
    expect(said(ada).locator("*")).to_have_count(0)


LINKS = {
    "see http://tea.example.": "http://tea.example",
    "(https://tea.example/green)": "https://tea.example/green",
    "https://tea.example/Tea_(meal), or": "https://tea.example/Tea_(meal)",
    "HTTPS://TEA.EXAMPLE?q=a&b=<c>": "HTTPS://TEA.EXAMPLE?q=a&b=",
    'https://tea.example/"onmouseover="alert(1)': "https://tea.example/",
    "https://tea.example/<img src=x onerror=alert(1)>": "https://tea.example/",
    "https://tea.example/\u202egnp.exe": "https://tea.example/",
    "לכאן https://tea.example/דף": "https://tea.example/דף",
}


def test_link_is_the_address_and_nothing_more(enter):
    ada, eve = enter("archive", "Ada"), enter("archive", "Eve")
    for text in LINKS:
        say(eve, text)
    expect(said(ada)).to_have_text(list(LINKS))
    expect(links(ada)).to_have_text(list(LINKS.values()))
    for link in links(ada).all():
        assert sorted(link.evaluate("a => a.getAttributeNames()")) == ["href", "rel", "target"]
        assert link.get_attribute("href") == link.text_content()


def test_page_behind_a_link_can_not_reach_back(example, enter):
    ada = enter("harbour", "Ada")
    say(ada, f"look: {example.url}/live/")
    with ada.context.expect_page() as opened:
        links(ada).click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Live")
    assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]
    expect(state(ada)).to_have_text("Connected")


def test_others_see_who_is_typing_until_it_is_said(enter):
    ada, grace, also_ada = enter("study", "Ada"), enter("study", "Grace"), enter("study", "Ada")
    ada.get_by_label("Message", exact=True).press_sequentially("Is the")
    expect(typing(grace)).to_have_text("\u2068Ada\u2069 is typing…")
    expect(typing(also_ada)).to_be_empty()
    say(ada, "Is the kettle on?")
    expect(said(grace)).to_have_text(["Is the kettle on?"])
    expect(typing(grace)).to_be_empty()


def test_others_see_who_types_again_at_once(enter):
    ada, grace = enter("pantry", "Ada"), enter("pantry", "Grace")
    ada.clock.install()
    ada.clock.pause_at("2100-01-01")
    say(ada, "Is the kettle on?")
    expect(said(grace)).to_have_text(["Is the kettle on?"])
    expect(typing(grace)).to_be_empty()
    ada.get_by_label("Message", exact=True).press_sequentially("Or")
    expect(typing(grace)).to_have_text("\u2068Ada\u2069 is typing…")


def test_who_stops_typing_is_not_shown_for_ever(example, enter, new_page):
    ada, grace = enter("den", "Ada"), new_page()
    grace.clock.install()
    grace.goto(f"{example.url}/rooms/den?nick=Grace")
    expect(state(grace)).to_have_text("Connected")
    ada.get_by_label("Message", exact=True).press_sequentially("Is the")
    expect(typing(grace)).to_have_text("\u2068Ada\u2069 is typing…")
    grace.clock.fast_forward("00:05")
    expect(typing(grace)).to_be_empty()


def test_a_message_that_is_too_long_is_explained_and_given_back(enter):
    ada = enter("stairs", "Ada")
    say(ada, "x" * 2000)
    problem = "A message has at most 500 characters, this one has 2000."
    expect(ada.get_by_role("alert")).to_have_text(problem)
    expect(ada.get_by_label("Message", exact=True)).to_have_value("x" * 2000)
    say(ada, "shorter")
    expect(said(ada)).to_have_text(["shorter"])
    expect(ada.get_by_role("alert")).to_be_hidden()


def test_the_entrance_says_what_is_wrong_with_a_nickname(example, new_page):
    page = new_page()
    fill_in_entrance(page, example, "tea", "   ")
    expect(page.get_by_role("alert")).to_have_text("A nickname can't be empty.")
    expect(page.get_by_label("Room")).to_have_value("tea")


def test_the_room_says_what_is_wrong_with_a_nickname(example, new_page):
    page = new_page()
    page.goto(f"{example.url}/rooms/tea?nick={'x' * 25}")
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


def test_a_phone_shows_the_whole_names_of_three_people(enter):
    size = {"width": 390, "height": 844}
    ada, *_ = [enter("lounge", nick, viewport=size) for nick in ("Ada", "Grace", "Linus")]
    expect(people(ada)).to_have_text(["Ada", "Grace", "Linus"])
    for person in people(ada).all():
        expect(person).to_be_in_viewport(ratio=1)


def test_pages_come_back_by_themselves_when_the_server_does(example, enter):
    ada, grace = enter("yard", "Ada"), enter("yard", "Grace")
    say(ada, "before")
    expect(said(grace)).to_have_text(["before"])
    example.stop()
    for page in (ada, grace):
        expect(state(page)).to_have_text("Reconnecting…")
    example.start(port=example.port)
    for page in (ada, grace):
        expect(state(page)).to_have_text("Connected")
    say(grace, "after")
    expect(said(ada)).to_have_text(["before", "after"])


# -- the room alone: another process talks to it, and no socket is needed


def join(room, nick):
    process.send(room, "ws.join", {"client_pid": process.pid(), "metadata": {"nick": nick}})


def say_frame(text):
    return json.dumps({"topic": "say", "data": text})


def test_a_room_remembers_the_last_fifty_messages(in_process):
    def talk():
        room, welcomes = process.spawn(chat.room, "tea"), process.listen("chat.welcome")
        join(room, "Ada")
        for number in range(60):
            process.send(room, "ws.message", say_frame(str(number)))
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


NONSENSE = {
    "binary": (b"\xff", "This room takes JSON only."),
    "plain text": ("hello", "This room takes JSON only."),
    "bottomless": ("[" * 16_000, "This room takes JSON only."),
    "a number": ("1e999", "This room understands say and typing."),
    "no topic": ("{}", "This room understands say and typing."),
    "another topic": ('{"topic": "ws.leave", "data": 1}', "This room understands say and typing."),
    "no text": ('{"topic": "say", "data": {}}', "This room takes text only."),
    "half a character": ('{"topic": "say", "data": "\\ud800"}', "This room takes text only."),
    "nothing": ('{"topic": "say", "data": " "}', "A message can't be empty."),
    "too much": (say_frame("x" * 501), "A message has at most 500 characters, this one has 501."),
}


@pytest.mark.parametrize(("frame", "problem"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_explained_and_the_room_goes_on(in_process, frame, problem):
    def talk():
        errors, said = process.listen("chat.error"), process.listen("chat.said")
        room = process.spawn(chat.room, "tea")
        join(room, "Ada")
        for payload in (frame, say_frame("hello")):
            process.send(room, "ws.message", payload)
        heard = errors.receive(SECONDS).payload["text"], said.receive(SECONDS).payload["text"]
        process.cancel(room)
        return heard

    assert in_process(talk) == (problem, "hello")
