// Folds say what they hold, also by ear, and open where a link leads into them.
addEventListener("load", () => {
  document.querySelectorAll(".admonition.dropdown button.toggle-button").forEach(button => {
    const title = button.closest(".admonition-title").innerText.trim();
    const name = () => button.setAttribute("aria-label", `${button.dataset.toggleHint}: ${title}`);
    new MutationObserver(name).observe(button, {attributes: true, attributeFilter: ["data-toggle-hint"]});
    name();
  });
  document.querySelectorAll(".bd-links li > details > summary").forEach(summary => {
    const page = summary.closest("li").querySelector("a").innerText.trim();
    summary.setAttribute("aria-label", `Pages below ${page}`);
  });
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const folds = [];
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
    if (folds.every(fold => fold.open)) return;
    folds.forEach(fold => { fold.open = true; });
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
});
