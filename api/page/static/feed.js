// The feed's socket: carries out what link.js decides; resumes by cursor, sees holes in seq.

import { describe, initial, step } from './link.js';

const CHANNELS = ['candles', 'candles-live', 'forecasts', 'errors'];
const TICK_MS = 250;

/** Where each channel and pair stands: the last seq of this session, the last cursor of all. */
export class Positions {
  constructor() {
    this.seqs = new Map();
    this.cursors = new Map();
  }

  /** Take a snapshot or update: `new`, `old` (already had), or `hole` (some were missed). */
  take(message) {
    const key = `${message.channel} ${message.pair}`;
    if (message.type === 'snapshot') {
      this.seqs.set(key, message.seq);
      this.cursors.set(key, message.cursor);
      return 'new';
    }
    const before = this.seqs.get(key);
    if (before !== undefined && message.seq <= before) return 'old';
    if (before !== undefined && message.seq > before + 1) return 'hole';
    this.seqs.set(key, message.seq);
    this.cursors.set(key, message.cursor);
    return 'new';
  }

  /** A new session counts anew; cursors outlive it. */
  newSession() {
    this.seqs.clear();
  }

  clear() {
    this.seqs.clear();
    this.cursors.clear();
  }

  resume(channel, pair) {
    const cursor = this.cursors.get(`${channel} ${pair}`);
    return cursor === undefined || cursor < 0 ? undefined : { [pair]: cursor };
  }
}

export class Feed {
  /** `on`: data(message), gap(channel, pair), state(link state), clock(server time minus ours). */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.key = '';
    this.pair = '';
    this.positions = new Positions();
    this.socket = null;
    this.requests = 0;
    this.mending = new Set(); // channels that were asked for once more because of a hole
    this.link = initial(Date.now());
  }

  start() {
    this._step({ type: 'start' });
    setInterval(() => this._step({ type: 'tick' }), TICK_MS);
    window.addEventListener('online', () => this._step({ type: 'retry' }));
    document.addEventListener('visibilitychange', () => document.hidden || this._step({ type: 'retry' }));
  }

  get live() {
    return this.link.phase === 'live';
  }

  describe() {
    return describe(this.link, Date.now());
  }

  /** Follow another pair: what is no longer wanted is unsubscribed. */
  follow(pair) {
    if (pair === this.pair) return;
    const before = this.pair;
    this.pair = pair;
    this.mending.clear();
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (before) for (const channel of CHANNELS) this._say('unsubscribe', { channel, pairs: [before] });
    this._subscribe();
  }

  /** Connect again with another API key. */
  authenticate(key) {
    this.key = key;
    this._drop();
    this._step({ type: 'restart' });
  }

  _step(event) {
    const [state, effects] = step(this.link, { nowMs: Date.now(), chance: Math.random(), ...event });
    const changed = state.phase !== this.link.phase;
    this.link = state;
    for (const effect of effects) {
      if (effect === 'connect') this._connect();
      else if (effect === 'disconnect') this._drop();
      else if (effect === 'subscribe') this._subscribe();
    }
    if (changed) this.on.state(state);
  }

  _connect() {
    // A browser cannot set headers here: the API takes the key as a subprotocol beside `tickcast`.
    const socket = this.key ? new WebSocket(this.url, ['tickcast', this.key]) : new WebSocket(this.url);
    this.socket = socket;
    socket.onmessage = (event) => socket === this.socket && this._hear(event.data);
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      this.socket = null;
      if (event.reason === 'feed-reset') this.positions.clear();
      this._step({ type: 'closed', code: event.code, text: event.reason });
    };
  }

  _drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  _subscribe() {
    if (!this.pair) return;
    for (const channel of CHANNELS) this._ask(channel, this.pair);
  }

  _ask(channel, pair) {
    const resume = this.positions.resume(channel, pair);
    this._say('subscribe', { channel, pairs: [pair], ...(resume && { resume }) });
  }

  _say(method, params) {
    this.requests += 1;
    this.socket?.send(JSON.stringify({ method, params, req_id: this.requests }));
  }

  _hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.at_ms) this.on.clock(message.at_ms - Date.now());
    if (message.type === 'hello') {
      this.positions.newSession();
      this.mending.clear();
      this._step({ type: 'heard', hello: true, beatMs: (message.heartbeat_s ?? 1) * 1000 });
    } else if (message.type === 'heartbeat') {
      this._step({ type: 'heard', stale: Boolean(message.stale) });
    } else {
      this._step({ type: 'heard' });
      this._data(message);
    }
  }

  _data(message) {
    for (const pair of message.result?.gaps ?? []) this.on.gap(message.result.channel, pair);
    if (message.pair !== this.pair || !CHANNELS.includes(message.channel)) return;
    const taken = this.positions.take(message);
    if (taken === 'new') {
      this.mending.delete(message.channel);
      this.on.data(message);
    } else if (taken === 'hole' && !this.mending.has(message.channel)) {
      this.mending.add(message.channel);
      this._ask(message.channel, message.pair);
    }
  }
}
