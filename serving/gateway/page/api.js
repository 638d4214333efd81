// The gateway's HTTP interface, as the page uses it.

export class Refusal extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** The demo merchants with their keys, or an empty list where none are offered to this browser. */
export async function demoMerchants() {
  const reply = await fetch("/page/demo", { method: "POST" });
  return reply.ok ? (await reply.json()).data : [];
}

/** Throws a Refusal if the key does not open anything. */
export async function checkKey(key) {
  const reply = await fetch("/v1/models", { headers: { Authorization: `Bearer ${key}` } });
  if (!reply.ok) throw await refusalOf(reply);
}

/** Chunks of one answer; aborting the signal stops the engine. Throws a Refusal. */
export async function* ask(key, messages, signal) {
  const reply = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      model: "base", messages, stream: true, stream_options: { include_usage: true },
    }),
    signal,
  });
  if (!reply.ok) throw await refusalOf(reply);
  for await (const data of events(reply.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refusal(chunk.error.message, chunk.error.code);
    yield chunk;
  }
  throw new Refusal("The answer broke off. Ask again.", "incomplete");
}

async function refusalOf(reply) {
  try {
    const { error } = await reply.json();
    return new Refusal(error.message, error.code);
  } catch {
    return new Refusal(`The gateway answered with status ${reply.status}.`, "unknown");
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
  }
}
