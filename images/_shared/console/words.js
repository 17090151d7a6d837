// The page's words in the chosen language. An element says which: data-word, data-word-label, data-word-placeholder.
const LANGUAGES = { en: "words.en.json", "zh-CN": "words.zh.json" };
const books = {};
const listeners = [];
const given = new WeakMap();

export const language = () => document.documentElement.lang;

// A word, with {names} filled in from values.
export function word(key, values = {}) {
  const found = books[language()]?.[key];
  if (found === undefined) throw new Error(`no word for ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// Gives an element a word that follows the language.
export function say(element, key, values = {}) {
  given.set(element, values);
  element.dataset.word = key;
  element.textContent = word(key, values);
  return element;
}

export function silence(element) {
  delete element.dataset.word;
  element.textContent = "";
}

export const onLanguage = (listener) => listeners.push(listener);

function apply() {
  for (const e of document.querySelectorAll("[data-word]")) e.textContent = word(e.dataset.word, given.get(e));
  for (const e of document.querySelectorAll("[data-word-label]")) e.setAttribute("aria-label", word(e.dataset.wordLabel));
  for (const e of document.querySelectorAll("[data-word-placeholder]")) e.placeholder = word(e.dataset.wordPlaceholder);
  for (const listener of listeners) listener();
}

export async function setLanguage(name) {
  books[name] ??= await (await fetch(new URL(LANGUAGES[name], import.meta.url))).json();
  document.documentElement.lang = name;
  apply();
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language(), { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

// make("p", {class: "soft"}, "text", child): the page's only way to build; text stays text.
export function make(name, attributes = {}, ...children) {
  const element = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
