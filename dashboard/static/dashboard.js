/* Comfort: theme, local times, keys, copying. Every page works without it. Loaded before the page is painted. */
(() => {
  "use strict";
  const root = document.documentElement, $ = (css) => document.querySelector(css);
  const kept = (name) => { try { return localStorage.getItem(name) || ""; } catch { return ""; } };
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* then for this page only */ } };
  const two = (number) => String(number).padStart(2, "0");
  const setTheme = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; };
  root.classList.add("js");
  setTheme(kept("theme"));
  let local = kept("times") === "local";

  const tell = () => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone, theme = root.dataset.theme || "system";
    for (const one of document.querySelectorAll("time[datetime]")) {
      const utc = one.dataset.utc ||= one.textContent, at = new Date(one.dateTime);
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      if (!/\d:\d/.test(utc)) continue;
      one.textContent = !local ? utc : /^\d\d:/.test(utc) ? clock : `${day} ${clock}`;
    }
    for (const one of document.querySelectorAll("[data-zone]")) one.textContent = local ? zone : "UTC";
    for (const one of document.querySelectorAll("[data-do=theme]")) one.title = `Theme: ${theme}`;
    for (const one of document.querySelectorAll("[data-do=times]")) one.textContent = local ? "Local" : "UTC";
  };

  const acts = {
    theme() {
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const next = { "": dark ? "light" : "dark", [dark ? "light" : "dark"]: dark ? "dark" : "light" };
      setTheme(next[kept("theme")] || "");
      keep("theme", root.dataset.theme || "");
      tell();
    },
    times() { local = !local; keep("times", local ? "local" : ""); tell(); },
    keys() { $("#keys")?.showModal(); },
  };

  const step = (by) => {
    const rows = [...document.querySelectorAll("[data-row]")], here = document.activeElement?.closest("tr, li");
    const next = rows[Math.max(0, rows.findIndex((row) => here?.contains(row)) + by)];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const keys = {
    "/": () => { const box = $("#q") || $("#thing"); box?.focus(); box?.select(); },
    j: () => step(1), k: () => step(-1), "?": acts.keys,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog")) return;
    if (Object.hasOwn(keys, event.key)) { event.preventDefault(); keys[event.key](); }
  });
  document.addEventListener("click", async (event) => {
    const on = (css) => event.target.closest?.(css);
    acts[on("[data-do]")?.dataset.do]?.();
    const cell = event.altKey && on("button[name=in]"), copied = on("[data-copy]");
    if (cell) { cell.name = "out"; setTimeout(() => { cell.name = "in"; }); }
    if (!copied || !navigator.clipboard) return;
    event.preventDefault();
    const text = copied.dataset.copy || copied.href, said = copied.textContent;
    await navigator.clipboard.writeText(text);
    copied.textContent = "Copied";
    setTimeout(() => { copied.textContent = said; }, 1200);
  });
  /* A browser compares suggestions with all that was typed, so each begins with the terms before the last. */
  document.addEventListener("input", ({ target }) => {
    if (!target.list) return;
    const before = target.value.slice(0, target.value.lastIndexOf(" ") + 1);
    for (const one of target.list.options) one.value = before + (one.dataset.term ||= one.value);
  });
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.closest?.("[data-poll]")) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const row of [...document.querySelectorAll("#live .row")].slice(200)) row.remove();
    tell();
  });
  /* A stream that may not go on: the page knows why. */
  document.addEventListener("htmx:sse:error", ({ detail }) => { if (detail.status === 401) location.reload(); });
  document.addEventListener("DOMContentLoaded", tell);
})();
