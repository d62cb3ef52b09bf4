// What scrolls sideways can be reached by keyboard: code, equations and tables, also once a solution has unfolded or
// the window has become narrow. (The theme looks once, when the page loads.) Printed checks are marked: in a narrow
// window their lines break, since what they found stands at the end. Folds of the sidebar get names.
addEventListener("load", async () => {
  for (const fold of document.querySelectorAll(".bd-links summary")) { // the theme draws an arrow without a name
    fold.setAttribute("aria-label", `the pages of ${fold.closest("li").querySelector("a").textContent.trim()}`);
  }
  const printed = [...document.querySelectorAll(".cell_output .output.stream pre")];
  printed.filter(e => /(True|False)[ \t]*$/m.test(e.textContent)).forEach(e => e.classList.add("snn-verdicts"));
  const watcher = new ResizeObserver(changes => changes.forEach(({target}) => {
    const scrolls = target.scrollWidth > target.clientWidth && getComputedStyle(target).overflowX !== "visible";
    if (scrolls) target.setAttribute("tabindex", 0); else target.removeAttribute("tabindex");
  }));
  await window.MathJax?.startup?.promise;
  document.querySelectorAll("article :is(pre, mjx-container[display], .snn-table)").forEach(e => watcher.observe(e));
});
