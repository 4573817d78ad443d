// The form of a message: read into a payload, checked beside its fields, and sent to the API, which has the last word.
(() => {
  const form = document.getElementById("send");
  if (!form) return;
  const said = form.querySelector("output");
  const fields = () => [...form.elements].filter((field) => field.name);
  const named = (pointer) => fields().find((field) => field.name === pointer);
  said.textContent = "";

  const beside = (field, text) => {
    field.closest(".field").querySelector("[role=alert]").textContent = text && `⚠ ${text}`;
    field.setAttribute("aria-invalid", String(Boolean(text)));
  };

  const wrong = (field) => {
    if (field.value !== "" && field.dataset.pattern && !new RegExp(field.dataset.pattern, "u").test(field.value)) {
      return `does not match ${field.dataset.pattern}`;
    }
    return field.validity.valid ? "" : field.validationMessage;
  };

  // JSON whose whole numbers are as they were typed: a double would round those beyond 2^53.
  class Whole {
    constructor(text) { this.text = BigInt(text).toString(); }
  }
  const scalar = ({ value, dataset: { kind } }) => {
    if (kind === "integer" && /^-?\d+$/.test(value)) return new Whole(value);
    return kind ? JSON.parse(value) : value;
  };
  const json = (value) => {
    if (value instanceof Whole) return value.text;
    if (Array.isArray(value)) return `[${Array.from(value, (one) => json(one ?? null)).join()}]`;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    return `{${Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}:${json(part)}`).join()}}`;
  };

  const payload = () => {
    const data = {};
    for (const field of fields().filter((one) => one.value !== "")) {
      const steps = field.name.split("/").slice(1);
      const last = steps.pop();
      let place = data;
      steps.forEach((step, at) => {
        place[step] ??= /^\d+$/.test(steps[at + 1] ?? last) ? [] : {};
        place = place[step];
      });
      place[last] = scalar(field);
    }
    return data;
  };

  // The amount follows the lines, until somebody says another one.
  const [minor, set] = [named("/amount/minor"), new Set()];
  const sum = () => {
    if (!minor || set.has(minor)) return;
    const of = (at) => Number(named(`/lines/${at}/quantity`)?.value) * Number(named(`/lines/${at}/unit_price_minor`)?.value);
    let [at, all] = [0, 0];
    for (; named(`/lines/${at}/unit_price_minor`); at += 1) all += of(at);
    if (at > 0 && Number.isSafeInteger(all)) minor.value = all;
  };

  form.addEventListener("input", (event) => {
    set.add(event.target);
    sum();
    beside(event.target, wrong(event.target));
  });

  form.addEventListener("click", (event) => {
    const list = event.target.closest("[data-list]");
    if (!list) return;
    const items = [...list.querySelectorAll(":scope > fieldset")];
    const last = items[items.length - 1];
    if ("add" in event.target.dataset && items.length < Number(list.dataset.max)) {
      const more = last.cloneNode(true);
      more.querySelectorAll("[name]").forEach((field) => {
        field.name = field.name.replace(/\/\d+\//, `/${items.length}/`);
      });
      last.after(more);
    } else if ("less" in event.target.dataset && items.length > 1) {
      last.remove();
    }
    sum();
  });

  const told = (answer) => {
    const parts = [`✓ ${answer.topic}[${answer.partition}]@${answer.offset}`];
    if (named("/order_id")) {
      const link = document.createElement("a");
      [link.href, link.textContent] = [`/orders/${answer.key}`, "the order"];
      parts.push(" ", link);
    }
    said.className = "good";
    said.replaceChildren(...parts);
    // The next one is another order.
    const id = named("/order_id");
    if (id && !set.has(id) && /\.order\.created?\./.test(form.dataset.type)) id.value = crypto.randomUUID?.() ?? id.value;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fields().forEach((field) => beside(field, wrong(field)));
    said.className = "bad";
    const first = fields().find((field) => field.getAttribute("aria-invalid") === "true");
    if (first) {
      said.textContent = "⚠ not sent";
      first.focus();
      return;
    }
    const button = form.querySelector("button:not([type])");
    button.disabled = true;
    try {
      const response = await fetch("/send", {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json" },
        body: json({ type: form.dataset.type, data: payload() }),
      });
      const answer = await response.json().catch(() => ({}));
      if (response.ok) return told(answer);
      const rest = (answer.errors ?? []).filter(({ pointer, detail }) => {
        const field = named(pointer.replace(/^\/data/, ""));
        if (field) beside(field, detail);
        return !field;
      });
      said.textContent = `⚠ ${answer.detail ?? response.statusText} ${rest.map((one) => `${one.pointer} ${one.detail}`).join("; ")}`;
    } catch (error) {
      said.textContent = `⚠ no answer (${error.message})`;
    } finally {
      button.disabled = false;
    }
  });
})();
