// Requests to the appliance, with the key where one is held. A key is never in an address, and never in what is copied.
const KEPT = "weighbridge-key";
const base = new URL(".", document.baseURI);
let key = null;

function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return null; // closed to this page: memory alone
  }
}

export const address = (path) => new URL(path, base);
export const held = () => key !== null;
export const kept = () => storage()?.getItem(KEPT) != null;

export function hold(value, keep) {
  key = value;
  storage()?.removeItem(KEPT);
  if (keep) storage()?.setItem(KEPT, value);
}

export function forget() {
  key = null;
  storage()?.removeItem(KEPT);
}

export function recall() {
  key = storage()?.getItem(KEPT) ?? null;
}

export const headers = (value = key) => (value === null ? {} : { Authorization: `Bearer ${value}` });

// A header cannot hold other characters, and fetch would raise for them.
export const possible = (value) => /^[\x21-\x7e]+$/.test(value);

// {status, text}; status 0: nobody answered.
export async function get(path, value = key) {
  try {
    const response = await fetch(address(path), { headers: headers(value), cache: "no-store" });
    return { status: response.status, text: await response.text() };
  } catch {
    return { status: 0, text: "" };
  }
}

export async function getJson(path) {
  const { status, text } = await get(path);
  if (status !== 200) return { status, value: null };
  try {
    return { status, value: JSON.parse(text) };
  } catch {
    return { status: 0, value: null };
  }
}
