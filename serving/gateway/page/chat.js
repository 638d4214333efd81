// The chat page. All text goes in as text: `textContent`, never markup.
import { ask, checkKey, demoMerchants, Refusal } from "/page/api.js";

const KEY = "bulkhead.key";
const STARTERS = [
  "How many days do I have to return an item?",
  "Which carrier delivers my parcel?",
  "Which discount code can I use on my first order?",
];
const at = (id) => document.getElementById(id);

// One conversation per key. Nothing of one is ever sent with the key of another.
let current = null;

function open(session) {
  current = session;
  at("key-form").hidden = true;
  at("chat").hidden = false;
  at("log").replaceChildren(...session.nodes);
  for (const option of at("merchants").children) {
    const chosen = option.textContent === session.name;
    option.setAttribute("aria-checked", String(chosen));
    option.tabIndex = chosen ? 0 : -1;
  }
  busy(Boolean(session.abort));
  at("question").focus();
}

function session(name, key) {
  return { name, key, messages: [], nodes: [], abort: null };
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function turn(owner, role, text) {
  const node = element("article", `turn ${role}`);
  node.append(element("p", "text", text));
  owner.nodes.push(node);
  if (owner === current) at("log").append(node);
  node.scrollIntoView({ block: "end" });
  return node;
}

function busy(yes) {
  at("send").hidden = yes;
  at("stop").hidden = !yes;
  at("log").setAttribute("aria-busy", String(yes));
  at("starters").hidden = yes || current.messages.length > 0;
}

async function answer(owner, question) {
  turn(owner, "user", question);
  const node = turn(owner, "assistant waiting", "");
  const asked = [...owner.messages, { role: "user", content: question }];
  const abort = owner.abort = new AbortController();
  busy(true);
  try {
    const text = await show(node, ask(owner.key, asked, abort.signal));
    owner.messages = [...asked, { role: "assistant", content: text }];
  } catch (error) {
    node.append(element("p", "meta error", reason(error)));
  } finally {
    node.classList.remove("waiting");
    if (owner.abort === abort) owner.abort = null;
    if (owner === current) busy(false);
  }
}

async function show(node, chunks) {
  const text = node.querySelector(".text");
  for await (const chunk of chunks) {
    text.textContent += chunk.choices[0]?.delta.content ?? "";
    if (chunk.citations) node.append(sources(chunk.citations));
    if (chunk.usage) node.append(element("p", "meta", counted(chunk.usage)));
    node.scrollIntoView({ block: "end" });
  }
  return text.textContent;
}

function counted(usage) {
  const cached = usage.prompt_tokens_details.cached_tokens;
  return `${usage.prompt_tokens} tokens read, ${cached} of them from this merchant's own cache; `
    + `${usage.completion_tokens} written.`;
}

function reason(error) {
  if (error.name === "AbortError") return "Stopped.";
  if (error instanceof Refusal) return `${error.message} (${error.code})`;
  return "The gateway cannot be reached. Is it still running?";
}

function sources(citations) {
  const box = element("details", "sources");
  const list = document.createElement("ol");
  for (const citation of citations) {
    const item = element("li", citation.cited ? "cited" : "");
    item.append(element("strong", "", citation.title), ` ${citation.document_id}`);
    item.append(element("blockquote", "", citation.quote));
    list.append(item);
  }
  box.append(element("summary", "", `${citations.length} sources`), list);
  return box;
}

function offerMerchants(merchants) {
  const sessions = merchants.map(({ id, api_key }) => session(id, api_key));
  const options = sessions.map((one) => {
    const option = element("button", "", one.name);
    option.type = "button";
    option.setAttribute("role", "radio");
    option.addEventListener("click", () => open(one));
    return option;
  });
  at("merchants").replaceChildren(...options);
  at("merchants").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = options.at((options.indexOf(document.activeElement) + step) % options.length);
    next.click();
    next.focus();
  });
  at("merchants").hidden = false;
  open(sessions[0]);
}

function askForKey(message = "") {
  sessionStorage.removeItem(KEY);
  at("chat").hidden = at("forget").hidden = true;
  at("key-form").hidden = false;
  at("key-form").querySelector(".error")?.remove();
  if (message) at("key-form").append(element("p", "error", message));
  at("key").value = "";
  at("key").focus();
}

async function openWith(key) {
  try {
    await checkKey(key);
  } catch (error) {
    askForKey(reason(error));
    return;
  }
  sessionStorage.setItem(KEY, key);
  at("forget").hidden = false;
  open(session("", key));
}

function listen() {
  at("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    openWith(at("key").value.trim());
  });
  at("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = at("question").value.trim();
    if (!question || current.abort) return;
    at("question").value = "";
    answer(current, question);
  });
  at("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    at("ask-form").requestSubmit();
  });
  at("stop").addEventListener("click", () => current.abort?.abort());
  at("forget").addEventListener("click", () => {
    current?.abort?.abort();
    askForKey();
  });
  at("fresh").addEventListener("click", () => {
    current.abort?.abort();
    Object.assign(current, { messages: [], nodes: [], abort: null });
    open(current);
  });
  for (const starter of STARTERS) {
    const button = element("button", "", starter);
    button.type = "button";
    button.addEventListener("click", () => answer(current, starter));
    at("starters").append(button);
  }
}

async function start() {
  listen();
  const merchants = await demoMerchants().catch(() => []);
  const kept = sessionStorage.getItem(KEY);
  if (merchants.length) offerMerchants(merchants);
  else if (kept) await openWith(kept);
  else askForKey();
}

start();
