// The entrance: which rooms have people in them, while you watch.

import { followWhileVisible } from "./follow.js";

const $ = (id) => document.getElementById(id);

followWhileVisible($("rooms").dataset.events, {
  lost() {
    $("rooms").hidden = true; // what it says may be wrong by now
  },
  "lobby.rooms"(rooms) {
    $("room-list").replaceChildren(...rooms.map(item));
    $("none").hidden = rooms.length > 0;
    $("rooms").hidden = false;
  },
});

function item({ name, people }) {
  const item = $("open-room").content.firstElementChild.cloneNode(true);
  const link = item.querySelector("a");
  link.href = `?${new URLSearchParams({ room: name })}`;
  link.onclick = choose;
  item.querySelector(".name").textContent = name;
  item.querySelector(".people").textContent = people === 1 ? "1 person" : `${people} people`;
  return item;
}

// Put the room's name into the form, and keep what has been typed there.
function choose(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a new tab
  event.preventDefault();
  $("room").value = event.currentTarget.querySelector(".name").textContent;
  $("nick").focus();
}
