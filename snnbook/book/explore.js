(root => {
  "use strict";
  const SPEAK_AFTER = 500; // ms of rest before the new state is read out
  const FRAME = 700; // ms for each value while a control plays
  const TOLD = 1500; // ms for which a button says what it has done
  if (!window.DecompressionStream) return; // the note stays: this browser shows the first picture only
  const image = root.querySelector("img"), status = root.querySelector(".snn-status");
  const controls = [...root.querySelectorAll(".snn-control")].map(box => [...box.querySelectorAll("input")]);
  const play = root.querySelector(".snn-play");
  let data, shown, speech, playing, turn = 0;

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
    if (!playing) speech = setTimeout(() => { status.textContent = image.alt; }, SPEAK_AFTER);
  };

  // A state as the places of all controls' values: [2, 0, 1]
  const choices = () => controls.map(inputs => read(inputs)[0]);
  const choose = (inputs, choice) => {
    if (inputs[0].type === "radio") inputs[choice].checked = true; else inputs[0].value = choice;
  };
  const chooseAll = wanted => {
    controls.forEach((inputs, i) => choose(inputs, wanted[i]));
    return show();
  };
  const start = choices();

  const stop = () => {
    clearInterval(playing);
    playing = undefined;
    if (play) play.textContent = "Play";
  };
  const step = () => { // to the next value, and after the last one to the end
    const inputs = controls[+play.dataset.control], [choice, count] = read(inputs);
    if (choice + 1 === count) stop(); else choose(inputs, choice + 1);
    show();
  };
  play?.addEventListener("click", () => {
    if (playing) return stop();
    const inputs = controls[+play.dataset.control], [choice, count] = read(inputs);
    if (choice + 1 === count) choose(inputs, 0);
    show();
    playing = setInterval(step, FRAME);
    play.textContent = "Stop";
  });

  root.querySelector(".snn-reset").addEventListener("click", () => {
    stop();
    chooseAll(start);
  });

  // The address of a state: #fig-4-1=3.0
  const link = root.querySelector(".snn-link");
  link.addEventListener("click", async () => {
    history.replaceState(null, "", `#${root.id}=${choices().join(".")}`);
    let told = "It is in the address line";
    try {
      await navigator.clipboard.writeText(location.href);
      told = "Copied";
    } catch { /* no permission: the address line has it all the same */ }
    link.textContent = told;
    setTimeout(() => { link.textContent = "Link to this state"; }, TOLD);
  });
  const follow = () => {
    const [id, places] = location.hash.slice(1).split("=");
    const wanted = (places ?? "").split(".").map(Number);
    const fits = wanted.length === controls.length &&
      controls.every((inputs, i) => wanted[i] >= 0 && wanted[i] < read(inputs)[1] && Number.isInteger(wanted[i]));
    if (id !== root.id || !fits) return;
    chooseAll(wanted);
    root.scrollIntoView();
  };

  // Dragging in the picture: the value follows the pointer from where it took hold
  const dragged = JSON.parse(root.dataset.drag ?? "[]");
  const nearest = (places, wanted) => places.reduce(
    (best, place, i) => (Math.abs(place - wanted) < Math.abs(places[best] - wanted) ? i : best), 0);
  const share = (event, axis) => {
    const box = image.getBoundingClientRect();
    return axis === "x" ? (event.clientX - box.left) / box.width : (event.clientY - box.top) / box.height;
  };
  let held;
  const take = event => {
    if (event.button) return;
    stop();
    image.setPointerCapture(event.pointerId);
    held = dragged.map(({control, axis, places}) => places[choices()[control]] - share(event, axis));
    event.preventDefault(); // else the browser would drag the picture itself
  };
  const move = event => {
    if (!held) return;
    let moved = false;
    dragged.forEach(({control, axis, places}, i) => {
      const choice = nearest(places, share(event, axis) + held[i]);
      moved ||= choice !== choices()[control];
      choose(controls[control], choice);
    });
    if (moved) show();
  };
  const letGo = () => { held = undefined; };
  if (dragged.length) {
    const axes = dragged.map(each => each.axis);
    const both = axes.includes("x") && axes.includes("y");
    image.classList.add("snn-drag");
    image.style.cursor = both ? "move" : axes[0] === "x" ? "ew-resize" : "ns-resize";
    image.style.touchAction = both ? "none" : axes[0] === "x" ? "pan-y" : "pan-x"; // a finger still scrolls the page
    image.addEventListener("pointerdown", take);
    image.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) image.addEventListener(name, letGo);
  }

  root.querySelector(".snn-note").remove();
  for (const button of root.querySelectorAll(".snn-buttons button")) button.disabled = false;
  if (!root.id) link.remove(); // a figure without a number has no address
  for (const input of controls.flat()) {
    input.disabled = false;
    input.addEventListener("input", () => { stop(); show(); });
    input.addEventListener("focus", load, {once: true});
  }
  addEventListener("hashchange", follow);
  addEventListener("load", follow); // the pictures above have their heights by then
})(document.currentScript.parentElement);
