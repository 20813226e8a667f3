/* No page needs it. Runs before the page is painted. */
(() => {
  "use strict";
  const root = document.documentElement, $ = (css) => document.querySelector(css);
  const all = (css) => [...document.querySelectorAll(css)];
  const on = (name, act) => document.addEventListener(name, act);
  const kept = (name) => { try { return localStorage[name] || ""; } catch { return ""; } };
  const keep = (name, value) => { try { localStorage[name] = value; } catch { /* no */ } };
  const two = (number) => `${number}`.padStart(2, "0");
  const paint = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; };
  let local = kept("times");
  root.classList.add("js");
  paint(kept("theme"));

  const tell = () => {
    for (const one of all("time, [data-at]")) {
      const utc = one.dataset.utc ||= one.textContent, at = new Date(one.dateTime || one.dataset.at);
      const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map(two).join("-");
      const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
      if (/\d:\d\d$/.test(utc)) one.textContent = !local ? utc : utc.length < 9 ? clock.slice(0, utc.length) : `${day} ${clock}`;
    }
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const say = (css, text) => all(css).forEach((one) => { one.textContent = text; });
    say("[data-zone]", local ? zone : "UTC");
    say("[data-do=times]", local ? "Local" : "UTC");
    for (const one of all("[data-do=theme]")) one.title = `Theme: ${root.dataset.theme || "system"}`;
  };

  const acts = {
    theme() {
      const [system, other] = matchMedia("(prefers-color-scheme: dark)").matches ? ["dark", "light"] : ["light", "dark"];
      paint({ "": other, [other]: system }[kept("theme")]);
      keep("theme", root.dataset.theme || "");
      tell();
    },
    times() { local = local ? "" : "local"; keep("times", local); tell(); },
    keys() { $("#keys")?.showModal(); },
  };

  const here = () => document.activeElement.closest(".row");
  const step = (by) => {
    const rows = all(".row:has(a)"), next = rows[Math.max(0, rows.indexOf(here()) + by)];
    next?.querySelector("a").focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const keys = {
    "/": () => ($("#q") || $("#thing"))?.select(), j: () => step(1), k: () => step(-1), "?": acts.keys,
    x: () => here()?.querySelector("[type=checkbox]")?.click(),
  };

  on("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  on("click", async (event) => {
    const at = (css) => event.target.closest?.(css);
    acts[at("[data-do]")?.dataset.do]?.();
    const cell = event.altKey && at("button[name=in]"), copied = at("[data-copy]");
    if (cell) {
      event.preventDefault(); /* Alt saves */
      setTimeout(() => { cell.name = "out"; cell.form.requestSubmit(cell); cell.name = "in"; });
    }
    if (!copied || !navigator.clipboard) return;
    event.preventDefault();
    const said = copied.textContent;
    await navigator.clipboard.writeText(copied.dataset.copy || copied.href);
    copied.textContent = "Copied";
    setTimeout(() => { copied.textContent = said; }, 1200);
  });
  /* Suggestions keep what stands before. */
  on("input", ({ target }) => {
    const before = target.list && target.value.slice(0, target.value.lastIndexOf(" ") + 1);
    for (const one of target.list?.options || []) one.value = before + (one.dataset.term ||= one.value);
  });
  on("htmx:before:request", (event) => {
    if (document.hidden && event.target.closest?.("[data-poll]")) event.preventDefault();
  });
  on("htmx:after:swap", () => {
    for (const row of all("#live .row").slice(200)) row.remove();
    tell();
  });
  on("htmx:sse:error", ({ detail }) => { if (detail.status === 401) location.reload(); });
  on("ended", () => location.reload());
  on("DOMContentLoaded", tell);
})();
