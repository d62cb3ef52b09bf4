// Elements, numbers in words, and the marks of a raster: a bar for a spike, an arrow for its e.
const CELL = 30, ROW = 26, EDGE = 16; // SVG units: a step, a row of a miniature, its left and right margin
const LONGEST = 0.85; // cells: the longest arrow that a table can give; it ends before the next spike
const HEAD = 7, HALF = 2.6, HAIR = 0.35; // SVG units: head of a long arrow, half of its least height, the least length

const make = (tag, attributes = {}, ...inside) => {
  const element = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
};

const number = x => (Math.abs(x) < 5e-10 ? "0" : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(2));
const nameOf = (state, i) => `neuron ${i + 1}${i === state.label ? ", the label" : ""}`;
const wayOf = e => (e > 0 ? "earlier" : "later");
const inNumbers = ({sum, size, ratio}) =>
  [number(sum), size ? size.toFixed(2) : "0", ratio === null ? "none" : number(ratio)];

const bar = (x, top, bottom, state, i) => make("svg:line",
  {class: i === state.label ? "snn-spike snn-own" : "snn-spike", x1: x, x2: x, y1: top, y2: bottom});

// An arrow from the middle of a spike; `longest` is the |e| of the longest arrow
const arrow = (x, y, e, longest, place) => {
  const way = e > 0 ? -1 : 1; // left is earlier
  const length = Math.max(CELL * LONGEST * Math.abs(e) / longest, HAIR);
  const head = Math.min(HEAD, length), half = Math.max(0.6 * head + 1, HALF);
  const tip = x + way * length, neck = tip - way * head;
  const path = `M${x} ${y - 1.2}H${neck}V${y - half}L${tip} ${y}L${neck} ${y + half}V${y + 1.2}H${x}Z`;
  return make("svg:path", {class: `snn-arrow snn-${wayOf(e)}`, d: path, "data-e": e, "data-tip": tip, ...place});
};

const buildMiniature = ({steps, neurons}) => {
  const width = 2 * EDGE + steps * CELL;
  const ground = all(neurons).map(i => make("svg:line",
    {class: "snn-ground", x1: EDGE, x2: width - EDGE, y1: (i + 1) * ROW - 2, y2: (i + 1) * ROW - 2}));
  const marks = make("svg:g");
  const svg = make("svg:svg", {role: "img", viewBox: `0 0 ${width} ${neurons * ROW}`}, ...ground, marks);
  return {svg, marks};
};

// One loss's spikes, and above them its arrows
const drawMiniature = ({svg, marks}, title, state, e, longest) => {
  const bars = [], arrows = [], told = [];
  state.spikes.forEach((row, i) => row.forEach((spike, t) => {
    if (!spike) return;
    const x = EDGE + (t + 0.5) * CELL, y = i * ROW;
    bars.push(bar(x, y + 3, y + ROW - 2, state, i));
    told.push(`${nameOf(state, i)}, step ${t + 1}: ${number(e[i][t])}`);
    if (e[i][t]) arrows.push(arrow(x, y + ROW / 2, e[i][t], longest, {"data-neuron": i, "data-step": t}));
  }));
  marks.replaceChildren(...bars, ...arrows);
  svg.setAttribute("aria-label",
    `${title}, e at every spike; above 0 is an arrow to the left, earlier. ${told.join("; ") || "No spike"}.`);
};
