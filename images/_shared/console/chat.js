// The chat box: what is said goes to the engine with all that was said before, and its answer streams in.
import * as api from "./api.js";
import { render } from "./markdown.js";
import { ChatError, streamChat } from "./stream.js";
import { copyButton } from "./copy.js";
import { make, number, say, silence } from "./words.js";

const at = (id) => document.getElementById(id);
const EXAMPLE_TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

export class Chat {
  #messages = [];
  #abort = null;

  constructor({ onRefused }) {
    this.onRefused = onRefused;
    this.model = null;
    at("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(at("ask").value);
    });
    at("ask").addEventListener("keydown", (event) => this.#key(event));
    at("chat").addEventListener("keydown", (event) => event.key === "Escape" && this.stop());
    at("stop").addEventListener("click", () => this.stop());
    at("new-chat").addEventListener("click", () => this.clear());
    at("tools-example").addEventListener("click", () => (at("tools").value = JSON.stringify(EXAMPLE_TOOLS, null, 2)));
  }

  // Enter sends, unless it ends a word of an input method.
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.ask(at("ask").value);
  }

  offer(examples) {
    const buttons = examples.map((text) => {
      const button = make("button", { type: "button", class: "example" }, text);
      button.addEventListener("click", () => this.ask(text));
      return make("li", {}, button);
    });
    at("examples").replaceChildren(...buttons);
  }

  stop() {
    this.#abort?.abort();
  }

  clear() {
    this.stop();
    this.#messages = [];
    at("turns").replaceChildren();
    at("spoken").textContent = "";
    at("empty").hidden = false;
    at("new-chat").disabled = true;
    at("ask").focus();
  }

  ask(text) {
    if (this.#abort || !text.trim()) return;
    if (!this.#options()) return;
    at("ask").value = "";
    this.#leaveCalls();
    this.#messages.push({ role: "user", content: text });
    at("turns").append(make("li", { class: "turn user" }, say(make("p", { class: "who" }), "you"), make("div", { class: "said" }, text)));
    this.#answer();
  }

  // A call whose result nobody gave is no part of what follows: engines refuse a call without one.
  #leaveCalls() {
    const last = this.#messages.at(-1);
    if (last?.tool_calls) this.#messages.splice(-1, 1, { role: "assistant", content: last.content ?? "" });
    at("turns").querySelector(".results")?.remove();
  }

  // The request's options, or null when one of them is wrong (and says so).
  #options() {
    silence(at("tools-message"));
    const found = {};
    const temperature = parseFloat(at("temperature").value);
    const most = parseInt(at("max-tokens").value, 10);
    if (temperature >= 0) found.temperature = Math.min(2, temperature);
    if (most > 0) found.max_tokens = most;
    if (!at("tools").value.trim()) return found;
    try {
      found.tools = JSON.parse(at("tools").value);
      if (!Array.isArray(found.tools)) throw new Error("not a list");
      return found;
    } catch (e) {
      at("tools").closest("details").open = true;
      say(at("tools-message"), "tools-wrong", { why: e.message });
      at("tools").focus();
      return null;
    }
  }

  async #answer() {
    const turn = new Turn();
    at("empty").hidden = true;
    at("new-chat").disabled = false;
    at("turns").append(turn.element);
    this.#busy(true);
    turn.follow(true);
    const abort = (this.#abort = new AbortController());
    const system = at("system").value.trim();
    const messages = system ? [{ role: "system", content: system }, ...this.#messages] : this.#messages;
    const said = this.#messages;
    try {
      const body = { model: await this.#served(), messages, ...this.#options() };
      const stream = streamChat(api.address("v1/chat/completions"), body, { headers: api.headers(), signal: abort.signal });
      for await (const part of stream) turn.take(part);
      turn.close();
    } catch (e) {
      this.#failed(turn, e);
    }
    if (turn.message) said.push(turn.message);
    else if (said === this.#messages && said.at(-1)?.role === "user") at("ask").value ||= said.pop().content;
    if (turn.calls.length && turn.message) turn.askResults((results) => this.#results(turn, results));
    if (this.#abort === abort) this.#busy(false);
  }

  async #served() {
    if (this.model) return this.model;
    const { status, value } = await api.getJson("v1/models");
    if (status !== 200) throw new ChatError(status === 401 || status === 403 ? "error-key" : "error-network", { status });
    return (this.model = value?.data?.[0]?.id);
  }

  #failed(turn, e) {
    if (e.name === "AbortError") return turn.close("stopped");
    const known = e instanceof ChatError ? e : new ChatError("error-page", { detail: String(e) });
    turn.fail(known);
    if (known.kind === "error-key") this.onRefused();
  }

  #results(turn, results) {
    if (this.#abort) return;
    this.#messages.push(...results);
    this.#answer();
  }

  #busy(yes) {
    if (!yes) this.#abort = null;
    const focused = document.activeElement === at("stop") || document.activeElement === at("send");
    at("stop").hidden = !yes;
    at("send").hidden = yes;
    at("chat").setAttribute("aria-busy", String(yes));
    if (focused) (yes ? at("stop") : at("ask")).focus();
  }
}

// One answer, as it arrives.
class Turn {
  #content = "";
  #reasoning = "";
  #frame = 0;
  #spoken = 0;
  #started = performance.now();
  #first = null;
  #usage = null;
  #finish = null;
  calls = [];
  message = null;

  constructor() {
    this.body = make("div", { class: "said markdown" });
    this.tools = make("div", { class: "calls" });
    this.meta = make("p", { class: "meta" });
    this.wait = say(make("span", { class: "cursor" }), "thinking");
    const who = say(make("p", { class: "who" }), "model");
    this.element = make("li", { class: "turn model" }, who, this.wait, this.body, this.tools, this.meta);
  }

  take({ reasoning, content, call, usage, finish }) {
    if (reasoning) this.#reasoning += reasoning;
    if (content) this.#content += content;
    if (call) this.#call(call);
    if (usage) this.#usage = usage;
    if (finish) this.#finish = finish;
    if (reasoning || content || call) this.#first ??= performance.now();
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  // Pieces of a call arrive one by one, told apart by their index.
  #call({ index, id, function: f }) {
    const known = (this.calls[index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (id) known.id = id;
    if (f?.name) known.function.name = f.name;
    if (f?.arguments) known.function.arguments += f.arguments;
  }

  #draw() {
    this.#frame = 0;
    const stick = this.#atEnd();
    this.wait.hidden = Boolean(this.#content || this.calls.length);
    if (this.#reasoning) this.#think();
    render(this.body, this.#content.trimStart());
    if (this.calls.length) this.tools.replaceChildren(...this.calls.filter(Boolean).map(callBox));
    this.#speak(false);
    this.follow(stick);
  }

  #think() {
    if (!this.thoughts) {
      this.thought = make("div", { class: "thought" });
      this.thoughts = make("details", { class: "reasoning", open: "" }, say(make("summary"), "reasoning"), this.thought);
      this.thoughts.querySelector("summary").addEventListener("click", () => (this.touched = true));
      this.wait.after(this.thoughts);
    }
    this.thought.textContent = this.#reasoning.trim();
    this.wait.hidden = true;
    if (this.#content && !this.touched && !this.folded) {
      this.folded = true;
      this.thoughts.open = false; // the answer has begun; the thoughts stay a click away
    }
  }

  // Whole sentences for whoever listens: a token at a time cannot be heard.
  #speak(all) {
    const rest = this.#content.slice(this.#spoken);
    const end = all ? rest.length : Math.max(...[". ", "? ", "! ", "。", "？", "！", "\n"].map((mark) => rest.lastIndexOf(mark))) + 1;
    if (end <= 0) return;
    this.#spoken += end;
    at("spoken").textContent = rest.slice(0, end);
  }

  close(note = null) {
    cancelAnimationFrame(this.#frame);
    const stick = this.#atEnd();
    this.#draw();
    this.#speak(true);
    this.wait.remove();
    const calls = this.calls.filter(Boolean);
    if (this.#content || calls.length) {
      this.message = { role: "assistant", content: this.#content || null };
      if (calls.length && !note) this.message.tool_calls = calls;
      else if (calls.length) this.message.content ??= "";
    } else if (!note) say(this.body.appendChild(make("p", { class: "soft" })), "no-words");
    this.#figures(note ?? (this.#finish === "length" ? "cut-length" : null));
    this.follow(stick);
  }

  #figures(note) {
    const seconds = (performance.now() - this.#started) / 1000;
    const parts = note ? [say(make("span", { class: "noted" }), note)] : [];
    if (this.#first) parts.push(say(make("span"), "first-token", { n: number(this.#first - this.#started) }));
    const tokens = this.#usage?.completion_tokens;
    if (tokens) parts.push(say(make("span"), "figures", { tokens: number(tokens), seconds: number(seconds, 1), rate: number(tokens / seconds, 1) }));
    if (this.#content) parts.push(copyButton(() => this.#content.trim()));
    this.meta.replaceChildren(...parts);
  }

  // What has arrived stays; where there is no answer, the question goes back to the box.
  fail({ kind, status, detail }) {
    const began = Boolean(this.#content || this.#reasoning || this.calls.length);
    if (began) this.close("incomplete");
    else this.wait.remove();
    this.calls = [];
    const box = make("div", { class: "failure", role: "alert" }, say(make("p"), kind, { status }));
    if (detail) box.append(make("p", { class: "detail", lang: "en" }, detail));
    this.meta.before(box);
    this.follow(true);
  }

  askResults(onSend) {
    const fields = this.calls.filter(Boolean).map((call) => {
      const id = `result-${Math.random().toString(36).slice(2)}`;
      const label = say(make("label", { for: id }), "tool-result", { name: call.function.name });
      return { call, label, field: make("textarea", { id, rows: "1", class: "code" }) };
    });
    const send = say(make("button", { type: "submit" }), "tool-send");
    const form = make("form", { class: "results" }, ...fields.flatMap(({ label, field }) => [label, field]), send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.remove();
      onSend(fields.map(({ call, field }) => ({ role: "tool", tool_call_id: call.id, content: field.value })));
    });
    this.tools.append(form);
    this.follow(true);
  }

  #atEnd() {
    const box = at("scroll");
    return box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  }

  follow(yes) {
    if (yes) at("scroll").scrollTop = at("scroll").scrollHeight;
  }
}

function callBox({ function: f }) {
  let text = f.arguments;
  try {
    text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // still arriving, or not JSON: as it is
  }
  const head = make("p", { class: "call-name" }, say(make("span"), "tool-call"), " ", make("code", {}, f.name));
  return make("div", { class: "call" }, head, make("pre", { tabindex: "0" }, make("code", {}, text)));
}
