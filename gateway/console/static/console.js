// Improves the pages where there is JavaScript; every page works without it.
// Theme before the first paint, keyboard shortcuts, and nothing else.
"use strict";

const THEMES = ["system", "light", "dark"];
const store = {
  get(name, otherwise) {
    try { return localStorage.getItem(name) ?? otherwise; } catch { return otherwise; }
  },
  set(name, value) {
    try { localStorage.setItem(name, value); } catch { /* private mode: the choice lasts for this page */ }
  },
};

const root = document.documentElement;
root.classList.add("scripted");

function showTheme(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-theme-switch]")) button.textContent = `Theme: ${theme}`;
}

let theme = store.get("gateway-theme", "system");
if (!THEMES.includes(theme)) theme = "system";
showTheme(theme);

let shortcuts = store.get("gateway-keys", "on") === "on";

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function step(by) {
  const links = [...document.querySelectorAll("[data-row] a")];
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
}

function use(element) {
  if (element.dataset.opens) return document.getElementById(element.dataset.opens).showModal();
  element.focus();
  if (!isTyping(element)) element.click();
}

document.addEventListener("keydown", (event) => {
  if (!shortcuts || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "j" || event.key === "k") {
    step(event.key === "j" ? 1 : -1);
    event.preventDefault();
    return;
  }
  const found = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (found) {
    event.preventDefault();
    use(found);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-theme-switch], button[data-opens]") : null;
  if (!button) return;
  if (button.dataset.opens) {
    document.getElementById(button.dataset.opens).showModal();
    return;
  }
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  store.set("gateway-theme", theme);
  showTheme(theme);
});

document.addEventListener("change", (event) => {
  if (!(event.target instanceof HTMLInputElement) || !("keysSwitch" in event.target.dataset)) return;
  shortcuts = event.target.checked;
  store.set("gateway-keys", shortcuts ? "on" : "off");
});

// Pages that refresh themselves keep no session alive, unless a person is typing: then the session lasts.
let typed = 0;
document.addEventListener("input", () => { typed = Date.now(); });
document.addEventListener("htmx:configRequest", (event) => {
  if (Date.now() - typed < 60_000) delete event.detail.headers["x-gateway-poll"];
});

// A refreshed list keeps the place of the keyboard: the link that had the focus gets it again.
let focused = "";
document.addEventListener("htmx:beforeSwap", () => { focused = document.activeElement?.id ?? ""; });
document.addEventListener("htmx:afterSwap", () => { if (focused) document.getElementById(focused)?.focus(); });

document.addEventListener("DOMContentLoaded", () => {
  showTheme(theme);
  for (const box of document.querySelectorAll("[data-keys-switch]")) box.checked = shortcuts;
});
