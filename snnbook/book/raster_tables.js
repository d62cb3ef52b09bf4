// The page's tables, which torch made (fingerprints.py): e is looked up and added up here, no loss is computed.
const all = (count, from = 0) => [...Array(count).keys()].map(i => i + from);

const load = async root => {
  const packed = Uint8Array.from(atob(root.querySelector(".snn-tables").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

const pack = (digits, base) => digits.reduceRight((code, digit) => code * base + digit, 0);
const entry = (loss, place) => loss.values[loss.index[place]];

// As Tables.look_up in Python: rows of e, by neuron (the label first) and step
const families = {
  train: (loss, rows, {steps}) => rows.map((row, place) => row.map((_, t) =>
    entry(loss, ((place ? 1 : 0) * 2 ** steps + pack(row, 2)) * steps + t))),
  step: (loss, rows, {neurons}) => rows.map((row, place) => row.map((spike, t) =>
    spike * entry(loss, pack(rows.map(r => r[t]), 2) * neurons + place))),
  first: (loss, rows, {steps, neurons}, choice) => {
    const first = rows.map(row => row.indexOf(1));
    const code = choice * (steps + 1) ** neurons + pack(first.map(t => t + 1), steps + 1);
    return rows.map((row, place) => row.map((_, t) =>
      t === first[place] ? entry(loss, code * neurons + place) : 0));
  },
};

// e of one loss, by neuron and step
const lookUp = (data, state, loss) => {
  const order = [state.label, ...all(data.neurons).filter(i => i !== state.label)];
  const found = families[loss.family](loss, order.map(i => state.spikes[i]), data, state.choice);
  const e = [];
  order.forEach((neuron, place) => { e[neuron] = found[place]; });
  return e;
};

const fingerprintOf = e => {
  const sum = e.flat().reduce((a, b) => a + b, 0);
  const size = e.flat().reduce((a, b) => a + Math.abs(b), 0);
  return {sum, size, ratio: size ? sum / size : null};
};
