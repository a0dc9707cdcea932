"use strict";
for (const form of document.querySelectorAll("form[data-for]")) {
  const cards = [...document.querySelectorAll(`[data-list="${form.dataset.for}"] > article`)];
  const filter = () => {
    const { text, questions, answer } = form.elements;
    for (const card of cards) card.hidden =
      !card.textContent.toLowerCase().includes(text.value.toLowerCase()) ||
      Boolean(questions?.value && card.dataset.task !== questions.value) ||
      Boolean(answer?.value && !card.dataset.kinds.split(" ").includes(answer.value));
    form.querySelector("output").textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length} shown`;
  };
  form.hidden = false;
  for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
