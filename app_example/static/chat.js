// A room's page. Frames are {"topic": …, "data": …} both ways: `on` has a function for each topic
// that the server sends, `tell` sends one. Text of other people only ever becomes text in the page,
// never markup.

import { linked } from "./links.js";

const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 15_000;
const TELL_TYPING_EVERY = 2_000;
const SHOW_TYPING_FOR = 4_000;
const LINES_KEPT = 500;

const $ = (id) => document.getElementById(id);
const address = new URL($("room").dataset.socket, location.href);
address.protocol = address.protocol.replace("http", "ws"); // https becomes wss
const title = document.title;
const log = $("log");

let socket; // the current WebSocket
let me; // our nickname, as the server has tidied it
let lastSent = "";
let unread = 0;
let isAtEnd = true; // the newest line is in view
let attempts = 0; // since the room last welcomed us
let timer; // of the next attempt; undefined while there is a connection or nothing to wait for

const on = {
  "chat.welcome"({ nick, history }) {
    me = nick;
    attempts = 0;
    show("online", "Connected");
    history.forEach(addSaid);
    setTimeout(() => log.setAttribute("aria-live", "polite")); // don't read the history aloud
  },
  "chat.people"({ people }) {
    $("count").textContent = people.length;
    $("people").replaceChildren(...people.map((nick) => fill("person", nick)));
  },
  "chat.said": addSaid,
  "chat.joined": (line) => addNotice(line, "joined"),
  "chat.left": (line) => addNotice(line, "left"),
  "chat.typing": ({ nick }) => showTyping(nick),
  "chat.error"({ text }) {
    $("problem").textContent = text;
    $("text").value ||= lastSent;
  },
};

// ---- the connection

function tell(topic, data) {
  socket.send(JSON.stringify({ topic, data }));
}

function connect() {
  timer = undefined;
  socket = new WebSocket(address);
  socket.onmessage = (event) => {
    const { topic, data } = JSON.parse(event.data);
    on[topic]?.(data);
  };
  socket.onclose = ({ code, reason }) => {
    if (code >= 4000) return refused(reason);
    show("waiting", "Reconnecting…");
    timer = setTimeout(connect, nextWait());
  };
}

// Twice as long after every failure, and at random, so that a thousand pages that lost one server
// don't all come back in the same moment.
function nextWait() {
  const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts++);
  return wait * (0.5 + Math.random() / 2);
}

// A person is looking, or the network is back: don't sit out the rest of a long wait.
function hurry() {
  if (timer === undefined || document.hidden) return;
  clearTimeout(timer);
  connect();
}
addEventListener("online", hurry);
document.addEventListener("visibilitychange", hurry);

// The application closed the connection on purpose (codes from 4000 on): trying again won't help.
function refused(reason) {
  show("refused", "Not connected");
  const link = document.createElement("a");
  link.href = document.querySelector("a.button").href;
  link.textContent = "Choose another nickname";
  $("problem").replaceChildren(`${reason} `, link);
  $("text").disabled = true;
}

function show(state, words) {
  $("room").dataset.state = state;
  $("state").textContent = words;
}

// ---- the log

function addSaid(line) {
  addLine("said", line, linked(line.text));
}

function addNotice(line, words) {
  addLine("notice", line, [words]);
}

function addLine(template, { id, nick, at }, words) {
  hideTyping(nick);
  if ($(id)) return; // shown before the connection was lost
  const item = fill(template, nick);
  const time = item.querySelector("time");
  const before = $("lines").lastElementChild?.dataset.said;
  item.id = id;
  item.classList.toggle("follows", template === "said" && before === nick);
  item.querySelector(".words").replaceChildren(...words);
  time.dateTime = at;
  time.textContent = new Date(at).toLocaleTimeString([], { timeStyle: "short" });
  $("lines").append(item);
  if ($("lines").childElementCount > LINES_KEPT) $("lines").firstElementChild.remove();
  if (isAtEnd || nick === me) scrollToEnd();
  else $("newer").hidden = false;
  if (document.hidden) document.title = `(${++unread}) ${title}`;
}

// Return a copy of a template with somebody's name in it, in a colour of their own.
function fill(template, nick) {
  const item = $(template).content.firstElementChild.cloneNode(true);
  item.querySelector(".nick").textContent = nick;
  item.querySelector(".face")?.append([...nick][0].toUpperCase());
  let sum = 5381;
  for (const character of nick) sum = (sum * 33 + character.codePointAt(0)) % 9973;
  item.style.setProperty("--hue", (sum * 137.5) % 360); // the golden angle keeps hues apart
  if (template === "said") item.dataset.said = nick;
  item.classList.toggle("mine", nick === me);
  return item;
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
  $("newer").hidden = true;
}

$("newer").onclick = scrollToEnd;
log.onscroll = () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80; // pixels, about two lines
  if (isAtEnd) $("newer").hidden = true;
};
new ResizeObserver(() => isAtEnd && scrollToEnd()).observe(log); // a phone's keyboard came or went
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) [unread, document.title] = [0, title];
});

// ---- who is typing

const typing = new Map(); // nickname → the timer that takes it off again

function showTyping(nick) {
  clearTimeout(typing.get(nick));
  typing.set(nick, setTimeout(hideTyping, SHOW_TYPING_FOR, nick));
  drawTyping();
}

function hideTyping(nick) {
  clearTimeout(typing.get(nick));
  if (typing.delete(nick)) drawTyping();
}

function drawTyping() {
  const nicks = [...typing.keys()].map((nick) => `\u2068${nick}\u2069`); // each in its own direction
  const who = nicks.length > 2 ? `${nicks.length} people` : nicks.join(" and ");
  $("typing").textContent = who && `${who} ${nicks.length === 1 ? "is" : "are"} typing…`;
}

// ---- the form

let toldTypingAt = 0;

$("text").oninput = () => {
  $("problem").textContent = "";
  const isDue = Date.now() - toldTypingAt > TELL_TYPING_EVERY;
  if (!isDue || !isOnline() || !$("text").value.trim()) return;
  toldTypingAt = Date.now();
  tell("typing");
};

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !isOnline()) return; // what was typed stays there
  const [length, most] = [[...text].length, Number($("text").dataset.most)];
  if (length > most) {
    $("problem").textContent = `A message has at most ${most} characters, this one has ${length}.`;
    return;
  }
  tell("say", text);
  toldTypingAt = 0; // what was shown is over: the next key is told at once
  lastSent = text;
  $("text").value = "";
  $("text").focus();
};

function isOnline() {
  return $("room").dataset.state === "online";
}

$("invite").onclick = async () => {
  const link = location.origin + location.pathname; // without our nickname
  try {
    await navigator.clipboard.writeText(link);
    $("invite").textContent = "Copied";
    setTimeout(() => ($("invite").textContent = "Copy link"), 2000);
  } catch {
    prompt("The link to this room:", link); // no clipboard without https
  }
};

connect();
