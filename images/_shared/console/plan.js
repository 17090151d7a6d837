// The plan: its figures, the memory of a card on a scale, what the engine reported beside it, and the reasons.
import { make, number, say, word } from "./words.js";
import { copyButton } from "./copy.js";

const LEVELS = ["rendered", "simulated", "ran"];
const GIB = 2 ** 30;
const at = (id) => document.getElementById(id);

const gib = (value) => number(value, value >= 10 ? 1 : value > 0 && value < 0.01 ? 3 : 2);
const short = (value) => number(value, value >= 100 ? 0 : 1);
const english = (name, text, attributes = {}) => make(name, { lang: "en", ...attributes }, text);

// Parts of a card's memory in GiB, each where it begins. The band may become cache or overhead.
export function spans(rank) {
  const band = Math.max(0, rank.overhead_gib_high - rank.overhead_gib_low);
  const used = rank.weights_gib + rank.kv_gib_low + rank.overhead_gib_low + band;
  const parts = [
    ["weights", rank.weights_gib],
    ["kv", rank.kv_gib_low],
    ["band", band],
    ["overhead", rank.overhead_gib_low],
    ["spare", Math.max(0, rank.budget_gib - used)],
    ["beyond", Math.max(0, rank.visible_gib - rank.budget_gib)],
  ];
  let from = 0;
  const placed = parts.map(([kind, size]) => {
    const part = { kind, size, from };
    from += size;
    return part;
  });
  return placed.filter(({ kind, size }) => size >= 0.005 || kind === "weights");
}

export function show(plan, reported, bench) {
  const open = new Set([...at("reasons").querySelectorAll("details[open]")].map((d) => d.id));
  at("plan-body").replaceChildren(...warnings(plan), scale(plan, reported), rows(plan, reported), ...measured(bench));
  at("proof-body").replaceChildren(...proof(plan));
  at("reasons").replaceChildren(...more(plan));
  for (const details of at("reasons").querySelectorAll("details")) details.open = open.has(details.id);
  at("evidence").replaceChildren(say(make("span", { class: `badge ${plan.evidence.level}` }), `evidence-${plan.evidence.level}`));
  at("proof").hidden = false;
}

export function hide(why) {
  at("plan-body").replaceChildren(say(make("p", { class: "soft", id: "plan-absent" }), why));
  at("evidence").replaceChildren();
  at("proof").hidden = true;
}

function warnings(plan) {
  return plan.warnings.map((text) => english("p", text, { class: "notice" }));
}

function rows(plan, reported) {
  const cards = plan.nodes > 1 ? "cards-nodes" : "cards-one";
  const found = [
    ["profile", plan.profile],
    ["cards", word(cards, { cards: plan.cards, nodes: plan.nodes })],
    ["parallelism", `TP${plan.tensor_parallel} × PP${plan.pipeline_parallel} × DP${plan.data_parallel}`],
    ["context", word("tokens", { n: number(plan.max_model_len) })],
    ["precision", plan.quantization ? `${plan.precision} (${plan.quantization})` : plan.precision],
    ["kv-dtype", plan.kv_dtype],
    ["sequences", number(plan.max_num_seqs)],
    ["batch", word("tokens", { n: number(plan.max_num_batched_tokens) })],
  ];
  const list = make("dl", { class: "rows" });
  for (const [key, value] of found) list.append(make("div", {}, say(make("dt"), key), make("dd", {}, value)));
  if (plan.kv_cache_tokens) list.append(...promise(plan.kv_cache_tokens, reported));
  return list;
}

// What was promised, and what the engine says it holds.
function promise({ low, high }, reported) {
  const range = low === high ? number(low) : `${number(low)} – ${number(high)}`;
  const found = [make("div", {}, say(make("dt"), "kv-promised"), make("dd", {}, word("tokens", { n: range })))];
  if (reported === undefined) return found;
  const kept = reported >= low;
  const verdict = say(make("span", { class: kept ? "good" : "bad" }), kept ? "promise-kept" : "promise-short");
  const cell = make("dd", { id: "reported" }, `${word("tokens", { n: number(reported) })} `, verdict);
  return [...found, make("div", {}, say(make("dt"), "kv-reported"), cell)];
}

// The last benchmark of this image: a row for each scenario. Nothing where none was made.
function measured(bench) {
  if (!bench?.points?.length) return [];
  const list = make("dl", { class: "rows", id: "bench" });
  for (const { label, output_tokens_per_second: rate, ttft_ms } of bench.points) {
    const spread = rate.low === null ? "" : ` ± ${short((rate.high - rate.low) / 2)}`;
    const words = word("bench-figures", { rate: `${short(rate.mean)}${spread}`, ttft: short(ttft_ms) });
    list.append(make("div", {}, english("dt", label), make("dd", {}, words)));
  }
  return [say(make("h3", {}), "bench-title", { date: bench.date.slice(0, 10) }), list];
}

