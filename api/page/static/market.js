// What is known of one pair: candles by timeframe, forecasts and outcomes by horizon. Pure.

import { MINUTE_MS, TIMEFRAMES, lengthMs } from './format.js';

const KEEP = 1_500;

/** The better of two versions of one candle, as `Candle.age` says: of newer records, of more trades, the later. */
const better = (known, candle) => {
  if (known === undefined) return true;
  for (const field of ['as_of_ms', 'trades', 'revision']) {
    const change = (candle[field] ?? 0) - (known[field] ?? 0);
    if (change !== 0) return change > 0;
  }
  return true;
};

function trim(rows) {
  if (rows.size <= KEEP * 1.2) return;
  for (const key of [...rows.keys()].sort((a, b) => a - b).slice(0, rows.size - KEEP)) rows.delete(key);
}

export class Market {
  constructor(pair) {
    this.pair = pair;
    this.candles = new Map(Object.keys(TIMEFRAMES).map((name) => [name, new Map()]));
    this.live = null;
    this.forecasts = new Map(); // horizon_s → feature_open_ms → forecast
    this.outcomes = new Map(); // horizon_s → feature_open_ms → forecast error
    this.simulated = false;
    this.source = '';
  }

  addCandle(candle) {
    const rows = this.candles.get(candle.timeframe);
    if (!rows || candle.pair !== this.pair) return;
    if (better(rows.get(candle.open_ms), candle)) rows.set(candle.open_ms, candle);
    if (candle.timeframe === '1m' && this.live && candle.open_ms >= this.live.open_ms) this.live = null;
    trim(rows);
  }

  setLive(candle) {
    if (candle.pair !== this.pair || this.candles.get('1m').has(candle.open_ms)) return;
    if (!this.live || candle.open_ms >= this.live.open_ms) this.live = candle;
  }

  addForecast(forecast) {
    this._put(this.forecasts, forecast, (known) => forecast.made_at_ms >= known.made_at_ms);
  }

  addOutcome(error) {
    this._put(this.outcomes, error, (known) => error.outcome_revision >= known.outcome_revision);
  }

  _put(store, row, newer) {
    if (row.pair !== this.pair) return;
    if (!store.has(row.horizon_s)) store.set(row.horizon_s, new Map());
    const rows = store.get(row.horizon_s);
    const known = rows.get(row.feature_open_ms);
    if (known === undefined || newer(known)) rows.set(row.feature_open_ms, row);
    trim(rows);
  }

  horizons() {
    return [...this.forecasts.keys()].sort((a, b) => a - b);
  }

  /** Closed candles and the open one, oldest first. */
  series(timeframe) {
    const rows = [...this.candles.get(timeframe).values()].sort((a, b) => a.open_ms - b.open_ms);
    const forming = timeframe === '1m' ? this.live : this._forming(timeframe, rows);
    if (forming && forming.open_ms > (rows.at(-1)?.open_ms ?? -1)) rows.push(forming);
    return rows;
  }

  /** The open candle of a longer timeframe out of its minutes, or null where one of them is unknown. */
  _forming(timeframe, closed) {
    const minutes = this.series('1m');
    const last = minutes.at(-1);
    if (!last) return null;
    const length = lengthMs(timeframe);
    const open_ms = Math.floor(last.open_ms / length) * length;
    if (closed.at(-1)?.open_ms >= open_ms) return null;
    const parts = minutes.filter((minute) => minute.open_ms >= open_ms);
    if (parts.length !== (last.open_ms - open_ms) / MINUTE_MS + 1) return null;
    const sum = (name) => parts.reduce((total, minute) => total + minute[name], 0);
    return {
      ...last,
      timeframe,
      open_ms,
      open: parts[0].open,
      high: Math.max(...parts.map((minute) => minute.high)),
      low: Math.min(...parts.map((minute) => minute.low)),
      volume: sum('volume'),
      trades: sum('trades'),
      synthetic: false,
      closed: false,
    };
  }

  /** Starts of windows that are missing between the oldest and newest closed candle. */
  holes(timeframe) {
    const opens = [...this.candles.get(timeframe).keys()].sort((a, b) => a - b);
    const length = lengthMs(timeframe);
    const missing = [];
    for (let index = 1; index < opens.length; index += 1) {
      for (let at = opens[index - 1] + length; at < opens[index] && missing.length < KEEP; at += length) missing.push(at);
    }
    return missing;
  }

  /** The newest forecast of a horizon, or null. */
  latest(horizonS) {
    const rows = this.forecasts.get(horizonS);
    if (!rows?.size) return null;
    return rows.get(Math.max(...rows.keys()));
  }

  /** The fan: the newest forecast of the horizon with those of shorter horizons of the same candle, nearest first. */
  fan(horizonS) {
    const last = this.latest(horizonS);
    if (!last) return [];
    return this.horizons()
      .filter((seconds) => seconds <= horizonS)
      .map((seconds) => this.forecasts.get(seconds).get(last.feature_open_ms))
      .filter(Boolean);
  }

  /** Price at target time: the scorer's where it has scored, else the close of the minute that ends there. */
  outcome(forecast) {
    const scored = this.outcomes.get(forecast.horizon_s)?.get(forecast.feature_open_ms);
    if (scored) return { price: scored.outcome_price, synthetic: scored.synthetic, scored: true };
    const minute = this.candles.get('1m').get(forecast.target_ms - MINUTE_MS);
    return minute ? { price: minute.close, synthetic: minute.synthetic, scored: false } : null;
  }

  /** Past forecasts of a horizon by target time, each with its outcome and whether that lay within the bands. */
  past(horizonS) {
    const rows = [...(this.forecasts.get(horizonS)?.values() ?? [])].sort((a, b) => a.target_ms - b.target_ms);
    return rows.map((forecast) => {
      const outcome = this.outcome(forecast);
      const at = outcome?.price;
      return {
        forecast,
        outcome,
        inside50: outcome ? at >= forecast.q25 && at < forecast.q75 : null,
        inside90: outcome ? at >= forecast.q05 && at < forecast.q95 : null,
      };
    });
  }
}
