"use strict";
// ← → and j k press the buttons of the tab that is shown; the address follows the row, so that it can be passed on.
addEventListener("keydown", (event) => {
  const step = { ArrowRight: "next", j: "next", ArrowLeft: "previous", k: "previous" }[event.key];
  const busy = event.target.closest("input, textarea, select, [contenteditable], [role=tab], [role=listbox], .scroll");
  if (!step || busy || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = [...document.querySelectorAll(`[id$="-${step}"]`)].find((each) => each.offsetParent);
  if (button) { event.preventDefault(); button.click(); }
});
new MutationObserver(() => {
  const link = document.querySelector("#pair article")?.dataset.link;
  if (link && link !== location.search) history.replaceState(null, "", link);
}).observe(document.documentElement, { childList: true, subtree: true });
