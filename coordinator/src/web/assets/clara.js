// Loads the parts of a page that change again: elements with an id and `data-live`. Pages can be read without it.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const AFTER_EVENT_MS = 1200;
  let timer = null;

  async function refresh() {
    timer = null;
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live][id]")) {
      const part = fresh.getElementById(old.id);
      const inUse = old.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
      if (!part || inUse || part.isEqualNode(old)) continue;
      const open = new Set([...old.querySelectorAll("details[id][open]")].map((fold) => fold.id));
      for (const fold of part.querySelectorAll("details[id]")) if (open.has(fold.id)) fold.open = true;
      old.replaceWith(document.adoptNode(part));
    }
  }

  function soon() {
    timer ??= setTimeout(refresh, AFTER_EVENT_MS);
  }

  if (document.body.hasAttribute("data-refresh")) setInterval(refresh, EVERY_MS);

  // Browsers keep few connections to one server, so only the page that is looked at follows anything.
  function follow(address, see) {
    let source = null, over = false;
    const stop = () => { source?.close(); source = null; };
    const start = () => {
      if (source || over || document.hidden) return;
      source = new EventSource(address());
      source.onmessage = see;
      source.addEventListener("rest", () => { over = true; stop(); soon(); });
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { stop(); } else { start(); soon(); }
    });
    start();
  }

  const events = document.querySelector("[data-events]");
  if (events) follow(() => events.dataset.events, soon);

  const log = document.querySelector("[data-log]");
  let last = "";
  function tell(message) {
    if (message.lastEventId === last) return;
    last = message.lastEventId;
    const { stage, attempt, level, message: words } = JSON.parse(message.data);
    const line = document.createElement("div");
    line.className = level;
    line.textContent = `${stage}/${attempt}  ${words}`;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(line);
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
  log?.closest("details").addEventListener("toggle", () => {
    follow(() => {
      const [fence, line] = last.split("-");
      return last ? `${log.dataset.log}?fence=${fence}&line=${line}` : log.dataset.log;
    }, tell);
  }, { once: true });

  for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (submit) => {
      if (!confirm(form.dataset.confirm)) submit.preventDefault();
    });
  }
})();
