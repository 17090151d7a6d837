// What to paste into other programs, filled in with this address and this model; never with the key.
import { address } from "./api.js";
import { copyButton } from "./copy.js";
import { make, say, word } from "./words.js";

const sh = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const py = (text) => JSON.stringify(text); // a JSON string is a Python string too

const KEY_SH = "KEY_FILE=~/weighbridge.key"; // no comments in what is pasted: an interactive zsh runs them
const AUTH = `-H @<(printf 'Authorization: Bearer %s\\n' "$(cat "$KEY_FILE")")`;
const KEY_PY = `import os
from pathlib import Path

api_key = Path(os.environ["KEY_FILE"]).read_text().strip()`;

function curl({ url, model, ask }) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: ask }], stream: true });
  return `${KEY_SH}
curl -sN ${sh(`${url}/chat/completions`)} \\
  ${AUTH} \\
  -H 'Content-Type: application/json' \\
  -d ${sh(body)}`;
}

const openai = ({ url, model, ask }) => `${KEY_PY}

from openai import OpenAI

client = OpenAI(base_url=${py(url)}, api_key=api_key)
stream = client.chat.completions.create(
    model=${py(model)},
    messages=[{"role": "user", "content": ${py(ask)}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()`;

const langchain = ({ url, model, ask }) => `${KEY_PY}

from langchain_openai import ChatOpenAI

llm = ChatOpenAI(model=${py(model)}, base_url=${py(url)}, api_key=api_key)
print(llm.invoke(${py(ask)}).content)`;

const deepseek = ({ url, model, think }) => `${KEY_PY}

from langchain_deepseek import ChatDeepSeek

llm = ChatDeepSeek(model=${py(model)}, api_base=${py(url)}, api_key=api_key)
answer = llm.invoke([("human", ${py(think)})])
print("thought: ", answer.additional_kwargs.get("reasoning_content"))
print("answered:", answer.content)`;

const health = ({ root, url }) => `curl -fsS ${sh(`${root}/health`)} && echo healthy

${KEY_SH}
curl -fsS ${sh(`${url}/models`)} \\
  ${AUTH}`;

// [word of the setting, its value, a word that explains]: the value "@name" is a word too.
const chatbox = ({ root, model }) => [
  ["chatbox-provider", "@chatbox-add"],
  ["chatbox-name", "Weighbridge"],
  ["chatbox-host", root],
  ["chatbox-path", "/v1/chat/completions"],
  ["chatbox-network", "@off", "chatbox-network-why"],
  ["setting-key", "@your-key"],
  ["setting-model", model],
];

const webui = ({ url, model }) => [
  ["webui-where", "@webui-place"],
  ["webui-url", url, "webui-url-why"],
  ["setting-key", "@your-key"],
  ["webui-model", model],
];

const dify = ({ url, model, plan }) => [
  ["dify-provider", "OpenAI-API-compatible"],
  ["dify-type", "LLM"],
  ["setting-model", model],
  ["setting-key", "@your-key"],
  ["dify-url", url, "webui-url-why"],
  ["dify-mode", "Chat"],
  ["dify-context", plan ? String(plan.max_model_len) : "–"],
  ["dify-tools", plan?.tool_call_parser ? "Tool Call" : "@dify-no-tools"],
];

const CLIENTS = [
  { id: "curl", title: "curl", code: curl, kind: "sh" },
  { id: "openai", title: "OpenAI Python", code: openai, kind: "python", install: "openai" },
  { id: "langchain", title: "LangChain", code: langchain, kind: "python", install: "langchain-openai" },
  { id: "deepseek", title: "LangChain DeepSeek", code: deepseek, kind: "python", install: "langchain-deepseek", why: "deepseek-why" },
  { id: "chatbox", title: "Chatbox", rows: chatbox },
  { id: "webui", title: "Open WebUI", rows: webui },
  { id: "dify", title: "Dify", rows: dify },
  { id: "health", title: "health", code: health, kind: "sh", named: true },
];

let facts = { plan: null, model: "MODEL" };
let chosen = "curl";

function values() {
  const root = address(".").href.replace(/\/$/, "");
  return { root, url: `${root}/v1`, ...facts, ask: word("example-1"), think: word("example-2") };
}

export function showClients(more = {}) {
  facts = { ...facts, ...more };
  const tabs = CLIENTS.map(tab);
  document.getElementById("tabs").replaceChildren(...tabs);
  document.getElementById("panels").replaceChildren(...CLIENTS.map(panel));
}

function tab(client) {
  const on = client.id === chosen;
  const found = make("button", {
    type: "button", role: "tab", id: `tab-${client.id}`, "aria-controls": `panel-${client.id}`,
    "aria-selected": String(on), tabindex: on ? "0" : "-1",
  });
  if (client.named) say(found, client.id);
  else found.textContent = client.title;
  found.addEventListener("click", () => choose(client.id));
  found.addEventListener("keydown", (event) => moved(event, client.id));
  return found;
}

function moved(event, id) {
  const here = CLIENTS.findIndex((c) => c.id === id);
  const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: CLIENTS.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = CLIENTS[(to + CLIENTS.length) % CLIENTS.length].id;
  choose(next);
  document.getElementById(`tab-${next}`).focus();
}

function choose(id) {
  chosen = id;
  for (const { id: other } of CLIENTS) {
    const found = document.getElementById(`tab-${other}`);
    found.setAttribute("aria-selected", String(other === id));
    found.tabIndex = other === id ? 0 : -1;
    document.getElementById(`panel-${other}`).hidden = other !== id;
  }
}

function panel(client) {
  const found = make("div", { role: "tabpanel", id: `panel-${client.id}`, "aria-labelledby": `tab-${client.id}`, tabindex: "0" });
  found.hidden = client.id !== chosen;
  if (client.why) found.append(say(make("p", { class: "soft" }), client.why));
  if (client.install) found.append(code(`pip install ${client.install}`, "sh"));
  found.append(client.rows ? settings(client.rows(values())) : code(client.code(values()), client.kind));
  return found;
}

function code(text, kind) {
  const head = make("div", { class: "code-head" }, make("span", {}, kind), copyButton(() => text));
  return make("div", { class: "code-box" }, head, make("pre", { tabindex: "0" }, make("code", {}, text)));
}

function settings(rows) {
  const body = make("tbody");
  for (const [name, value, why] of rows) {
    const isWord = value.startsWith("@");
    const text = isWord ? say(make("span"), value.slice(1)) : make("code", {}, value);
    const cell = make("td", {}, text);
    if (why) cell.append(say(make("p", { class: "soft" }), why));
    const action = make("td", { class: "action" });
    if (!isWord) action.append(copyButton(() => value));
    body.append(make("tr", {}, say(make("th", { scope: "row" }), name), cell, action));
  }
  return make("table", { class: "settings" }, body);
}
