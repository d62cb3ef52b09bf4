// The grid: cells to press, spikes to drag along their row, and keys for both. `act` changes the state.
const KEYS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
  Home: [0, -Infinity], End: [0, Infinity]};
const bound = (x, count) => Math.max(0, Math.min(count - 1, x));

const buildGrid = ({steps, neurons}) => {
  const buttons = all(neurons).map(() => all(steps).map(() => make("button", {type: "button", tabindex: -1})));
  const heads = all(neurons).map(() => make("th", {scope: "row"}));
  const rows = all(neurons).map(i =>
    make("tr", {}, heads[i], ...buttons[i].map(button => make("td", {role: "gridcell"}, button))));
  const numbers = all(steps, 1).map(t => make("th", {scope: "col"}, `${t}`));
  const table = make("table", {role: "grid", "aria-label": `Spike trains of ${neurons} output neurons in ${steps} steps`},
    make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "step"), ...numbers)), make("tbody", {}, ...rows));
  return {table, rows, heads, buttons};
};

// Spikes, the chosen loss's arrows, and while a spike is dragged, a dotted bar where it was
const drawGrid = ({rows, heads, buttons}, state, loss, e, longest) => {
  rows.forEach((row, i) => {
    row.classList.toggle("snn-label", i === state.label);
    heads[i].replaceChildren(`neuron ${i + 1}`, ...i === state.label ? [make("span", {}, " label")] : []);
    buttons[i].forEach((button, t) => {
      const marks = [];
      if (state.ghost?.i === i && state.ghost.t === t && !state.spikes[i][t]) {
        marks.push(make("svg:line", {class: "snn-ghost", x1: CELL / 2, x2: CELL / 2, y1: 4, y2: CELL - 4}));
      }
      if (state.spikes[i][t]) marks.push(bar(CELL / 2, 4, CELL - 4, state, i));
      const pushed = state.spikes[i][t] && e[i][t];
      if (pushed) {
        marks.push(arrow(CELL / 2, CELL / 2, e[i][t], longest, {"data-neuron": i, "data-step": t}));
      }
      const mark = make("svg:svg", {class: "snn-mark", viewBox: `0 0 ${CELL} ${CELL}`, "aria-hidden": "true"}, ...marks);
      button.replaceChildren(...marks.length ? [mark] : []);
      button.setAttribute("aria-pressed", !!state.spikes[i][t]);
      button.setAttribute("aria-label", `spike of ${nameOf(state, i)}, step ${t + 1}`);
      if (state.spikes[i][t]) {
        button.title = `${loss.title}: e ${number(e[i][t])}${pushed ? `, ${wayOf(e[i][t])}` : ""}`;
      } else button.removeAttribute("title");
    });
  });
};

// One cell is a tab stop; arrows, Home and End move it, Space and Enter press it, Shift and an arrow move its spike
const listenToKeys = ({buttons}, state, act) => {
  const stop = chosen => { for (const button of buttons.flat()) button.tabIndex = button === chosen ? 0 : -1; };
  const carry = (i, t, way) => {
    let to = t + way;
    while (state.spikes[i][to]) to += way;
    if (!state.spikes[i][t] || state.spikes[i][to] === undefined) return;
    act.move(i, t, to);
    buttons[i][to].focus();
  };
  stop(buttons[0][0]);
  buttons.forEach((row, i) => row.forEach((button, t) => {
    button.addEventListener("focus", () => stop(button));
    button.addEventListener("keydown", event => {
      const move = KEYS[event.key];
      if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.shiftKey) buttons[bound(i + move[0], buttons.length)][bound(t + move[1], row.length)].focus();
      else if (Math.abs(move[1]) === 1) carry(i, t, move[1]);
    });
  }));
};

// A press on a spike takes hold of it, by mouse, pen or finger; it goes to the free step under the pointer
const listenToPointers = ({table, buttons}, state, act) => {
  let held = null, dropped = false;
  const stepUnder = x => {
    const far = buttons[held.i].map(button => {
      const box = button.getBoundingClientRect();
      return Math.abs(x - (box.left + box.right) / 2);
    });
    return far.indexOf(Math.min(...far));
  };
  const drop = () => {
    if (!held) return;
    const {i, t} = held;
    dropped = held.moved;
    held = state.ghost = null;
    if (!dropped) return;
    buttons[i][t].focus({preventScroll: true});
    act.redraw();
  };
  buttons.forEach((row, i) => row.forEach((button, t) => {
    button.addEventListener("pointerdown", event => {
      dropped = false;
      if (!state.spikes[i][t] || event.button || held) return;
      held = {i, t, from: t, moved: false, pointer: event.pointerId};
      button.setPointerCapture(event.pointerId);
    });
    button.addEventListener("click", event => {
      // A browser also reports the end of a drag as a click; a click by keyboard has no detail.
      if (!(dropped && event.detail)) act.toggle(i, t);
      dropped = false;
    });
  }));
  table.addEventListener("pointermove", event => {
    if (held?.pointer !== event.pointerId) return;
    const to = stepUnder(event.clientX);
    if (state.spikes[held.i][to]) return;
    const t = held.t;
    held.t = to;
    held.moved = true;
    state.ghost = {i: held.i, t: held.from};
    act.move(held.i, t, to);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) table.addEventListener(end, drop);
};
