// One chat request as a stream: server-sent events in, parts of the answer out.

// Lines to events. A border between chunks may fall anywhere, between CR and LF too.
export class EventParser {
  #rest = "";
  #data = [];

  constructor(onData) {
    this.onData = onData;
  }

  push(text) {
    this.#rest += text;
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      if (end < 0) return;
      const cr = this.#rest[end] === "\r";
      if (cr && end === this.#rest.length - 1) return; // its LF may be in the next chunk
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (cr && this.#rest[end + 1] === "\n" ? 2 : 1));
      this.#line(line);
    }
  }

  // The stream is over; an event without its blank line still counts, since servers forget it.
  end() {
    if (this.#rest) this.#line(this.#rest.replace(/\r$/, ""));
    this.#rest = "";
    this.#line("");
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length) this.onData(this.#data.join("\n"));
      this.#data = [];
    } else if (line.startsWith("data:")) {
      this.#data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

// kind: a word of the page that explains; status: the HTTP code; detail: what the server said.
export class ChatError extends Error {
  constructor(kind, { status = 0, detail = "" } = {}) {
    super(`${kind} ${status} ${detail}`);
    Object.assign(this, { kind, status, detail });
  }
}

const KINDS = { 401: "error-key", 403: "error-key", 404: "error-path", 413: "error-large", 429: "error-busy", 503: "error-draining" };

export function failure(status, text) {
  let detail = text.slice(0, 2000);
  try {
    const found = JSON.parse(text);
    detail = found.error?.message ?? found.message ?? detail;
  } catch {
    // not JSON: said as it came
  }
  return new ChatError(KINDS[status] ?? "error-answer", { status, detail: String(detail) });
}

function* parts(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new ChatError("error-form", { detail: text.slice(0, 200) });
  }
  if (found?.error || found?.object === "error") {
    const said = found.error?.message ?? found.error ?? found.message;
    throw new ChatError("error-stream", { detail: typeof said === "string" ? said : JSON.stringify(said) });
  }
  if (found?.usage) yield { usage: found.usage };
  for (const choice of found?.choices ?? []) {
    const delta = choice.delta ?? choice.message ?? {};
    const reasoning = delta.reasoning ?? delta.reasoning_content;
    if (reasoning) yield { reasoning };
    if (delta.content) yield { content: delta.content };
    for (const [i, call] of (delta.tool_calls ?? []).entries()) yield { call: { ...call, index: call.index ?? i } };
    if (choice.finish_reason) yield { finish: choice.finish_reason };
  }
}

// Yields {reasoning}, {content}, {call}, {usage}, {finish}. Raises ChatError; AbortError when the signal says so.
export async function* streamChat(url, body, { headers, signal }) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
      cache: "no-store",
    });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ChatError("error-network");
  }
  if (!response.ok) throw failure(response.status, await response.text());
  if (!(response.headers.get("Content-Type") ?? "").includes("text/event-stream")) {
    yield* parts(await response.text());
    return;
  }
  yield* events(response);
}

async function* events(response) {
  const waiting = [];
  let ended = false;
  const parser = new EventParser((data) => {
    if (data.trim() === "[DONE]") ended = true;
    else if (!ended) waiting.push(data);
  });
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((e) => {
        if (e.name === "AbortError") throw e;
        throw new ChatError("error-cut");
      });
      if (done) parser.end();
      else parser.push(decoder.decode(value, { stream: true }));
      while (waiting.length) {
        for (const part of parts(waiting.shift())) {
          finished ||= Boolean(part.finish);
          yield part;
        }
      }
      if (ended || (done && finished)) return;
      if (done) throw new ChatError("error-cut");
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
