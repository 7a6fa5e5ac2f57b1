// The two tabs, by pointer, by arrow keys and by the address (#train).

/** Show the tabs. `onShow` gets the name of the one that is shown. */
export function showTabs(onShow) {
  const list = document.querySelector(".tabs");
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

  function show(name, focus = false) {
    for (const tab of tabs) {
      const chosen = panel(tab).id === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      panel(tab).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    history.replaceState(null, "", name === "train" ? "#train" : location.pathname + location.search);
    onShow(name);
  }

  for (const tab of tabs) {
    panel(tab).setAttribute("role", "tabpanel");
    tab.addEventListener("click", () => show(panel(tab).id));
  }
  list.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const place = tabs.indexOf(document.activeElement) + moves[event.key];
    show(panel(tabs[Math.max(0, Math.min(tabs.length - 1, place))]).id, true);
  });
  list.hidden = false;
  if (location.hash === "#train") queueMicrotask(() => show("train"));
  return {
    show,
    /** Mark the training tab while something trains. */
    busy: (yes) => (list.querySelector(".dot").hidden = !yes),
  };
}
