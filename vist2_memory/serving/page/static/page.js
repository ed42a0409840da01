// What lives on the page: figures that refresh themselves, and readbacks shown in place.
// Everything else, and readbacks too, work without it.
"use strict";

const REFRESH_MS = 2500;
const AS_FRAGMENT = { headers: { "X-Fragment": "1" }, credentials: "same-origin" };

async function fragment(address, options = {}) {
  const answer = await fetch(address, { ...AS_FRAGMENT, ...options });
  const text = await answer.text();
  if (answer.status === 401) location.reload(); // signed out: the server asks for a key
  const found = new DOMParser().parseFromString(text, "text/html");
  if (!answer.ok) throw new Error(found.querySelector(".said")?.textContent ?? answer.statusText);
  return [...found.body.childNodes];
}

for (const part of document.querySelectorAll("[data-live]")) {
  const state = part.querySelector("[data-state]");
  const refresh = async () => {
    if (document.visibilityState === "hidden") return;
    try {
      part.querySelector("[data-figures]").replaceChildren(...(await fragment(part.dataset.live)));
      state.textContent = "live";
      state.dataset.state = "live";
    } catch {
      state.textContent = "not reached";
      state.dataset.state = "lost";
    }
  };
  setInterval(refresh, REFRESH_MS);
}

for (const form of document.querySelectorAll("form[data-readback]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const place = document.getElementById(form.dataset.readback);
    button.disabled = true;
    place.setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams(new FormData(form));
      place.replaceChildren(...(await fragment(form.action, { method: "POST", body })));
    } catch (error) {
      const said = document.createElement("p");
      said.className = "problem";
      said.textContent = `The readback failed: ${error.message}`;
      place.replaceChildren(said);
    }
    place.removeAttribute("aria-busy");
    button.disabled = false;
  });
}
