// REST: JSON with the key where there is one; every failure is a value, none is thrown.

const TIMEOUT_MS = 10_000;
const KEY = 'tickcast-key';

export class Rest {
  constructor(onDenied) {
    this.key = sessionStorage.getItem(KEY) ?? '';
    this.onDenied = onDenied;
  }

  setKey(key) {
    this.key = key;
    sessionStorage.setItem(KEY, key);
  }

  /** Give { ok, status, body }; status 0 where nothing answered. */
  async get(path, parameters = {}) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined));
    const headers = { Accept: 'application/json', ...(this.key && { 'X-API-Key': this.key }) };
    try {
      const answer = await fetch(`${path}?${query}`, { headers, signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-cache' });
      const body = await answer.json().catch(() => null);
      if (answer.status === 401 || answer.status === 403) this.onDenied(answer.status);
      return { ok: answer.ok && body !== null, status: answer.status, body };
    } catch {
      return { ok: false, status: 0, body: null };
    }
  }
}

/** Say why a part of the page has nothing to show. */
export function whyNot(answer, what) {
  if (answer.status === 0) return `${what}: the API does not answer.`;
  if (answer.status === 401 || answer.status === 403) return `${what}: an API key is needed.`;
  if (answer.status === 404) return `${what}: not available from this API.`;
  if (answer.status === 503) return `${what}: not available now${answer.body?.detail ? ` (${answer.body.detail})` : ''}.`;
  return `${what}: not available (error ${answer.status}).`;
}
