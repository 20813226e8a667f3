/* Recovery codes: print them, or save them as a file. Without it, they can be copied. */
(() => {
  "use strict";
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("[data-print]")) print();
    const saved = target.closest?.("[data-save]");
    if (!saved) return;
    const codes = [...document.querySelectorAll(`${saved.dataset.save} code`)].map((one) => `${one.textContent}\n`);
    const url = URL.createObjectURL(new Blob(codes, { type: "text/plain" }));
    Object.assign(document.createElement("a"), { href: url, download: saved.dataset.name }).click();
    URL.revokeObjectURL(url);
  });
})();
