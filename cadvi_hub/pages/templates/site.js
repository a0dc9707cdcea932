"use strict";
for (const form of document.querySelectorAll("form[data-for]")) {
  const cards = [...document.querySelectorAll(`[data-list="${form.dataset.for}"] > article`)];
  const { text, set, model, answer } = form.elements;
  const fits = (said) => (!model.value || said.dataset.model === model.value) &&
    (!answer.value || said.dataset.kinds.split(" ").includes(answer.value));
  const filter = () => {
    for (const card of cards) card.hidden =
      !card.textContent.toLowerCase().includes(text.value.toLowerCase()) ||
      Boolean(set?.value && card.dataset.task !== set.value) ||
      Boolean(model && ![...card.querySelectorAll("[data-model]")].some(fits));
    form.querySelector("output").textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length} shown`;
  };
  form.hidden = false;
  for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
