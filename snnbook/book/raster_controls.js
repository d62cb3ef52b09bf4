// What is around the grid: six miniatures that choose the loss, radio buttons, starts, and the numbers of all losses.
const TERMS = ["sum of e", "sum of |e|", "ratio"];

// Arrow keys move radio buttons as browsers do, but JupyterLab keeps these keys from them
const listenToArrows = inputs => inputs.forEach((input, i) => input.addEventListener("keydown", event => {
  const move = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (!move) return;
  event.preventDefault();
  event.stopPropagation();
  const next = inputs[(i + move + inputs.length) % inputs.length];
  next.focus();
  next.click();
}));

// Radio buttons for one part of the state; `group` keeps those of two figures apart
const radios = (group, names, choose) => {
  const inputs = names.map((_, i) => make("input", {type: "radio", name: group, value: i, autocomplete: "off"}));
  inputs.forEach((input, i) => input.addEventListener("change", () => choose(i)));
  listenToArrows(inputs);
  return inputs;
};

const fieldset = (title, ...inside) => make("fieldset", {}, make("legend", {}, title), ...inside);

const labelled = (title, names, inputs) =>
  fieldset(title, ...names.map((shown, i) => make("label", {}, inputs[i], shown)));

const pressed = (name, press) => {
  const button = make("button", {type: "button"}, name);
  button.addEventListener("click", press);
  return button;
};

const buildPanels = (data, inputs) => data.losses.map((loss, place) => {
  const miniature = buildMiniature(data), sum = make("p", {class: "snn-sum"});
  const style = `border-color:var(--snn-${loss.name})`;
  const [first, ...rest] = loss.title.split(/(?= )/); // a miniature has room for one word
  const title = make("label", {class: "snn-title", style}, inputs[place], first,
    ...rest.map(word => make("span", {class: "snn-unseen"}, word)));
  const box = make("div", {class: "snn-panel", "data-loss": loss.name}, title, miniature.svg, sum);
  return {loss, miniature, sum, box};
});

const buildNumbers = data => {
  const cells = data.losses.map(() => TERMS.map(() => make("td")));
  const rows = data.losses.map((loss, i) =>
    make("tr", {"data-loss": loss.name}, make("th", {scope: "row"}, loss.title), ...cells[i]));
  const heads = ["loss", ...TERMS].map(term => make("th", {scope: "col"}, term));
  const table = make("table", {class: "snn-numbers"}, make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...rows));
  return {cells, box: make("details", {}, make("summary", {}, "The numbers of all six losses"), table)};
};
