// Links in what people say. Only whole http and https addresses become links, and the text of a
// link is the address itself; everything else stays text. Nothing is ever parsed as markup.

// Quotes, angle brackets and whatever is invisible or turns the writing around end an address.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\p{C}]+/giu;

// Return `text` as a list for `replaceChildren`: strings, and an element for each link.
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutPunctuation(found);
    if (!isHarmless(address)) continue;
    parts.push(text.slice(end, index), link(address));
    end = index + address.length;
  }
  return [...parts, text.slice(end)];
}

// A full stop after an address ends the sentence, and a bracket what it was put in.
function withoutPunctuation(address) {
  const trimmed = address.replace(/[.,:;!?…*_~]+$/u, "");
  const isInBrackets = trimmed.endsWith(")") && !trimmed.includes("(");
  return isInBrackets ? withoutPunctuation(trimmed.slice(0, -1)) : trimmed;
}

// "https://your-bank.example@elsewhere.example" leads elsewhere: that is left as text.
function isHarmless(address) {
  try {
    const url = new URL(address);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password;
  } catch {
    return false; // no address at all
  }
}

function link(address) {
  const element = document.createElement("a");
  element.href = element.textContent = address;
  element.target = "_blank"; // who follows it stays in the room,
  element.rel = "noopener noreferrer nofollow"; // and the other page can't reach this one
  return element;
}
