// Keys and quick changes of answers on the review page. Without it the page can be read and its forms be sent.
"use strict";

(() => {
  const review = document.querySelector(".review");
  if (!review) return;
  const place = document.getElementById("answer");
  const list = document.getElementById("answers");
  const notice = document.getElementById("notice");
  const help = document.getElementById("help");
  const path = review.dataset.path;
  const isNamed = "named" in review.dataset;
  let isBlind = "blind" in review.dataset;
  let wanted = null;

  const answer = () => place.querySelector(".answer");
  const entry = (sample) => [...list.querySelectorAll("a")].find((link) => link.dataset.sample === sample);

  function tell(words, isBad) {
    notice.textContent = words;
    notice.classList.toggle("bad", Boolean(isBad));
    notice.hidden = !words;
  }

  // The words of a page that tells what went wrong.
  async function problem(reply) {
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const words = page.querySelector("main p.text") ?? page.querySelector("main");
    return words ? words.textContent.trim() : `the server answered ${reply.status}`;
  }

  // A long list of answers comes with the lines around the current one; the others follow once the page is painted.
  async function fill() {
    if (!("partial" in list.dataset)) return;
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    const sample = encodeURIComponent(answer()?.dataset.sample ?? "");
    const reply = await fetch(`${path}/answers?sample=${sample}${isBlind ? "&blind=1" : ""}`).catch(() => null);
    if (!reply?.ok) return;
    list.innerHTML = await reply.text();
    delete list.dataset.partial;
    document.getElementById("all-answers")?.remove();
    const now = answer();
    if (!now) return;
    mark(now);
    const link = entry(now.dataset.sample);
    if (link) list.scrollTop += link.getBoundingClientRect().top - list.getBoundingClientRect().top;
  }

  // Shows in the list which answer is looked at, and how it stands.
  function mark(now) {
    const { sample, score } = now.dataset;
    for (const link of list.querySelectorAll("a[aria-current]")) link.removeAttribute("aria-current");
    const link = entry(sample);
    if (!link) return;
    link.setAttribute("aria-current", "true");
    link.classList.toggle("seen", "seen" in now.dataset);
    const figure = link.querySelector("b");
    if (figure) figure.textContent = score + ("corrected" in now.dataset ? "*" : "");
  }

  // Puts an answer, as the server has it, into the page.
  function put(html) {
    place.innerHTML = html;
    const now = answer();
    if (!now) return;
    const { sample, mean } = now.dataset;
    const corrected = document.getElementById("corrected");
    if (corrected) corrected.textContent = mean;
    mark(now);
    entry(sample)?.scrollIntoView({ block: "nearest" });
    document.title = `${sample} · ${review.dataset.adapter} · Clara`;
  }

  // A verdict rests on the scores that the page was loaded with and on the reviewer's own: any other change by then
  // makes it a conflict, which loading the page again ends.
  function raise(revision) {
    for (const input of review.querySelectorAll("[data-verdict] [name=revision]")) {
      if (Number(revision) === Number(input.value) + 1) input.value = revision;
    }
  }

  async function show(sample) {
    if (!sample) return tell("there is no further answer");
    wanted = sample;
    const reply = await fetch(`${path}/answers/${encodeURIComponent(sample)}${isBlind ? "?blind=1" : ""}`);
    if (wanted !== sample) return;
    if (!reply.ok) return tell(await problem(reply), true);
    tell("");
    put(await reply.text());
    history.replaceState(null, "", `${path}${isBlind ? "?blind=1" : ""}#${encodeURIComponent(sample)}`);
    saw();
  }

  // Sends a form; what went wrong is told, and the answer is shown as it is now.
  async function send(form, fields) {
    const reply = await fetch(form.action, {
      method: "POST",
      headers: { "x-part": "1" },
      body: new URLSearchParams(fields),
    });
    if (reply.ok) return reply;
    const words = await problem(reply);
    const sample = answer()?.dataset.sample;
    if (reply.status === 409 && sample) {
      const fresh = await fetch(`${path}/answers/${encodeURIComponent(sample)}${isBlind ? "?blind=1" : ""}`);
      if (fresh.ok) put(await fresh.text());
    }
    tell(words, true);
    return null;
  }

  // Notes that the answer was looked at, unless it is still to be judged blindly.
  async function saw() {
    const now = answer();
    const form = now?.querySelector("form[data-change]");
    if (!isNamed || !form || "hidden" in now.dataset || "seen" in now.dataset) return;
    const { sample } = now.dataset;
    const fields = { token: form.elements.token.value, change: "seen", sample };
    const reply = await fetch(form.action, { method: "POST", headers: { "x-part": "1" }, body: new URLSearchParams(fields) });
    if (!reply.ok) return;
    now.dataset.seen = "";
    entry(sample)?.classList.add("seen");
  }

  async function change(form, button) {
    const fields = new FormData(form);
    if (button?.name) fields.set(button.name, button.value);
    const reply = await send(form, fields);
    if (!reply) return;
    put(await reply.text());
    if (fields.get("change") === "override") raise(answer()?.dataset.revision);
    tell("kept");
    saw();
  }

  async function decide(form) {
    const reply = await send(form, new FormData(form));
    if (reply) location.assign(reply.url);
  }

  // A reason that was begun is kept for the next time.
  async function draft(form) {
    const reason = form.elements.reason;
    if (!isNamed || reason.value === reason.defaultValue) return;
    reason.defaultValue = reason.value;
    const fields = { token: form.elements.token.value, change: "draft", text: reason.value };
    await fetch(`${path}/changes`, { method: "POST", headers: { "x-part": "1" }, body: new URLSearchParams(fields) });
  }

  function open(id, field) {
    const fold = document.getElementById(id);
    if (!fold) {
      return tell(isNamed ? "that is not to be done here now" : "say who you are first: the link is at the top right");
    }
    fold.open = true;
    fold.scrollIntoView({ block: "nearest" });
    const target = fold.querySelector(field);
    target?.focus();
    if (target?.select && target.tagName === "TEXTAREA") target.setSelectionRange(target.value.length, target.value.length);
  }

  function turnMarks() {
    const marks = [...review.querySelectorAll("input[name=marks]")];
    const next = (marks.findIndex((mark) => mark.checked) + 1) % marks.length;
    marks[next].checked = true;
  }

  function turnBlind() {
    if (!document.getElementById("blind")) return tell("there is no champion's answer to compare with");
    const sample = encodeURIComponent(answer()?.dataset.sample ?? "");
    location.assign(`${path}?sample=${sample}${isBlind ? "" : "&blind=1"}`);
  }

  // A mark from 1 to 5 fills the exact number; the next criterion follows.
  function fillScore(radio) {
    const row = radio.closest(".mark");
    row.querySelector("input[type=number]").value = radio.value;
  }

  function markByKey(target, digit) {
    const row = target.closest(".mark");
    const radio = row.querySelectorAll("input[type=radio]")[Number(digit) - 1];
    radio.checked = true;
    fillScore(radio);
    const next = row.nextElementSibling;
    (next?.matches(".mark") ? next.querySelector("input[type=radio]") : row.closest("form").elements.reason).focus();
  }

  const KEYS = {
    j: () => show(answer()?.dataset.next),
    k: () => show(answer()?.dataset.previous),
    a: () => open("approve", "textarea"),
    r: () => open("reject", "textarea"),
    c: () => open("comment", "textarea"),
    s: () => open("scores", "input[type=radio]"),
    d: turnMarks,
    b: turnBlind,
    "?": () => help.showModal(),
  };

  document.addEventListener("keydown", (key) => {
    if (key.ctrlKey || key.metaKey || key.altKey || help.open) return;
    const target = key.target;
    if (key.key === "Escape") {
      const fold = target.closest?.("details[open]");
      if (fold) { fold.open = false; target.blur(); }
      return;
    }
    if (target.matches?.("textarea")) {
      if (key.key === "Enter" && !key.shiftKey && !key.isComposing) {
        key.preventDefault();
        target.form.requestSubmit();
      }
      return;
    }
    if (target.matches?.(".mark input[type=radio]") && /^[1-5]$/.test(key.key)) {
      key.preventDefault();
      return markByKey(target, key.key);
    }
    if (target.matches?.("input:not([type=radio]), select")) return;
    const choice = place.querySelector(`.choice [data-key="${CSS.escape(key.key)}"]`);
    const act = choice ? () => choice.click() : KEYS[key.key];
    if (!act) return;
    key.preventDefault();
    act();
  });

  document.addEventListener("submit", (submit) => {
    const form = submit.target;
    if (!form.matches("[data-change], [data-verdict]")) return;
    submit.preventDefault();
    if (form.matches("[data-verdict]")) decide(form);
    else change(form, submit.submitter);
  });
  document.addEventListener("change", (change) => {
    if (change.target.matches(".mark input[type=radio]")) fillScore(change.target);
  });
  document.addEventListener("input", (input) => {
    if (!input.target.matches(".mark input[type=number]")) return;
    for (const radio of input.target.closest(".mark").querySelectorAll("input[type=radio]")) {
      radio.checked = radio.value === input.target.value;
    }
  });
  document.addEventListener("focusout", (left) => {
    const form = left.target.closest?.("form[data-verdict]");
    if (form && left.target.matches("textarea")) draft(form);
  });
  document.addEventListener("click", (click) => {
    const link = click.target.closest?.("a[data-sample]");
    if (!link || click.ctrlKey || click.metaKey || click.shiftKey || click.button !== 0) return;
    click.preventDefault();
    show(link.dataset.sample);
  });
  window.addEventListener("hashchange", () => show(decodeURIComponent(location.hash.slice(1))));

  const keys = document.getElementById("keys");
  keys.hidden = false;
  keys.addEventListener("click", () => help.showModal());
  const asked = decodeURIComponent(location.hash.slice(1));
  const filled = fill();
  if (asked && asked !== answer()?.dataset.sample) filled.then(() => (entry(asked) ? show(asked) : saw()));
  else saw();
})();
