// Answers in the page, without kernel or network. The build wrote each exercise's verdicts into the page, folded
// (snnbook/book/exercises/page.py); this script draws the form, compares, and keeps what was typed in this browser.
// Predictions that open a chapter are kept the same way. Without JavaScript the page is as it was.
(() => {
const KEY = "snnbook-answers";
let memory = {};
const kept = () => { // a private window may have no storage: then answers last as long as the page
  try { return Object(JSON.parse(localStorage.getItem(KEY) ?? "{}")); } catch { return memory; }
};
const keep = change => {
  memory = {...kept(), ...change};
  try { localStorage.setItem(KEY, JSON.stringify(memory)); } catch { /* nothing to be done, and nothing is lost yet */ }
};
const make = (tag, attributes = {}, ...inside) => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...inside);
  return element;
};

// Numbers as people write them: 0.5, 0,5, 1/3, −2, "10 000", 1e-3.
const PLAIN = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;
const number = text => {
  const parts = text.replace(/[\u2010-\u2015\u2212]/g, "-").replace(/\s/g, "").split("/");
  if (parts.length > 2 || !parts.every(part => PLAIN.test(part))) return null;
  const [top, bottom = 1] = parts.map(part => Number(part.replace(",", ".")));
  return Number.isFinite(top / bottom) ? top / bottom : null;
};
// A comma may part two numbers or begin decimals: a list has several readings, the longest first.
const readings = text => {
  const bare = text.trim().replace(/^[[(]|[\])]$/g, "");
  const ways = [/[;\s]+/, /[,;\s]+/, /[;,]\s+/, /;/, /,/].map(way => bare.split(way).filter(Boolean).map(number));
  return ways.filter(list => list.length && !list.includes(null)).sort((a, b) => b.length - a.length);
};

const within = (wanted, typed) => {
  if (typeof wanted === "string") return wanted === typed;
  if (Array.isArray(wanted[0])) {
    return typed.some(list => list.length === wanted.length && wanted.every((range, i) => within(range, list[i])));
  }
  return wanted[0] <= typed && typed <= wanted[1];
};
const distance = (wanted, typed) => // of a number from a range's middle; only used to choose between near mistakes
  typeof typed === "number" ? Math.abs(typed - (wanted[0] + wanted[1]) / 2) : 0;
const far = (answer, typed) => answer.reduce((sum, wanted, i) => sum + distance(wanted, typed[i]), 0);
const fits = (entry, typed) => entry.answer.every((wanted, i) => within(wanted, typed[i]));

// The first field that cannot be read: the friendly line about it. Otherwise null.
const unreadable = (form, texts) => {
  for (const [i, {label, choices, listed}] of form.fields.entries()) {
    const which = form.fields.length > 1 ? ` (${label.replace(/ gives$/, "")})` : "";
    if (choices) { if (!texts[i]) return `choose one of the words first${which}`; continue; }
    if (!texts[i].trim()) return `type your answer first${which}`;
    if (listed && !readings(texts[i]).length) return `this page reads lists such as 2, 7 or 0.5; 1/3; −2${which}`;
    if (!listed && number(texts[i]) === null) return `this page reads numbers such as 0.5, 0,5, 1/3 or −2${which}`;
  }
  return null;
};
const judge = (form, texts) => {
  const fault = unreadable(form, texts);
  if (fault) return {state: "unread", text: fault};
  const typed = form.fields.map(({choices, listed}, i) =>
    choices ? texts[i] : listed ? readings(texts[i]) : number(texts[i]));
  const right = form.right.find(entry => fits(entry, typed));
  if (right) return {state: "right", text: right.text};
  const known = form.known.filter(entry => fits(entry, typed)).sort((a, b) => far(a.answer, typed) - far(b.answer, typed));
  if (known.length) return {state: "wrong", text: known[0].text};
  if (form.among) { // the first step that is there and should not be, or the other way round
    const inside = new Set(typed[0][0]), wanted = form.right[0].answer[0];
    const off = Object.keys(form.among).find(step => inside.has(+step) !== wanted.some(range => within(range, +step)));
    if (off) return {state: "wrong", text: form.among[off]};
  }
  const good = form.about ? form.fields.filter((_, i) => within(form.right[0].answer[i], typed[i])) : [];
  const some = good.length ? `not yet: right is only where ${good[0].label.replace(/ gives$/, "")}` : "not yet";
  return {state: "wrong", text: form.other.replace("not yet", some)};
};

const drawField = ({label, choices}, name, i) => {
  if (!choices) {
    const input = make("input", {type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false"});
    return make("label", {class: "snn-field"}, make("span", {}, label), input);
  }
  const options = choices.map(word =>
    make("label", {}, make("input", {type: "radio", name: `${name}-${i}`, value: word}), ` ${word}`));
  return make("fieldset", {class: "snn-field snn-options"}, make("legend", {}, label), ...options);
};
const texts = fields => fields.map(field =>
  (field.querySelector("input[type=text]") ?? field.querySelector("input:checked"))?.value ?? "");
const fill = (fields, values) => fields.forEach((field, i) => field.querySelectorAll("input").forEach(input => {
  if (input.type === "radio") input.checked = input.value === values[i]; else input.value = values[i] ?? "";
}));

const MARKS = {right: "✓ ", wrong: "✗ ", unread: ""};
const drawForm = place => {
  const form = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(place.dataset.form), c => c.charCodeAt(0))));
  const {exercise} = place.dataset;
  const fields = form.fields.map((field, i) => drawField(field, `snn-${exercise}`, i));
  const verdict = make("p", {class: "snn-verdict", role: "status"});
  const box = make("form", {class: "snn-form", "aria-label": `Exercise ${exercise}: your answer`},
    ...(form.about ? [make("p", {class: "snn-about"}, form.about)] : []), ...fields, make("button", {}, "Check"), verdict);
  const say = (values, stored) => {
    const {state, text} = judge(form, values);
    verdict.dataset.state = state;
    verdict.replaceChildren(...(MARKS[state] + text).split("\n").flatMap((line, i) => i ? [make("br"), line] : [line]));
    if (!stored && state !== "unread") keep({[exercise]: {typed: values, right: state === "right"}});
  };
  box.addEventListener("submit", event => { event.preventDefault(); say(texts(fields)); count(); });
  place.addEventListener("snn-show", () => {
    const before = kept()[exercise], typed = Array.isArray(before?.typed) ? before.typed.map(String) : [];
    fill(fields, typed);
    verdict.replaceChildren();
    delete verdict.dataset.state;
    if (typed.length === fields.length) say(typed, true);
  });
  place.replaceChildren(box);
};

