// What a screen can do beyond being read. Reading works without it.
(() => {
  const main = () => document.getElementById("main");
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const types = (element) => element?.matches("input, textarea, select");
  const changed = (field) => "defaultValue" in field && field.value !== field.defaultValue;

  // What was answered is read, and what was written is gone on with, for so long: then the screen is worth more.
  const [readForMs, writtenForMs] = [30_000, 120_000];
  const touchedAt = new WeakMap();
  const touched = (form) => touchedAt.set(form, Date.now());
  const used = (form) => {
    const restsMs = Date.now() - (touchedAt.get(form) ?? 0);
    return form.querySelector("button:disabled")
      || (form.querySelector("output").textContent && restsMs < readForMs)
      || ([...form.elements].some(changed) && restsMs < writtenForMs);
  };
  document.addEventListener("input", (event) => {
    const form = event.target.closest("[data-post]");
    if (form) touched(form);
  });

  // Somebody is in the middle of something that a new screen would take away.
  const busy = () => types(document.activeElement) || document.querySelector("#main details[open]")
    || !getSelection().isCollapsed || [...document.querySelectorAll("[data-post]")].some(used);

  // The screen is asked for again while somebody looks at it.
  let asked = Date.now();
  const refresh = () => {
    asked = Date.now();
    main()?.dispatchEvent(new Event("refresh"));
  };
  setInterval(() => {
    const every = 1000 * Number(main()?.dataset.every || Infinity);
    if (!document.hidden && Date.now() - asked >= every && !busy()) refresh();
  }, 500);
  document.addEventListener("htmx:before:swap", (event) => { if (busy()) event.preventDefault(); });

  // Whoever speaks to the machine types letters unawares, so the keys can be switched off. Storage may be forbidden: then it
  // is for this screen alone.
  const keys = document.getElementById("keys");
  const [listens, kept] = [keys.querySelector("input"), "fulfil.keys"];
  try { listens.checked = localStorage.getItem(kept) !== "off"; } catch { /* They are on. */ }
  listens.addEventListener("change", () => {
    try { localStorage.setItem(kept, listens.checked ? "on" : "off"); } catch { /* As said. */ }
  });
  keys.hidden = false;

  // Keys: / finds, j and k go from row to row, g and a letter goes to a screen.
  let went = 0;
  document.addEventListener("keydown", (event) => {
    if (!listens.checked || event.ctrlKey || event.metaKey || event.altKey || types(event.target)) return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("input[type=search]").focus();
    } else if (event.key === "j" || event.key === "k") {
      const all = rows();
      const at = all.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      all[Math.max(0, Math.min(at, all.length - 1))]?.focus();
    } else if (event.key === "g") {
      went = Date.now();
    } else if (Date.now() - went < 1500) {
      went = 0;
      document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    button.dataset.label ??= button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      // Browsers lend the clipboard to safe addresses only.
      button.textContent = button.dataset.copy;
    }
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 3000);
  });

  // Actions are asked of the API.
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-post]");
    if (!form) return;
    event.preventDefault();
    const button = event.submitter ?? form.querySelector("button");
    // A button of its own address only looks.
    const address = button.getAttribute("formaction") ?? form.dataset.post;
    const grave = button.dataset.grave ?? form.dataset.grave;
    if (address === form.dataset.post && grave && !confirm(grave)) return;
    const said = form.querySelector("output");
    const say = (text, isGood) => {
      touched(form);
      said.textContent = text;
      said.className = isGood ? "good" : "bad";
    };
    button.disabled = true;
    say("…", true);
    try {
      const body = JSON.stringify(fields(form, button));
      let response;
      do {
        response = await fetch(address, {
          method: "POST", body, headers: { "content-type": "application/json", accept: "application/json" },
        });
        // A comparison goes on: it is asked for again.
      } while (response.status === 202 && address.endsWith("/verify"));
      const answer = await response.json().catch(() => ({}));
      const isGood = response.ok && !answer.different;
      say(told({ ...answer, errors: beside(form, answer.errors ?? []) }, response), isGood);
      if (response.status === 202) {
        setTimeout(() => {
          said.textContent = "";
          form.reset();
          // What is open or typed in holds the screen.
          form.closest("details")?.removeAttribute("open");
          if (form.contains(document.activeElement)) document.activeElement.blur();
          if (main().dataset.every) refresh(); else location.reload();
        }, 2000);
      }
    } catch (error) {
      say(`⚠ no answer (${error.message})`, false);
    } finally {
      button.disabled = false;
    }
  });

  // What is wrong with a field stands beside it, where there is room for that; the rest of it is left for the form.
  const beside = (form, errors) => {
    for (const room of form.querySelectorAll("[data-of]")) {
      const name = `/${room.dataset.of}`;
      const here = errors.filter(({ pointer }) => pointer === name || pointer.startsWith(`${name}/`));
      room.textContent = here.map(({ pointer, detail }) => `⚠ ${pointer.slice(name.length)} ${detail}`).join("\n");
      const field = [...form.elements].find((one) => [one.name, one.dataset.base64].includes(room.dataset.of));
      field.setAttribute("aria-invalid", String(here.length > 0));
      errors = errors.filter((error) => !here.includes(error));
    }
    return errors;
  };

  // What a form says; a text in base64, where somebody changed it.
  const fields = (form, button) => {
    const all = {};
    for (const field of form.elements) {
      if (!field.name || (field.type === "submit" && field !== button)) continue;
      if (field.type === "checkbox" && !field.checked) continue;
      if (!field.dataset.base64) {
        if (field.value !== "") all[field.name] = "json" in field.dataset ? JSON.parse(field.value) : field.value;
      } else if (changed(field)) {
        all[field.dataset.base64] = base64(new TextEncoder().encode(field.value));
      }
    }
    return all;
  };

  const base64 = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  };

  const told = (answer, response) => {
    if (!response.ok) {
      const errors = (answer.errors || []).map((error) => `${error.pointer} ${error.detail}`).join("; ");
      return `⚠ ${answer.detail || response.statusText} ${errors}`;
    }
    if ("different" in answer) {
      const keys = answer.differences.map((difference) => `${difference.table} ${difference.key}`).join(", ");
      return answer.different ? `⚠ ${answer.different} differ: ${keys}` : "✓ the two views say the same";
    }
    const reasons = (answer.reasons || []).map((reason) => `${reason.messages}: ${reason.code} ${reason.pointer} ${reason.detail}`);
    const asked = answer.reason ? `✓ asked for: ${answer.reason}` : "✓ asked for";
    return [answer.said ?? asked, ...reasons].join("; ");
  };
})();