function scale(plan, reported) {
  const stages = new Map(plan.memory.per_rank.map((rank) => [rank.stage, rank]).reverse());
  const figure = make("figure", { class: "scale" });
  figure.append(say(make("figcaption"), "memory"));
  const ordered = [...stages.keys()].sort((a, b) => a - b);
  for (const stage of ordered) figure.append(...card(stages.get(stage), plan, reported, ordered.length > 1));
  figure.append(legend(stages.get(ordered[0])));
  return figure;
}

function card(rank, plan, reported, several) {
  const whole = rank.visible_gib;
  const share = (value) => `${Math.min(100, Math.max(0, (value / whole) * 100))}%`;
  const bar = make("div", { class: "bar", role: "img", "aria-label": described(rank) });
  for (const { kind, size, from } of spans(rank)) {
    const part = make("span", { class: `part ${kind}` });
    part.style.left = share(from);
    part.style.width = share(size);
    part.title = `${word(`memory-${kind}`)}: ${gib(size)} GiB`;
    bar.append(part);
  }
  bar.append(placed("limit", share(rank.budget_gib)));
  const parts = several ? [say(make("p", { class: "stage" }), "stage", { n: rank.stage })] : [];
  return [...parts, bar, mark(rank, plan, reported, share), ruler(whole, share)].filter(Boolean);
}

function placed(name, left) {
  const found = make("span", { class: name, "aria-hidden": "true" });
  found.style.left = left;
  return found;
}

// The cache that the engine reported, as a bracket under the cache that was promised.
function mark(rank, plan, reported, share) {
  const whole = rank.visible_gib;
  if (reported === undefined || !plan.memory.kv_bytes_per_token) return null;
  const size = (reported * plan.memory.kv_bytes_per_token) / GIB;
  const track = make("div", { class: "track" });
  const found = make("span", { class: "reported" });
  found.style.left = share(rank.weights_gib);
  found.style.width = share(size);
  const text = say(make("span", { class: "reported-text" }), "reported-gib", { n: gib(size) });
  text.style.left = share(Math.min(rank.weights_gib, whole * 0.66)); // near the end there is no room to its right
  track.append(found, text);
  return track;
}

function ruler(whole, share) {
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64].find((s) => whole / s <= 6) ?? 100;
  const found = make("div", { class: "ruler", "aria-hidden": "true" });
  for (let value = 0; value <= whole * 0.97; value += step) {
    const tick = placed("tick", share(value));
    tick.append(make("span", {}, String(value)));
    found.append(tick);
  }
  found.append(make("span", { class: "unit" }, "GiB"));
  return found;
}

function described(rank) {
  const each = spans(rank).map(({ kind, size }) => `${word(`memory-${kind}`)} ${gib(size)} GiB`);
  return `${word("memory")}: ${each.join("; ")}; ${word("of-visible", { n: gib(rank.visible_gib) })}`;
}

function legend(rank) {
  const list = make("ul", { class: "legend" });
  for (const { kind, size } of spans(rank)) {
    const name = say(make("span"), `memory-${kind}`);
    list.append(make("li", {}, make("i", { class: `part ${kind}`, "aria-hidden": "true" }), name, make("b", {}, gib(size))));
  }
  return list;
}

// How far the pair of card and engine was taken, of the three levels.
function proof(plan) {
  const { level, note, command, date } = plan.evidence;
  const steps = make("ol", { class: "steps" });
  for (const name of LEVELS) {
    const reached = LEVELS.indexOf(name) <= LEVELS.indexOf(level);
    const step = say(make("li", { class: reached ? "reached" : "" }), `evidence-${name}`);
    if (name === level) step.setAttribute("aria-current", "step");
    steps.append(step);
  }
  const found = [steps, say(make("p", { class: "soft" }), `means-${level}`)];
  if (note) found.push(english("p", date ? `${note} (${date})` : note, { class: "soft" }));
  if (command) found.push(make("pre", { tabindex: "0" }, make("code", {}, command)));
  return found;
}

function more(plan) {
  const reasons = make("ul", { lang: "en" }, ...plan.because.map((text) => make("li", {}, text)));
  const line = [...plan.command, ...plan.engine_args].join(" ");
  const call = make("div", { class: "code-box" }, make("div", { class: "code-head" }, make("span"), copyButton(() => line)));
  call.append(make("pre", { tabindex: "0" }, make("code", {}, line)));
  return [
    make("details", { id: "because" }, say(make("summary"), "because"), reasons),
    make("details", { id: "call" }, say(make("summary"), "engine-call"), call),
  ];
}
