// Events as they are told: newest first, drawn a few times a second, and held back while somebody pauses.
(() => {
  const body = document.getElementById("events");
  const [pause, said, spoken] = ["pause", "listening", "spoken"].map((id) => document.getElementById(id));
  const max = Number(body.dataset.max);
  const drawnEvery = 200;
  // A screen reader says all of it each time: what was switched at once, what is counted not with each event that comes.
  const spokenEveryMs = 5000;
  let spokenAt = 0;
  // Not drawn yet, oldest first.
  let waiting = [];
  let [more, missed, state] = [0, 0, "…"];
  let [isPaused, isLost] = [false, false];

  const short = (id) => id.slice(0, id[14] === "7" ? 13 : 8);
  const words = (type) => type.replace(/^fulfil\./, "").replace(/\.v\d+$/, "").replace(/[.-]/g, " ");

  const link = (address, text) => {
    const made = document.createElement("a");
    [made.href, made.textContent, made.dataset.row] = [address, text, ""];
    return made;
  };

  const row = (event) => {
    const made = document.getElementById("event").content.cloneNode(true).firstElementChild;
    const set = (name, text) => { made.querySelector(`[data-is=${name}]`).textContent = text ?? ""; };
    const time = made.querySelector("time");
    [time.textContent, time.dateTime, time.title] = [event.time.slice(11).replace("Z", ""), event.time, event.time];
    set("type", words(event.type));
    set("brief", event.brief);
    set("service", event.service);
    set("place", `${event.topic}[${event.partition}]@${event.offset}`);
    set("sequence", event.sequence);
    set("duplicate", event.duplicate ? "↻ again" : "");
    const about = made.querySelector("[data-is=about]");
    if (event.order_id) {
      const code = document.createElement("code");
      code.textContent = short(event.order_id);
      const to = link(`/orders/${event.order_id}`, "");
      to.title = event.order_id;
      to.append(code);
      about.append(to);
    } else if (event.sku) {
      about.append(link(`/orders?sku=${encodeURIComponent(event.sku)}`, event.sku));
    }
    return made;
  };

  const say = () => {
    const parts = [isPaused ? `paused, ${more} more` : state];
    if (missed) parts.push(`⚠ ${missed} came too fast to be told`);
    if (isLost) parts.push("⚠ the projector was started anew, and what it told before that is not all here");
    const text = parts.join(" · ");
    if (said.textContent !== text) said.textContent = text;
    if (spoken.textContent !== text && Date.now() - spokenAt >= spokenEveryMs) {
      spoken.textContent = text;
      spokenAt = Date.now();
    }
  };

  const draw = () => {
    if (!isPaused && waiting.length) {
      const made = document.createDocumentFragment();
      waiting.reverse().forEach((event) => made.append(row(event)));
      waiting = [];
      more = 0;
      // Whoever reads further down goes on reading there.
      const [top, before] = [body.getBoundingClientRect().top, document.documentElement.scrollHeight];
      body.prepend(made);
      const isRead = (gone) => gone.contains(document.activeElement);
      while (body.rows.length > max && !isRead(body.rows[body.rows.length - 1])) body.deleteRow(-1);
      if (top < 0) scrollBy(0, document.documentElement.scrollHeight - before);
    }
    say();
  };
  setInterval(draw, drawnEvery);

  pause.hidden = false;
  said.setAttribute("aria-hidden", "true");
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "go on" : "pause";
    spokenAt = 0;
    draw();
  });

  // The browser comes again by itself, and says after which event. Where it gives up, so late as the server asked.
  const listen = () => {
    const source = new EventSource(body.dataset.source);
    source.onopen = () => { state = "● follows"; };
    source.onmessage = (message) => {
      more += 1;
      waiting.push(JSON.parse(message.data));
      if (waiting.length > max) waiting.shift();
      body.dataset.last = message.lastEventId;
    };
    source.addEventListener("missed", (message) => { const gone = JSON.parse(message.data).missed;
      if (gone === null) isLost = true; else missed += gone; });
    source.onerror = () => {
      state = "⚠ not connected, tries again";
      if (source.readyState !== EventSource.CLOSED) return;
      const again = new URL(body.dataset.source, location);
      if (body.dataset.last) again.searchParams.set("after", body.dataset.last);
      body.dataset.source = again.pathname + again.search;
      setTimeout(listen, 5000);
    };
  };
  listen();
})();
