// What the engine says of itself, every two seconds while somebody looks. Names of metrics are the engine's data.
import * as api from "./api.js";
import { number, onLanguage, say } from "./words.js";

const EVERY = 2000;
const KEPT = 60;
const at = (id) => document.getElementById(id);

// Prometheus text: {name: [{labels, value}, ...]}, of the wanted names only.
export function parseMetrics(text, wanted) {
  const found = {};
  for (const line of text.split("\n")) {
    const match = line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/);
    if (!match || !wanted.has(match[1])) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    (found[match[1]] ??= []).push({ labels, value: Number(match[3]) });
  }
  return found;
}

// The figures of one moment; undefined where the engine has none. Engines side by side: sums, and the fullest cache.
export function figures(text, names) {
  const wanted = new Set(Object.values(names).map((n) => n?.metric ?? n));
  const found = parseMetrics(text, wanted);
  const values = (name) => (found[name] ?? []).map((s) => s.value).filter(Number.isFinite);
  const sum = (name) => (values(name).length ? values(name).reduce((a, b) => a + b, 0) : undefined);
  const use = values(names.kv_usage);
  return {
    running: sum(names.running),
    waiting: sum(names.waiting),
    kvUse: use.length ? Math.max(...use) : undefined,
    generated: sum(names.generated),
    kvTokens: kvTokens(found, names.kv_tokens),
  };
}

// The cache of one engine in tokens: the product of the labels; the smallest where several stand side by side.
function kvTokens(found, names) {
  const products = (found[names?.metric] ?? [])
    .map(({ labels }) => names.labels.reduce((product, label) => product * Number(labels[label]), 1))
    .filter((n) => Number.isFinite(n) && n > 0);
  return products.length ? Math.min(...products) : undefined;
}

export class Live {
  #timer = null;
  #last = null;
  #rates = [];
  #now = null;
  names = null;
  metrics = true; // false: not with what this page holds

  constructor({ onRefused, onReported }) {
    Object.assign(this, { onRefused, onReported });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    onLanguage(() => this.#show());
  }

  start() {
    this.stop();
    if (!document.hidden) this.#poll();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#last = null;
  }

  async #poll() {
    const mine = (this.#timer = setTimeout(() => {}, EVERY));
    const reading = this.names && this.metrics;
    const { status, text } = await api.get(reading ? "console/metrics" : "health");
    if (this.#timer !== mine) return;
    if (reading && status === 200) this.#take(figures(text, this.names));
    if (reading && status !== 0 && status !== 200 && status !== 429 && status < 500) {
      this.metrics = false;
      if (status === 401 || status === 403) this.onRefused();
    }
    this.#state(reading && (!this.metrics || status === 429) ? null : status);
    this.#timer = setTimeout(() => this.#poll(), EVERY);
  }

  #state(status) {
    if (status === null) return;
    const name = status === 200 ? "serving" : status === 503 ? "draining" : status === 0 ? "unreachable" : "failing";
    if (at("state").dataset.state === name) return;
    at("state").dataset.state = name;
    say(at("state-text"), name);
    if (name !== "serving") this.#last = null;
  }

  #take(now) {
    const moment = performance.now();
    if (this.#last && now.generated >= this.#last.generated) {
      this.#rates.push(((now.generated - this.#last.generated) * 1000) / (moment - this.#last.moment));
      this.#rates = this.#rates.slice(-KEPT);
    }
    this.#last = { ...now, moment };
    this.#now = now;
    this.#show();
    if (now.kvTokens !== undefined) this.onReported(now.kvTokens);
  }

  #show() {
    const now = this.#now;
    at("live").hidden = !now;
    if (!now) return;
    const or = (value, text) => (value === undefined ? "–" : text(value));
    at("live-running").textContent = or(now.running, number);
    at("live-waiting").textContent = or(now.waiting, number);
    at("live-kv").textContent = or(now.kvUse, (use) => `${number(use * 100, use > 0 && use < 0.1 ? 2 : 0)} %`);
    at("live-kv-bar").style.width = `${Math.min(100, (now.kvUse ?? 0) * 100)}%`;
    at("live-rate").textContent = or(this.#rates.at(-1), (rate) => number(rate, rate > 0 && rate < 10 ? 1 : 0));
    const most = Math.max(1, ...this.#rates);
    const points = this.#rates.map((rate, i) => {
      const back = this.#rates.length - 1 - i; // the newest stands at the right
      return `${120 - (back * 120) / (KEPT - 1)},${26 - (rate / most) * 24}`;
    });
    at("live-line").firstElementChild.setAttribute("points", points.join(" "));
  }
}
