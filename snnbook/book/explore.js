(root => {
  "use strict";
  const SPEAK_AFTER = 500; // ms of rest before the new state is read out
  if (!window.DecompressionStream) return; // the note stays: this browser shows the first picture only
  const image = root.querySelector("img"), status = root.querySelector(".snn-status");
  const controls = [...root.querySelectorAll(".snn-control")].map(box => [...box.querySelectorAll("input")]);
  let data, shown, speech, turn = 0;

  const load = () => data ??= (async () => {
    const packed = Uint8Array.from(atob(root.querySelector(".snn-frames").textContent), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  })();

  const read = ([first, ...rest]) => { // [which choice, out of how many]
    if (first.type === "radio") return [[first, ...rest].findIndex(i => i.checked), rest.length + 1];
    const name = JSON.parse(first.dataset.names)[first.value];
    first.setAttribute("aria-valuetext", name);
    first.nextElementSibling.textContent = name;
    return [+first.value, +first.max + 1];
  };

  const lines = ({base, frames}, state) => {
    const [whole, changes] = frames[state];
    if (whole) return changes;
    const ids = base.slice();
    for (let i = 0; i < changes.length; i += 2) ids[changes[i]] = changes[i + 1];
    return ids;
  };

  const show = async () => {
    const mine = ++turn;
    const state = controls.map(read).reduce((k, [choice, count]) => k * count + choice, 0);
    const table = await load();
    const url = URL.createObjectURL(new Blob(lines(table, state).map(i => table.lines[i]), {type: "image/svg+xml"}));
    const next = new Image();
    next.src = url;
    await next.decode();
    if (mine !== turn) return URL.revokeObjectURL(url); // a later move has overtaken this one
    image.src = url;
    image.alt = table.alts[state];
    root.dataset.state = state;
    if (shown) URL.revokeObjectURL(shown);
    shown = url;
    clearTimeout(speech);
    speech = setTimeout(() => { status.textContent = image.alt; }, SPEAK_AFTER);
  };

  root.querySelector(".snn-note").remove();
  for (const input of controls.flat()) {
    input.disabled = false;
    input.addEventListener("input", show);
    input.addEventListener("focus", load, {once: true});
  }
})(document.currentScript.parentElement);
