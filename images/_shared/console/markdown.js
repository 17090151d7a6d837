// A model's text as elements: code, lists, headings, quotes, tables, bold. Links and HTML stay the text they are.
import { make, word } from "./words.js";
import { copyButton } from "./copy.js";

const FENCE = /^\s{0,3}(```+|~~~+)\s*([^\s`]*)/;

// Blocks of lines, so that what has not changed while it streams is not made again.
export function blocks(text) {
  const found = [];
  let fence = null;
  let current = [];
  const close = () => {
    if (current.length) found.push(current.join("\n"));
    current = [];
  };
  for (const line of text.replace(/\r\n?/g, "\n").split("\n")) {
    const mark = line.match(FENCE);
    if (fence) {
      current.push(line);
      if (mark && mark[1].startsWith(fence) && line.trim() === mark[1]) {
        close();
        fence = null;
      }
    } else if (mark) {
      close();
      fence = mark[1];
      current.push(line);
    } else if (line.trim() === "") close();
    else current.push(line);
  }
  close();
  return found;
}

// Renders into `into`; returns nothing. Called again with a longer text, it keeps the blocks that are the same.
export function render(into, text) {
  const wanted = blocks(text);
  const kept = into.blocks ?? [];
  let same = 0;
  while (same < kept.length && same < wanted.length && kept[same] === wanted[same]) same++;
  while (into.children.length > same) into.lastElementChild.remove();
  for (const source of wanted.slice(same)) into.append(block(source));
  into.blocks = wanted;
}

function block(source) {
  const lines = source.split("\n");
  const fence = lines[0].match(FENCE);
  if (fence) return code(lines, fence);
  const heading = source.match(/^(#{1,6})\s+(.*)/);
  if (heading && lines.length === 1) return make("p", { class: "heading" }, ...inline(heading[2]));
  if (lines.every((line) => /^\s*>/.test(line))) {
    return make("blockquote", {}, ...inline(lines.map((line) => line.replace(/^\s*>\s?/, "")).join("\n")));
  }
  if (lines.length > 1 && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(lines[1])) return table(lines);
  return /^\s*([-*+]|\d{1,9}[.)])\s/.test(lines[0]) ? list(lines) : make("p", {}, ...inline(source));
}

function code(lines, [, mark, name]) {
  const closed = lines.length > 1 && lines.at(-1).trim().startsWith(mark);
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  const box = make("pre", { tabindex: "0" }, make("code", {}, text));
  const head = make("div", { class: "code-head" }, make("span", {}, name), copyButton(() => text));
  return make("div", { class: "code-box" }, head, box);
}

function list(lines) {
  const ordered = /^\s*\d/.test(lines[0]);
  const made = make(ordered ? "ol" : "ul");
  if (ordered) made.start = parseInt(lines[0], 10);
  const base = lines[0].match(/^\s*/)[0].length;
  for (const line of lines) {
    const item = line.match(/^(\s*)(?:[-*+]|\d{1,9}[.)])\s+(.*)/);
    const last = made.lastElementChild;
    if (item && (item[1].length <= base + 1 || !last)) made.append(make("li", {}, ...inline(item[2])));
    else if (item) {
      const inner = last.querySelector("ul") ?? last.appendChild(make("ul"));
      inner.append(make("li", {}, ...inline(item[2])));
    } else if (last) last.append(" ", ...inline(line.trim()));
  }
  return made;
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const row = (line, name) => make("tr", {}, ...cells(line).map((cell) => make(name, {}, ...inline(cell))));
  const head = make("thead", {}, row(lines[0], "th"));
  const body = make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")));
  const frame = make("div", { class: "table-box", tabindex: "0", role: "region" }, make("table", {}, head, body));
  frame.dataset.wordLabel = "table";
  frame.setAttribute("aria-label", word("table"));
  return frame;
}

// `code`, **bold**, *italic*; everything else is text.
function inline(text) {
  const found = [];
  const pattern = /`([^`]+)`|\*\*(?=\S)([^*]+(?:\*[^*]+)*?)\*\*|\*(?=[^\s*])([^*\n]+?)\*(?!\w)/g;
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) found.push(...broken(text.slice(at, match.index)));
    if (match[1] !== undefined) found.push(make("code", {}, match[1]));
    else if (match[2] !== undefined) found.push(make("strong", {}, match[2]));
    else found.push(make("em", {}, match[3]));
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push(...broken(text.slice(at)));
  return found;
}

const broken = (text) => text.split("\n").flatMap((line, i) => (i ? [make("br"), line] : [line]));
