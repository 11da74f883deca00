// The page "Live". Events are named after the topics that the server's processes send; their data
// is JSON. Text of other people only ever becomes `textContent`, never markup.

import { follow, followWhileVisible } from "./follow.js";

const $ = (id) => document.getElementById(id);

// ---- ticker

let values = [];

followWhileVisible($("ticker").dataset.events, {
  open: () => show("online", "Connected"),
  lost: () => show("waiting", "Reconnecting…"),
  "ticker.history": (history) => draw((values = history)),
  "ticker.value": (value) => draw((values = [...values, value].slice(-60))),
  "ticker.watching": (count) => ($("watching").textContent = count),
});

function draw(values) {
  const points = values.map((value, index) => `${index + 60 - values.length},${100 - value}`);
  $("value").textContent = values.at(-1).toFixed(2);
  $("curve").setAttribute("points", points.join(" "));
  $("area").setAttribute("points", [`${60 - values.length},100`, ...points, "59,100"].join(" "));
}

function show(state, words) {
  $("live").dataset.state = state;
  $("state").textContent = words;
}

// ---- job

$("start-job").onclick = async ({ target: button }) => {
  button.disabled = true;
  const answer = await fetch(button.dataset.action, { method: "POST" }).catch(() => undefined);
  if (!answer?.ok) return ended("The job could not be started.");
  const stream = follow((await answer.json()).events, {
    "job.progress"(progress) {
      step("job", progress);
      if (progress.done < progress.of) return;
      stream.close(); // or the browser would ask for it again
      ended("Done.");
    },
    lost(hasGivenUp) {
      if (hasGivenUp) ended("The job is gone: it ended while the connection was lost.");
      return hasGivenUp;
    },
  });
  function ended(words) {
    $("job-words").textContent = words;
    button.disabled = false;
  }
};

function step(name, { done, of }) {
  $(`${name}-bar`).value = done / of;
  $(`${name}-words`).textContent = `${done} of ${of}`;
}

// ---- export

$("start-export").onclick = ({ target: button }) => {
  button.disabled = true;
  const stream = follow(button.dataset.events, {
    "export.progress": (progress) => step("export", progress),
    "export.ready"({ name, text }) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      link.download = link.textContent = name;
      ended("Ready: ", link);
    },
    lost: () => ended("The export failed."), // a half-made one is not continued
  });
  function ended(...words) {
    stream.close();
    $("export-words").replaceChildren(...words);
    button.disabled = false;
    return true;
  }
};

// ---- notes

let notes;

function listen() {
  notes?.close();
  const name = encodeURIComponent($("name").value);
  notes = follow(`${$("notes").dataset.events}?name=${name}`, {
    "note.sent"({ from, text }) {
      const item = document.createElement("li");
      const who = document.createElement("b");
      who.textContent = from;
      item.append(who, ` ${text}`);
      $("inbox").prepend(item);
    },
  });
}

$("name").onchange = listen;
$("note").onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.action, { method: "POST", body }).catch(() => undefined);
  $("problem").textContent = answer?.ok ? "" : answer ? await answer.text() : "The server is away.";
  if (answer?.ok) form.elements.text.value = "";
};

listen();
