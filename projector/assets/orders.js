// New orders do not move what is read: while somebody is further down or on a row, what stands there is brought up to date
// in place, and the rest waits to be asked for.
(() => {
  const main = () => document.getElementById("main");
  const list = () => document.getElementById("orders");
  const rows = (within) => [...within.querySelectorAll("#orders > tr")];
  const reads = () => list() && (list().getBoundingClientRect().top < 0 || list().contains(document.activeElement));
  let isAsked = false;

  const inPlace = (row, now) => {
    row.className = now.className;
    [...row.cells].forEach((cell, at) => {
      if (cell.className !== now.cells[at].className) cell.className = now.cells[at].className;
      if (cell.innerHTML !== now.cells[at].innerHTML) cell.replaceChildren(...now.cells[at].childNodes);
    });
  };

  // What this list would not show any more is not followed either, so it says so. Whatever is older than the last row of the
  // list as it is now may only have been pushed to the next page.
  const mark = (held, now) => {
    const last = rows(now).at(-1)?.querySelector("time").dateTime ?? "";
    const isPage = now.querySelector("a.more");
    const listed = new Set(rows(now).map((row) => row.id));
    for (const row of held) {
      const isGone = !listed.has(row.id);
      row.classList.toggle("gone", isGone);
      row.querySelector("[data-is=gone]")?.remove();
      if (!isGone) continue;
      const said = document.createElement("span");
      said.dataset.is = "gone";
      said.textContent = isPage && row.querySelector("time").dateTime < last ? " ⚠ not followed any more" : " ⚠ has changed";
      said.title = "The list as it is now does not show it here";
      row.cells[1].append(said);
    }
  };

  const hold = async () => {
    const response = await fetch(main().getAttribute("hx-get"), { headers: { accept: "text/html" } });
    if (!response.ok) return;
    const now = new DOMParser().parseFromString(await response.text(), "text/html");
    const known = new Map(rows(document).map((row) => [row.id, row]));
    let fresh = 0;
    mark(known.values(), now);
    for (const row of rows(now)) {
      if (known.has(row.id)) inPlace(known.get(row.id), row); else fresh += 1;
    }
    const [bar, all] = [document.getElementById("fresh"), fresh === rows(now).length];
    bar.hidden = fresh === 0;
    bar.querySelector("button").textContent = `${fresh}${all ? " or more" : ""} new ${fresh === 1 ? "order" : "orders"} — show`;
  };

  // Before whoever makes the whole screen new.
  document.addEventListener("refresh", (event) => {
    if (!reads() || isAsked) return;
    event.stopPropagation();
    hold().catch(() => { /* The next look is in two seconds. */ });
  }, true);

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#fresh")) return;
    scrollTo(0, 0);
    document.activeElement.blur();
    isAsked = true;
    main().dispatchEvent(new Event("refresh"));
    isAsked = false;
  });
})();
