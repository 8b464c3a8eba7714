// State of the connection to the feed. Pure: events in, state and effects out; no socket, no timer, no clock.

export const CONNECT_LIMIT_MS = 10_000;
export const SILENCE_BEATS = 4;
export const BACKOFF_MIN_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
export const STABLE_MS = 5_000;

const REASONS = {
  'catching-up': 'the API is still catching up',
  'too-many-connections': 'the API has as many clients as it takes',
  'slow-consumer': 'this page was too slow to follow',
  'feed-reset': 'the log was made anew',
};

/** State before the first try. */
export const initial = (nowMs) => ({
  phase: 'idle', // idle, connecting, live, stale, waiting
  sinceMs: nowMs, // when the phase began; for `waiting` and `connecting` when the connection was lost
  tries: 0, // failed ones since the last stable connection
  retryAtMs: 0,
  openedMs: 0,
  heardMs: nowMs,
  beatMs: 1_000,
  reason: '',
});

/** How long to wait before try number `tries`; `chance` in [0, 1) keeps many pages from knocking at once. */
export function backoffMs(tries, chance) {
  const cap = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(tries, 10));
  return Math.round(cap * (0.5 + chance / 2));
}

const lost = (state) => state.phase === 'waiting' || state.phase === 'connecting';

function wait(state, nowMs, reason, chance, effects) {
  const next = {
    ...state,
    phase: 'waiting',
    sinceMs: lost(state) ? state.sinceMs : nowMs,
    tries: state.tries + 1,
    retryAtMs: nowMs + backoffMs(state.tries, chance),
    reason,
  };
  return [next, effects];
}

function connect(state, nowMs) {
  return [{ ...state, phase: 'connecting', sinceMs: lost(state) ? state.sinceMs : nowMs, openedMs: nowMs }, ['connect']];
}

function heard(state, event) {
  const { nowMs } = event;
  // A connection has to hold for a while before the next loss starts again with short waits.
  const tries = nowMs - state.openedMs >= STABLE_MS ? 0 : state.tries;
  const next = { ...state, heardMs: nowMs, tries };
  if (event.hello) return [{ ...next, phase: 'live', sinceMs: nowMs, reason: '', beatMs: event.beatMs ?? 1_000 }, ['subscribe']];
  if (event.stale === undefined || lost(state)) return [next, []];
  const phase = event.stale ? 'stale' : 'live';
  return [phase === state.phase ? next : { ...next, phase, sinceMs: nowMs }, []];
}

function tick(state, { nowMs, chance }) {
  if (state.phase === 'waiting') return nowMs >= state.retryAtMs ? connect(state, nowMs) : [state, []];
  if (state.phase === 'connecting' && nowMs - state.openedMs > CONNECT_LIMIT_MS) {
    return wait(state, nowMs, 'no answer', chance, ['disconnect']);
  }
  const talking = state.phase === 'live' || state.phase === 'stale';
  if (talking && nowMs - state.heardMs > SILENCE_BEATS * state.beatMs + 1_000) {
    return wait(state, nowMs, 'no heartbeat', chance, ['disconnect']);
  }
  return [state, []];
}

/**
 * One step.
 * Events: start, retry, offline, tick, heard {hello, beatMs, stale}, closed {code, text}; each with nowMs, and chance where it may wait.
 * Effects: `connect` (a new socket), `disconnect` (drop it without an event), `subscribe`.
 */
export function step(state, event) {
  switch (event.type) {
    case 'start':
      return state.phase === 'idle' ? connect(state, event.nowMs) : [state, []];
    case 'retry':
      return state.phase === 'waiting' ? connect(state, event.nowMs) : [state, []];
    case 'restart':
      return connect({ ...state, tries: 0 }, event.nowMs);
    case 'heard':
      return heard(state, event);
    case 'closed':
      return state.phase === 'waiting'
        ? [state, []]
        : wait(state, event.nowMs, REASONS[event.text] ?? event.text ?? '', event.chance, []);
    case 'tick':
      return tick(state, event);
    default:
      return [state, []];
  }
}

/** What a person reads: a word for the state, a tone for its colour, and the rest of the sentence. */
export function describe(state, nowMs) {
  const seconds = Math.max(0, Math.floor((nowMs - state.sinceMs) / 1000));
  const why = state.reason ? `: ${state.reason}` : '';
  if (state.phase === 'live') return { word: 'Live', tone: 'good', rest: '' };
  if (state.phase === 'stale') return { word: 'Stale', tone: 'warn', rest: `for ${seconds} s: the API has lost the broker` };
  if (state.phase === 'idle') return { word: 'Starting', tone: 'idle', rest: '' };
  if (state.tries === 0) return { word: 'Connecting', tone: 'idle', rest: '' };
  const next = state.phase === 'waiting' ? Math.max(0, Math.ceil((state.retryAtMs - nowMs) / 1000)) : 0;
  const then = next > 0 ? `next try in ${next} s` : 'trying now';
  return { word: 'Reconnecting', tone: 'bad', rest: `for ${seconds} s, ${then}${why}` };
}
