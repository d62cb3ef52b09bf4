// The raster: its state, what changes it, and what is drawn of it. Its other parts are in the files raster_*.js.
const SPEAK_AFTER = 500; // ms of rest before the new state is read out

const HINT = ["Drag a spike along its row, or click a cell to add or take one. By keyboard: arrow keys, then space; ",
  "Shift with an arrow key moves a spike. An arrow to the left asks for an earlier spike, to the right for a later one."];

const copyOf = state => ({...state, spikes: state.spikes.map(row => [...row]), ghost: null});

const startOf = (data, preset) => ({
  spikes: preset.rows, label: preset.label, choice: data.choice, chosen: data.chosen, shared: false, ghost: null,
});

// Everything that is shown, with `draw` to bring it up to the state, and `told` to put the chosen loss into words
const buildView = (data, state, choose) => {
  const group = `snn-${Math.random().toString(36).slice(2)}`;
  const titles = data.losses.map(loss => loss.title), names = all(data.neurons, 1).map(String);
  const scales = ["each loss on its own scale", "one scale for all"];
  const inputs = {
    chosen: radios(`${group}-loss`, titles, i => choose("chosen", i, "")),
    label: radios(`${group}-label`, names, i => choose("label", i, `label: neuron ${names[i]}`)),
    choice: radios(`${group}-choice`, data.choices, i => choose("choice", i, `t_unfired ${data.choices[i]}`)),
    shared: radios(`${group}-scale`, scales, i => choose("shared", i === 1, `arrows ${scales[i]}`)),
  };
  const grid = buildGrid(data), panels = buildPanels(data, inputs.chosen), numbers = buildNumbers(data);
  const strongest = Math.max(...data.losses.map(loss => loss.longest));
  const chosen = make("p", {class: "snn-chosen"});
  let words = "";

  const draw = () => {
    for (const [part, buttons] of Object.entries(inputs)) buttons[+state[part]].checked = true;
    panels.forEach(({loss, miniature, sum, box}, i) => {
      const e = lookUp(data, state, loss), found = fingerprintOf(e), texts = inNumbers(found);
      const longest = state.shared ? strongest : loss.longest;
      drawMiniature(miniature, loss.title, state, e, longest);
      sum.textContent = `sum ${texts[0]}`;
      numbers.cells[i].forEach((cell, term) => { cell.textContent = texts[term]; });
      Object.assign(box.dataset, {sum: found.sum, size: found.size});
      box.classList.toggle("snn-on", i === state.chosen);
      if (i !== state.chosen) return;
      drawGrid(grid, state, loss, e, longest);
      words = `${loss.title}: ${TERMS.map((term, k) => `${term} ${texts[k]}`).join(", ")}`;
      const values = TERMS.flatMap((term, k) => [`${k ? ", " : " "}${term} `, make("b", {}, texts[k])]);
      chosen.replaceChildren(make("b", {style: `border-color:var(--snn-${loss.name})`}, loss.title), ...values);
    });
  };
  const controls = [labelled("label: neuron", names, inputs.label),
    labelled("t_unfired (TTFS)", data.choices, inputs.choice), labelled("arrows", scales, inputs.shared)];
  const losses = make("fieldset", {class: "snn-panels"}, make("legend", {}, "Choose the loss whose arrows the grid shows:"),
    ...panels.map(panel => panel.box));
  return {grid, chosen, losses, numbers: numbers.box, controls, draw, told: () => words};
};

// What a reader can do: press a cell, move a spike, put one of the starts back
const buildActions = (data, state, show, redraw) => {
  let preset = data.presets[0];
  const put = (found, what) => {
    Object.assign(state, copyOf(found));
    show(what);
  };
  const act = {
    redraw, put,
    toggle: (i, t) => {
      state.spikes[i][t] = 1 - state.spikes[i][t];
      show(`${nameOf(state, i)}, step ${t + 1}: spike ${state.spikes[i][t] ? "added" : "taken away"}`);
    },
    move: (i, t, to) => {
      state.spikes[i][t] = 0;
      state.spikes[i][to] = 1;
      show(`${nameOf(state, i)}: spike moved from step ${t + 1} to step ${to + 1}`);
    },
  };
  const starts = data.presets.map(each => pressed(each.name, () => {
    preset = each;
    put({...state, spikes: each.rows, label: each.label}, each.name);
  }));
  const back = pressed("put back", () => put({...startOf(data, preset), chosen: state.chosen}, "put back"));
  const buttons = starts.length > 1 ? [fieldset("start from", ...starts), back] : [back];
  return {act, buttons};
};

// Start with the state in the page's address, if there is one, and follow the address
const followAddress = (address, data, state, put) => {
  const found = address.read();
  if (found) {
    Object.assign(state, found);
    const show = () => root.scrollIntoView({block: "nearest"});
    if (document.readyState === "complete") show(); else addEventListener("load", show); // pictures above have heights
  }
  addEventListener("hashchange", () => {
    const next = address.read();
    if (next && inAddress(data, next) !== inAddress(data, state)) put(next, "as in the address");
  });
};

const comeAlive = data => {
  const atStart = startOf(data, data.presets[0]), state = copyOf(atStart);
  const address = addressed ? addressOf(root, data) : null;
  const status = make("p", {class: "snn-status", role: "status"});
  let speech;
  const view = buildView(data, state, (part, value, what) => {
    state[part] = value;
    show(what);
  });
  const redraw = () => {
    view.draw();
    root.dataset.state = [...state.spikes.map(row => row.join("")), state.label, state.choice, +state.shared,
      data.losses[state.chosen].name].join(" ");
  };
  const show = what => {
    redraw();
    address?.write(state, inAddress(data, state) === inAddress(data, atStart));
    clearTimeout(speech);
    speech = setTimeout(() => { status.textContent = `${what ? `${what}. ` : ""}${view.told()}.`; }, SPEAK_AFTER);
  };
  const {act, buttons} = buildActions(data, state, show, redraw);
  listenToKeys(view.grid, state, act);
  listenToPointers(view.grid, state, act);
  root.querySelector(".snn-picture").remove();
  root.querySelector(".snn-note").remove();
  root.style.setProperty("--snn-steps", data.steps);
  const card = make("div", {class: "snn-card"}, view.grid.table, view.chosen, view.losses,
    make("div", {class: "snn-choices"}, ...buttons, ...view.controls), view.numbers,
    make("p", {class: "snn-hint"}, ...HINT), status);
  root.insertBefore(card, root.querySelector(".snn-caption")); // without a caption: at the end
  if (address) followAddress(address, data, state, act.put);
  redraw();
};

// Without DecompressionStream the note stays: the first picture only.
if (!root.dataset.alive && window.DecompressionStream) {
  root.dataset.alive = "yes";
  load(root).then(comeAlive);
}