// The sidebar says how many of a chapter's exercises are answered; window.snnExercises is the build's list of them.
const count = () => document.querySelectorAll(".bd-links a[href]").forEach(link => {
  const page = new URL(link.href).pathname.split("/").pop().replace(/\.html$/, "");
  const all = window.snnExercises?.[page] ?? [];
  const done = all.filter(exercise => kept()[exercise]?.right).length;
  link.querySelector(".snn-done")?.remove();
  if (done) link.append(make("span", {class: "snn-done"}, ` ${done} of ${all.length}`,
    make("span", {class: "snn-status"}, " exercises answered")));
});

// A prediction: each "(yes / no)" or "(a number)" in italics becomes a choice or a field, and a guess is kept.
const drawPrediction = (box, place) => {
  const key = `predict-${location.pathname.split("/").pop().replace(/\.html$/, "")}-${place}`;
  const answers = box.nextElementSibling?.classList.contains("reveal") ? box.nextElementSibling : null;
  const questions = [...box.querySelectorAll("em")].filter(em => /^\(.+\)$/.test(em.textContent)).map((em, i, all) => {
    const words = em.textContent.slice(1, -1).split(" / ");
    const name = all.length > 1 ? `Your guess, question ${i + 1}` : "Your guess";
    const field = make("span", {class: "snn-guess", role: "group", "aria-label": name});
    if (words.length > 1) field.append(...words.map(word =>
      make("label", {}, make("input", {type: "radio", name: `${key}-${i}`, value: word}), ` ${word}`)));
    else field.append(make("input", {type: "text", autocomplete: "off", placeholder: words[0], "aria-label": `${name}: ${words[0]}`}));
    em.replaceWith(field);
    return field;
  });
  if (!questions.length) return;
  const button = make("button", {type: "button"}, "That is my guess");
  const note = make("p", {class: "snn-note", role: "status"});
  box.append(make("div", {class: "snn-commit"}, button, note));
  const show = () => {
    const stored = kept()[key], guess = Array.isArray(stored) ? stored.map(String) : null;
    fill(questions, guess ?? []);
    questions.forEach(field => field.querySelectorAll("input").forEach(input => { input.disabled = Boolean(guess); }));
    button.hidden = Boolean(guess);
    note.textContent = guess ? "Your guess is kept in this browser. Unfold the box below: it is there, beside the answer."
      : "Kept in this browser only.";
    answers?.querySelectorAll(".snn-your-guess").forEach(e => e.remove());
    if (!guess || !answers) return;
    const said = words => make("p", {class: "snn-your-guess"}, `Your guess: ${words.map(word => word || "none").join(", ")}`);
    const items = [...answers.querySelectorAll("ol > li")], asked = [...box.querySelectorAll("ol > li")];
    const at = questions.map(field => asked.indexOf(field.closest("li")));
    if (!items.length || items.length !== asked.length) answers.querySelector(".admonition-title").after(said(guess));
    else items.forEach((item, i) => item.prepend(said(guess.filter((_, k) => at[k] === i))));
  };
  button.addEventListener("click", () => {
    const guess = texts(questions);
    if (guess.some(word => word.trim())) { keep({[key]: guess}); show(); } else note.textContent = "Choose first; then it is your guess.";
  });
  box.addEventListener("snn-show", show);
};

const showAll = () => {
  document.querySelectorAll(".snn-answer, .predict").forEach(place => place.dispatchEvent(new Event("snn-show")));
  count();
};
const drawForget = () => {
  const last = [...document.querySelectorAll(".snn-answer")].pop()?.closest(".admonition");
  const button = make("button", {type: "button", class: "snn-forget"}, "Forget my answers");
  const said = make("span", {role: "status"});
  button.addEventListener("click", () => {
    if (!confirm("Forget the answers and guesses of all chapters?")) return;
    memory = {};
    try { localStorage.removeItem(KEY); } catch { /* there was none */ }
    showAll();
    said.textContent = " Forgotten.";
  });
  const line = make("p", {class: "snn-keeping"}, "Answers and guesses stay in this browser. ", button, said);
  const solution = last?.nextElementSibling?.classList.contains("solution") ? last.nextElementSibling : last;
  (solution ?? [...document.querySelectorAll(".predict")].pop())?.after(line);
};

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".snn-answer").forEach(drawForm);
  document.querySelectorAll(".predict").forEach(drawPrediction);
  drawForget();
  showAll();
});
addEventListener("storage", showAll); // another chapter in another tab
})();
