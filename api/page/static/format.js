// Numbers, times and words for people. Pure.

export const MINUTE_MS = 60_000;
export const TIMEFRAMES = { '1m': 1, '5m': 5, '15m': 15, '1h': 60, '4h': 240, '1d': 1440 };

export const lengthMs = (timeframe) => TIMEFRAMES[timeframe] * MINUTE_MS;

const REASONS = {
  stale: 'its candle is old',
  'warm-up': 'too little history yet',
  synthetic: 'nothing traded in its minute',
  drift: 'the model has drifted',
  'model-expired': 'the model is too old',
  'no-champion': 'no trained champion: the baseline stands in',
};

/** Say a trust reason in words; an unknown one as it is. */
export const reasonText = (reason) => REASONS[reason] ?? reason;

/** Decimals that show `step`-sized changes of a price: seven significant digits, at most 8 decimals. */
export function decimalsOf(price) {
  if (!Number.isFinite(price) || price === 0) return 2;
  const whole = Math.max(1, Math.floor(Math.log10(Math.abs(price))) + 1);
  return Math.min(8, Math.max(1, 7 - whole));
}

export const number = (value, decimals = 0) =>
  Number.isFinite(value)
    ? value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    : '–';

export const price = (value, like = value) => number(value, decimalsOf(like));

export const percent = (fraction, decimals = 1) =>
  Number.isFinite(fraction) ? `${number(fraction * 100, decimals)} %` : '–';

export const signedPercent = (fraction, decimals = 2) =>
  Number.isFinite(fraction) ? `${fraction > 0 ? '+' : fraction < 0 ? '−' : '±'}${percent(Math.abs(fraction), decimals)}` : '–';

/** Compact volume: 1,234 → 1.23k. */
export function compact(value) {
  if (!Number.isFinite(value)) return '–';
  return new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 3 }).format(value);
}

/** 5 min, 1 h: the name of a horizon in seconds. */
export function horizon(seconds) {
  if (seconds % 86_400 === 0) return `${seconds / 86_400} d`;
  if (seconds % 3_600 === 0) return `${seconds / 3_600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** 42 s, 3 min, 2 h 5 min, 4 d: how long something takes or how old it is. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return '–';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 && minutes < 5 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

const two = (value) => String(value).padStart(2, '0');

/** 14:05 or 14:05:09 in the viewer's zone. */
export function clock(ms, seconds = false) {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ''}`;
}

/** 13:05 UTC. */
export function clockUtc(ms, seconds = false) {
  const date = new Date(ms);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds ? `:${two(date.getUTCSeconds())}` : ''} UTC`;
}

/** 14:05 (13:05 UTC): a time of day in the viewer's zone with UTC beside it, once where they are the same. */
export const clockBoth = (ms) => (isUtc(ms) ? clockUtc(ms) : `${clock(ms)} (${clockUtc(ms)})`);

const isUtc = (ms) => new Date(ms).getTimezoneOffset() === 0;

/** 25 Nov, in the viewer's zone. */
export const day = (ms) => new Date(ms).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });

/** 25 Nov 14:05 (13:05 UTC). */
export const moment = (ms) => `${day(ms)} ${clockBoth(ms)}`;

/** Name of the viewer's zone, for example Europe/Berlin. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'local time';
