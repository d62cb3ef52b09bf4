(root => { // the figure; looks e up in tables that torch made (fingerprints.py), adds up and draws: no loss is computed here
  "use strict";
  const SPEAK_AFTER = 500; // ms of rest before the new state is read out
  const CELL = 30, ROW = 26, LEFT = 16, TOP = 4, AXIS = 16; // SVG units
  const LONGEST = 0.85; // cells: the longest arrow that a table can give; it ends before the next spike
  const HEAD = 7, HAIR = 0.35; // SVG units: head of a long arrow; the least length drawn
  if (root.dataset.alive || !window.DecompressionStream) return; // the note stays: the first picture only
  root.dataset.alive = "yes";

  const make = (tag, attributes = {}, ...inside) => {
    const element = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  };

  const load = async () => {
    const packed = Uint8Array.from(atob(root.querySelector(".snn-tables").textContent), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  const number = x => (Math.abs(x) < 5e-10 ? "0" : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(2));
  const pack = (digits, base) => digits.reduceRight((code, digit) => code * base + digit, 0);

  const come_alive = data => {
    const {steps, neurons, losses, choices, presets, colors} = data, strongest = Math.max(...losses.map(loss => loss.longest));
    const all = (count, from = 0) => [...Array(count).keys()].map(i => i + from);
    let spikes, label, choice = data.choice, shared = false, speech;

    // As Tables.look_up in Python: rows of e, by neuron and step
    const entry = (loss, place) => loss.values[loss.index[place]];
    const families = {
      train: (loss, rows) => rows.map((row, place) => row.map((_, t) =>
        entry(loss, ((place ? 1 : 0) * 2 ** steps + pack(row, 2)) * steps + t))),
      step: (loss, rows) => rows.map((row, place) => row.map((spike, t) =>
        spike * entry(loss, pack(rows.map(r => r[t]), 2) * neurons + place))),
      first: (loss, rows) => {
        const first = rows.map(row => row.indexOf(1));
        const code = choice * (steps + 1) ** neurons + pack(first.map(t => t + 1), steps + 1);
        return rows.map((row, place) => row.map((_, t) => t === first[place] ? entry(loss, code * neurons + place) : 0));
      },
    };
    const lookUp = loss => {
      const order = [label, ...all(neurons).filter(i => i !== label)];
      const found = families[loss.family](loss, order.map(i => spikes[i])), e = [];
      order.forEach((neuron, place) => { e[neuron] = found[place]; });
      return e;
    };

    // What is shown
    const name = i => `neuron ${i + 1}${i === label ? ", the label" : ""}`;
    const buttons = all(neurons).map(i => all(steps).map(t => make("button", {type: "button", tabindex: -1})));
    const heads = all(neurons).map(() => make("th", {scope: "row"}));
    const rows = all(neurons).map(i => make("tr", {}, heads[i], ...buttons[i].map(b => make("td", {role: "gridcell"}, b))));
    const table = make("table", {role: "grid", "aria-label": `Spike trains of ${neurons} output neurons in ${steps} steps`},
      make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "step"), ...all(steps, 1).map(t => make("th", {scope: "col"}, `${t}`)))),
      make("tbody", {}, ...rows));
    const panels = losses.map(loss => {
      const svg = make("svg:svg", {role: "img", viewBox: `0 0 ${2 * LEFT + steps * CELL} ${TOP + neurons * ROW + AXIS}`});
      const values = all(3).map(() => make("dd"));
      const terms = ["sum of e", "sum of |e|", "ratio"].flatMap((term, i) => [make("dt", {}, term), values[i]]);
      const box = make("div", {class: "snn-panel", "data-loss": loss.name},
        make("p", {class: "snn-title", style: `border-color:${loss.color}`}, loss.title), svg, make("dl", {}, ...terms));
      return {loss, svg, values, box};
    });
    const group = `snn-${Math.random().toString(36).slice(2)}`; // radio buttons of two figures must not mix
    const radios = (title, what, names, now, choose) => {
      const inputs = names.map((_, i) => make("input", {type: "radio", name: `${group}-${what}`, value: i, autocomplete: "off"}));
      inputs[now].checked = true;
      inputs.forEach((input, i) => {
        input.addEventListener("change", () => { choose(i); show(`${title} ${names[i]}`); });
        input.addEventListener("keydown", event => { // as browsers do, but JupyterLab keeps these keys from them
          const move = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
          if (!move) return;
          event.preventDefault();
          event.stopPropagation();
          const next = inputs[(i + move + inputs.length) % inputs.length];
          next.focus();
          next.click();
        });
      });
      return make("fieldset", {}, make("legend", {}, title), ...names.map((shown, i) => make("label", {}, inputs[i], shown)));
    };
    const status = make("p", {class: "snn-status", role: "status"});
    const labels = radios("label: neuron", "label", all(neurons, 1).map(String), 0, i => { label = i; });
    const starts = make("fieldset", {}, make("legend", {}, "start from"), ...presets.map(preset => {
      const button = make("button", {type: "button"}, preset.name);
      button.addEventListener("click", () => { set(preset); show(preset.name); });
      return button;
    }));

    const set = preset => {
      spikes = preset.rows.map(row => [...row]);
      label = preset.label;
      labels.querySelectorAll("input")[label].checked = true;
    };

    const arrow = (i, t, e, longest) => {
      const x = LEFT + (t + 0.5) * CELL, y = TOP + (i + 0.5) * ROW;
      const length = CELL * Math.abs(e) * LONGEST / (shared ? strongest : longest), way = e > 0 ? -1 : 1; // left is earlier
      const head = Math.min(HEAD, length), tip = x + way * Math.max(length, HAIR), neck = tip - way * head;
      const path = `M${x} ${y - 1.2}H${neck}V${y - 0.6 * head - 1}L${tip} ${y}L${neck} ${y + 0.6 * head + 1}V${y + 1.2}H${x}Z`;
      return make("svg:path", {class: "snn-arrow", d: path, fill: e > 0 ? colors.positive : colors.negative,
        "data-neuron": i, "data-step": t, "data-e": e, "data-tip": tip},
        make("svg:title", {}, `${name(i)}, step ${t + 1}: ${number(e)}, ${e > 0 ? "earlier" : "later"}`)); // under the mouse
    };

    const line = (x1, y1, x2, y2, stroke, width) => make("svg:line", {x1, y1, x2, y2, stroke, "stroke-width": width});

    const drawPanel = ({loss, svg, values, box}) => {
      const e = lookUp(loss), bottom = TOP + neurons * ROW, told = [];
      svg.replaceChildren(
        ...all(neurons).map(i => line(LEFT, TOP + (i + 1) * ROW - 3, LEFT + steps * CELL, TOP + (i + 1) * ROW - 3, colors.grid, 1)),
        ...all(steps).map(t => make("svg:text", {x: LEFT + (t + 0.5) * CELL, y: bottom + 11, "text-anchor": "middle",
          "font-size": 11, fill: colors.ink}, `${t + 1}`)));
      const arrows = [];
      spikes.forEach((row, i) => row.forEach((spike, t) => {
        if (!spike) return;
        const x = LEFT + (t + 0.5) * CELL, y = TOP + i * ROW;
        svg.append(line(x, y + 3, x, y + ROW - 3, i === label ? colors.label : colors.other, 3));
        told.push(`${name(i)}, step ${t + 1}: ${number(e[i][t])}`);
        if (e[i][t]) arrows.push(arrow(i, t, e[i][t], loss.longest));
      }));
      svg.append(...arrows);
      svg.setAttribute("aria-label", `${loss.title}, e at every spike; above 0 is an arrow to the left, earlier. ${
        told.join("; ") || "No spike"}.`);
      const flat = e.flat(), sum = flat.reduce((a, b) => a + b, 0), size = flat.reduce((a, b) => a + Math.abs(b), 0);
      const texts = [number(sum), size ? size.toFixed(2) : "0", size ? number(sum / size) : "none"];
      values.forEach((value, i) => { value.textContent = texts[i]; });
      Object.assign(box.dataset, {sum, size});
      return `${loss.title}: sum ${texts[0]}, ratio ${texts[2]}`;
    };

    const show = what => {
      rows.forEach((row, i) => {
        row.classList.toggle("snn-label", i === label);
        heads[i].replaceChildren(`neuron ${i + 1}`, ...i === label ? [make("span", {}, " label")] : []);
        buttons[i].forEach((button, t) => {
          button.setAttribute("aria-pressed", !!spikes[i][t]);
          button.setAttribute("aria-label", `spike of ${name(i)}, step ${t + 1}`);
        });
      });
      const told = panels.map(drawPanel);
      root.dataset.state = `${spikes.map(row => row.join("")).join(" ")} ${label} ${choice} ${+shared}`;
      clearTimeout(speech);
      if (what) speech = setTimeout(() => { status.textContent = `${what}. ${told.join("; ")}.`; }, SPEAK_AFTER);
    };

    // Keys: one cell of the grid is a tab stop; arrows, Home and End move it; space and Enter press it
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -steps], End: [0, steps]};
    const bound = (x, count) => Math.max(0, Math.min(count - 1, x));
    const stop = chosen => { for (const b of buttons.flat()) b.tabIndex = b === chosen ? 0 : -1; };
    stop(buttons[0][0]);
    buttons.forEach((row, i) => row.forEach((button, t) => {
      button.addEventListener("focus", () => stop(button));
      button.addEventListener("click", () => {
        spikes[i][t] = 1 - spikes[i][t];
        show(`${name(i)}, step ${t + 1}: spike ${spikes[i][t] ? "added" : "taken away"}`);
      });
      button.addEventListener("keydown", event => {
        const move = moves[event.key];
        if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        buttons[bound(i + move[0], neurons)][bound(t + move[1], steps)].focus();
      });
    }));

    root.style.setProperty("--snn-label", colors.label);
    root.style.setProperty("--snn-other", colors.other);
    set(presets[0]);
    const controls = [labels,
      radios("t_unfired (TTFS)", "choice", choices, choice, i => { choice = i; }),
      radios("arrows", "scale", ["each loss on its own scale", "one scale for all"], 0, i => { shared = i === 1; })];
    if (presets.length > 1) controls.unshift(starts);
    root.querySelector(".snn-picture").remove();
    root.querySelector(".snn-note").remove();
    root.append(make("div", {class: "snn-card"}, table, make("div", {class: "snn-choices"}, ...controls),
      make("div", {class: "snn-panels"}, ...panels.map(panel => panel.box)),
      make("p", {class: "snn-hint"}, "Click a cell to add or take a spike; by keyboard: arrow keys, then space. ",
        "An arrow to the left asks for an earlier spike, to the right for a later one."), status));
    show();
  };

  load().then(come_alive);
})
