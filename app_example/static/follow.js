// Event streams, for the pages that only listen.

const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 15_000;

// Open an event stream, and again whenever it is lost. A browser does that by itself where the
// network failed, but gives up for good where it got an answer such as 503 or 502: then we try.
// `on` has a function for each event; `on.open` and `on.lost` are told of the connection itself,
// and an `on.lost` that returns true doesn't want another try.
export function follow(url, on) {
  let source;
  let timer;
  let wait = FIRST_WAIT;
  const open = () => {
    source = new EventSource(url);
    for (const [topic, tell] of Object.entries(on)) {
      if (topic.includes(".")) source.addEventListener(topic, (event) => tell(JSON.parse(event.data)));
    }
    source.onopen = () => {
      wait = FIRST_WAIT;
      on.open?.();
    };
    source.onerror = () => {
      const hasGivenUp = source.readyState === EventSource.CLOSED;
      if (on.lost?.(hasGivenUp)) return close();
      if (!hasGivenUp) return;
      timer = setTimeout(open, wait * (0.5 + Math.random() / 2)); // not all pages at once
      wait = Math.min(LONGEST_WAIT, wait * 2);
    };
  };
  const close = () => {
    clearTimeout(timer);
    source.close();
  };
  open();
  return { close };
}

// The same, but only while somebody looks. Over HTTP/1.1 a browser has six connections to a site,
// for all of its tabs together: what is in the background had better not hold one.
export function followWhileVisible(url, on) {
  let stream;
  const look = () => {
    stream?.close();
    stream = document.hidden ? undefined : follow(url, on);
  };
  document.addEventListener("visibilitychange", look);
  look();
}
