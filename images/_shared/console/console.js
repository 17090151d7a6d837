// The page: what runs here, how it does, and a place to ask. Everything is built from what the appliance answers.
import * as api from "./api.js";
import { Chat } from "./chat.js";
import { showClients } from "./clients.js";
import { Live } from "./live.js";
import * as planView from "./plan.js";
import { language, make, onLanguage, say, setLanguage, silence, word } from "./words.js";

const at = (id) => document.getElementById(id);
const shown = { plan: null, about: null, bench: null, reported: undefined, absent: "loading" };

const live = new Live({ onRefused: () => askKey("key-why-data"), onReported: reported });
const chat = new Chat({ onRefused: () => askKey("key-why-401", true) });

// --- theme and language

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // storage is closed to this page: the choice holds until it is left
  }
}

const dark = () =>
  (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function nameSwitches() {
  at("theme").setAttribute("aria-label", word(dark() ? "to-light" : "to-dark"));
  at("language").textContent = word("other-language");
  at("language").lang = language() === "en" ? "zh-CN" : "en";
}

at("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  keep("weighbridge-theme", document.documentElement.dataset.theme);
  nameSwitches();
});

at("language").addEventListener("click", async () => {
  const next = language() === "en" ? "zh-CN" : "en";
  keep("weighbridge-language", next);
  await setLanguage(next);
});

onLanguage(() => {
  nameSwitches();
  showAll();
});

// --- the key

function askKey(why, focus = false) {
  say(at("key-why"), why);
  at("key").hidden = false;
  at("key-forget").hidden = !api.held();
  at("key-button").setAttribute("aria-expanded", "true");
  if (focus) at("key-value").focus();
}

function closeKey() {
  at("key").hidden = true;
  at("key-value").value = "";
  silence(at("key-message"));
  at("key-button").setAttribute("aria-expanded", "false");
  markKey();
}

function markKey() {
  at("key-button").dataset.held = String(api.held());
  say(at("key-button").firstElementChild, api.held() ? (api.kept() ? "key-kept" : "key-held") : "key");
}

at("key-button").addEventListener("click", () => {
  if (!at("key").hidden) closeKey();
  else askKey("key-why", true);
});

at("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const value = at("key-value").value.trim();
  silence(at("key-message"));
  if (!api.possible(value)) return refuse(value ? "key-odd" : "key-empty");
  const { status } = await api.get("v1/models", value);
  if (status === 401 || status === 403) return refuse("key-wrong");
  if (status !== 200) return refuse(status === 0 ? "error-network" : "key-unsure", { status });
  api.hold(value, at("key-keep").checked);
  closeKey();
  at("ask").focus({ preventScroll: true });
  await load();
});

function refuse(key, values = {}) {
  say(at("key-message"), key, values);
  at("key-value").setAttribute("aria-invalid", "true");
  at("key-value").select();
  at("key-value").focus();
}

at("key-value").addEventListener("input", () => at("key-value").removeAttribute("aria-invalid"));

at("key-forget").addEventListener("click", async () => {
  api.forget();
  closeKey();
  at("key-button").focus();
  Object.assign(shown, { plan: null, about: null, bench: null, reported: undefined });
  await load();
});

// --- what runs here

function reported(tokens) {
  if (tokens === shown.reported) return;
  shown.reported = tokens;
  if (shown.plan) planView.show(shown.plan, tokens, shown.bench);
}

function showAll() {
  const { plan, about } = shown;
  const title = about?.title ?? plan?.model ?? "Weighbridge";
  at("title").textContent = title;
  document.title = title === "Weighbridge" ? title : `${title} · Weighbridge`;
  at("facts").replaceChildren(...facts(plan, about).map(([key, text]) => fact(key, text)));
  at("tools-field").hidden = Boolean(plan && !plan.tool_call_parser);
  if (plan) planView.show(plan, shown.reported, shown.bench);
  else planView.hide(shown.absent);
  chat.offer([word("example-1"), word("example-2"), word("example-3")]);
  showClients({ plan, model: plan?.model ?? chat.model ?? "MODEL" });
}

function facts(plan, about) {
  const found = [];
  if (plan) found.push(["model-id", plan.model]);
  if (about?.licence) found.push(["licence", about.licence]);
  if (plan) found.push(["engine", `${about?.engine ?? plan.engine} ${plan.engine_version}`], ["profile", plan.profile]);
  return found;
}

function fact(key, text) {
  return make("li", {}, say(make("span", { class: "soft" }), key), " ", make("span", {}, text));
}

// The plan and what goes with it. In the modes of the console: open, with the key, or not at all.
async function load() {
  delete document.documentElement.dataset.ready;
  live.metrics = true;
  const plan = await api.getJson("console/plan.json");
  if (plan.value) {
    shown.plan = plan.value;
    shown.about = (await api.getJson("console/about.json")).value;
    shown.bench = (await api.getJson("console/bench.json")).value;
    live.names = shown.about?.metrics ?? null;
    chat.model = plan.value.model;
  } else {
    shown.absent = { 0: "error-network", 401: "plan-key", 403: "plan-key", 404: "plan-off" }[plan.status] ?? "plan-failed";
    live.names = null;
    chat.model = await modelWithoutPlan();
    if (plan.status === 401 || plan.status === 403) askKey(api.held() ? "key-why-401" : "key-why-data");
  }
  showAll();
  live.start();
  document.documentElement.dataset.ready = "true";
}

// Only where a key is held: a question that is refused for sure would be noise in the log.
async function modelWithoutPlan() {
  if (!api.held()) return null;
  const { value } = await api.getJson("v1/models");
  return value?.data?.[0]?.id ?? null;
}

api.recall();
await setLanguage(language());
say(at("state-text"), "asking");
markKey();
await load();
