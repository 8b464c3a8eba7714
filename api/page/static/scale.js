// From times and prices to pixels and back, and where ticks go. Pure.

import { MINUTE_MS } from './format.js';

const STEPS_MIN = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1_440, 2_880, 10_080, 20_160, 43_200];

/** Linear map of [from, to] onto [start, end]; `invert` goes back. */
export function linear(from, to, start, end) {
  const slope = (end - start) / (to - from || 1);
  const scale = (value) => start + (value - from) * slope;
  scale.invert = (pixel) => from + (pixel - start) / slope;
  return scale;
}

/** Round values between low and high, about `count` of them; steps of 1, 2 or 5 times a power of ten. */
export function priceTicks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [];
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const ticks = [];
  for (let index = Math.ceil(low / step); index * step <= high; index += 1) ticks.push(index * step);
  return ticks;
}

/** Decimals that tell ticks apart. */
export const tickDecimals = (ticks) => (ticks.length > 1 ? Math.max(0, Math.ceil(-Math.log10(ticks[1] - ticks[0]) - 1e-9)) : 2);

/** Round times of the viewer's zone in [from, to], at most about `count`; `offsetMin` is Date's getTimezoneOffset(). */
export function timeTicks(from, to, count, offsetMin) {
  const raw = (to - from) / Math.max(1, count) / MINUTE_MS;
  const step = (STEPS_MIN.find((minutes) => minutes >= raw) ?? STEPS_MIN.at(-1)) * MINUTE_MS;
  const shift = offsetMin * MINUTE_MS;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push(at);
  return ticks;
}

/** Smallest range that holds all values, with a margin above and below; null where there are none. */
export function extent(values, margin) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return null;
  const pad = (high - low || Math.abs(high) * 0.001 || 1) * margin;
  return [low - pad, high + pad];
}

/**
 * The window of time that is shown.
 * `endMs`: what must be seen at the right (last candle or last target); `future` of the width at most is
 * kept for what lies after `lastMs`, the end of the last candle.
 */
export function timeWindow({ bars, lengthMs, lastMs, endMs, backMs }) {
  const span = bars * lengthMs;
  const ahead = Math.min(Math.max(0, endMs - lastMs) + 2 * lengthMs, span * 0.4);
  const right = lastMs + ahead - backMs;
  return [right - span, right];
}
