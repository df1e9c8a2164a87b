// Questions to the server. Knows nothing of what they are about.

export const KEY = new URLSearchParams(location.search).get("key") || "";
export const TAB = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

// online: the server answered last. ended: why it refuses this page. changed(): follows a change of online.
export const link = { online: true, ended: "", changed() {} };

export class Told extends Error {}

export async function ask(path, options = {}) {
  const headers = { "x-mamp-key": KEY, "x-mamp-tab": TAB, ...options.headers };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    connection(false);
    throw new Error("offline");
  }
  connection(true);
  if (answer.ok) return answer;
  const words = (await answer.json().catch(() => ({}))).error || `the server answered ${answer.status}`;
  if (answer.status === 403) link.ended = words;
  const told = new Told(words);
  told.status = answer.status;
  throw told;
}

export const post = (path, body, method = "POST") => ask(path, { method, body: JSON.stringify(body ?? {}) });
export const picture = (kind, index) => `/api/${kind}/${index}?key=${encodeURIComponent(KEY)}`;

function connection(there) {
  if (there === link.online) return;
  link.online = there;
  link.changed();
}
