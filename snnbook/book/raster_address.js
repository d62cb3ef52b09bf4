// The state in the page's address, such as #raster-1=00101-01010-11000.n1.4T.timing.own, to be shared and read again.
const SCALES = ["own", "one"];
const WRITE_AFTER = 300; // ms of rest: browsers refuse many changes of an address at once

const partsOf = hash => hash.slice(1).split("&").filter(part => /^raster-\d+=/.test(part));

const inAddress = (data, state) => [state.spikes.map(row => row.join("")).join("-"), `n${state.label + 1}`,
  data.choices[state.choice], data.losses[state.chosen].name, SCALES[+state.shared]].join(".");

// The state that an address describes; null where it describes none of this raster
const fromAddress = (data, text) => {
  const [rows = "", label = "", choice, chosen, scale] = text.split(".");
  const spikes = rows.split("-").map(row => [...row].map(Number));
  const found = {
    spikes, label: Number(label.slice(1)) - 1, choice: data.choices.indexOf(choice),
    chosen: data.losses.findIndex(loss => loss.name === chosen), shared: scale === SCALES[1],
  };
  const right = /^[01-]+$/.test(rows) && spikes.length === data.neurons
    && spikes.every(row => row.length === data.steps) && all(data.neurons).includes(found.label)
    && found.choice >= 0 && found.chosen >= 0 && SCALES.includes(scale);
  return right ? found : null;
};

// Reads and writes one raster's part of the address; the parts of a page's other rasters stay as they are
const addressOf = (root, data) => {
  const key = `raster-${[...document.querySelectorAll("figure.snn-raster")].indexOf(root) + 1}=`;
  let writing;
  return {
    read: () => {
      const part = partsOf(location.hash).find(each => each.startsWith(key));
      return part ? fromAddress(data, part.slice(key.length)) : null;
    },
    write: (state, atStart) => {
      clearTimeout(writing);
      writing = setTimeout(() => {
        const parts = partsOf(location.hash).filter(each => !each.startsWith(key));
        if (!atStart) parts.push(key + inAddress(data, state));
        const bare = location.href.split("#")[0];
        history.replaceState(history.state, "", parts.length ? `${bare}#${parts.sort().join("&")}` : bare);
      }, WRITE_AFTER);
    },
  };
};
