// What the pages can do better with a script. All of it works without.
"use strict";

// Times in the reader's own zone, in the place of UTC, and with its name.
const day = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
const shown = { minute: new Intl.DateTimeFormat(undefined, day), second: new Intl.DateTimeFormat(undefined, { ...day, second: "2-digit" }) };
for (const t of document.querySelectorAll("time[datetime]")) {
  const at = new Date(t.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  const to = shown[t.dataset.to];
  if (to) t.textContent = to.format(at);
  t.title = to ? at.toISOString() : shown.second.format(at);
}
for (const t of document.querySelectorAll("[data-clock]")) {
  t.textContent = new Date(t.dataset.clock).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
}
const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts().find((p) => p.type === "timeZoneName");
for (const z of document.querySelectorAll(".zone")) if (zone) z.textContent = zone.value;

// A button that copies, behind each value that is there to be pasted elsewhere.
const said = document.createElement("p");
said.className = "hidden";
said.setAttribute("role", "status");
document.body.append(said);
for (const value of document.querySelectorAll("code.copy")) {
  if (!navigator.clipboard) break; // not offered over plain HTTP, but on loopback
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain copier";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + value.textContent);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value.textContent);
      button.textContent = "Copied";
      said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(value);
      said.textContent = "Selected: copy it with the keyboard";
    }
  });
  value.after(button);
}

// Printing by a button.
for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
