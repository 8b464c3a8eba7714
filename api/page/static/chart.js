// The candlestick chart with the forecast fan: one canvas, drawn anew in one frame when something changed.

import * as format from './format.js';
import * as paint from './paint.js';
import { extent, linear, priceTicks, tickDecimals, timeTicks, timeWindow } from './scale.js';

const FONT = '12px ui-sans-serif, system-ui, sans-serif';
const BARS_MIN = 20;
const BARS_MAX = 500;
const BAR_PX = 10;
const COLORS = ['grid', 'muted', 'surface', 'up', 'down', 'volume', 'fan', 'fan50', 'fan90', 'past50', 'past90', 'hit', 'miss', 'ink'];

export class Chart {
  /** `onCursor(openMs or null, byKey)`: the bar under the crosshair by its start. */
  constructor(canvas, onCursor) {
    this.canvas = canvas;
    this.ctx = canvas.getContext('2d');
    this.onCursor = onCursor;
    this.data = { candles: [], fan: [], past: [], lengthMs: format.MINUTE_MS };
    this.bars = null; // null: as many as fit well
    this.back = 0; // bars that the view is moved into the past
    this.cursor = null; // { openMs, pointerY }
    this.frame = 0;
    this.readColors();
    new ResizeObserver(() => this.redraw()).observe(canvas);
    this._listen();
  }

  readColors() {
    const style = getComputedStyle(this.canvas);
    this.color = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.redraw();
  }

  show(data) {
    if (data.lengthMs !== this.data.lengthMs || data.pair !== this.data.pair) {
      this.back = 0;
      this.bars = null;
      this.setCursor(null);
    }
    this.data = data;
    this.redraw();
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this._draw();
    });
  }

  zoom(factor) {
    this.bars = Math.round(Math.min(BARS_MAX, Math.max(BARS_MIN, this._bars() * factor)));
    this.redraw();
  }

  pan(bars) {
    const most = Math.max(0, this.data.candles.length - 5);
    this.back = Math.min(most, Math.max(0, this.back + bars));
    this.redraw();
  }

  latest() {
    this.back = 0;
    this.bars = null;
    this.setCursor(null);
  }

  setCursor(cursor, byKey = false) {
    this.cursor = cursor;
    this.onCursor(cursor?.openMs ?? null, byKey);
    this.redraw();
  }

  _bars() {
    return this.bars ?? Math.min(200, Math.max(36, Math.round(this.canvas.clientWidth / BAR_PX)));
  }

  _box(width, height) {
    const { candles } = this.data;
    const sample = candles.length ? format.price(candles.at(-1).close) : '00,000.0';
    this.ctx.font = FONT;
    const gutter = Math.ceil(this.ctx.measureText(sample).width) + 18;
    return { width, height, left: 0, top: 8, right: width - gutter, bottom: height - 46, laneTop: height - 40, lane: height - 26, axis: height - 11 };
  }

  /** Everything that the painters need to know, in pixels and colours. */
  plan(width, height) {
    const { candles, fan, past, lengthMs } = this.data;
    const box = this._box(width, height);
    const last = candles.at(-1);
    const lastMs = last ? last.open_ms + lengthMs : 0;
    const endMs = Math.max(lastMs, fan.at(-1)?.target_ms ?? 0);
    const [from, to] = timeWindow({ bars: this._bars(), lengthMs, lastMs, endMs, backMs: this.back * lengthMs });
    const within = (at) => at >= from && at <= to;
    const shown = candles.filter((candle) => candle.open_ms + lengthMs > from && candle.open_ms < to);
    const seenPast = past.filter(({ forecast, outcome }) => outcome && within(forecast.target_ms));
    const seenFan = fan.filter((row) => within(row.target_ms));
    const prices = [
      ...shown.flatMap((candle) => [candle.low, candle.high]),
      ...[...seenPast.map((row) => row.forecast), ...seenFan].flatMap((row) => [row.q05, row.q95]),
    ];
    const range = extent(prices, 0.07) ?? [0, 1];
    const like = last?.close ?? 1;
    const levels = priceTicks(range[0], range[1], (box.bottom - box.top) / 56);
    const decimals = tickDecimals(levels);
    const offset = new Date(to).getTimezoneOffset();
    const times = timeTicks(from, to, (box.right - box.left) / 90, offset);
    const dayStep = times.length > 1 && times[1] - times[0] >= 24 * 60 * format.MINUTE_MS;
    return {
      box,
      lengthMs,
      font: FONT,
      color: this.color,
      x: linear(from, to, box.left, box.right),
      y: linear(range[0], range[1], box.bottom, box.top),
      from,
      to,
      candles: shown,
      last,
      fan: seenFan,
      past: seenPast,
      stepMs: format.MINUTE_MS,
      runs: runsOf(seenPast, Math.max(lengthMs, format.MINUTE_MS) * 1.5),
      ticks: { price: levels, time: times },
      text: {
        price: (value) => format.price(value, like),
        tick: (value) => format.number(value, decimals),
        time: (at) => (dayStep || format.clock(at) === '00:00' ? format.day(at) : format.clock(at)),
        moment: (at) => `${format.day(at)} ${format.clock(at)}`,
      },
    };
  }

  _draw() {
    const { canvas, ctx } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const plan = (this.last = this.plan(width, height));
    this._tell(plan);
    if (!plan.candles.length) return;
    paint.grid(ctx, plan);
    this._inside(plan.box, () => {
      paint.ribbons(ctx, plan);
      paint.volumes(ctx, plan);
      paint.candles(ctx, plan);
      paint.fan(ctx, plan);
      paint.misses(ctx, plan);
    });
    paint.lane(ctx, plan);
    paint.axes(ctx, plan);
    const { last } = plan;
    paint.tag(ctx, plan, last.close, last.close >= last.open ? this.color.up : this.color.down);
    if (this.cursor) paint.crosshair(ctx, plan, this.cursor.openMs + plan.lengthMs, this.cursor.pointerY);
  }

  _inside(box, draw) {
    this.ctx.save();
    this.ctx.beginPath();
    this.ctx.rect(box.left, 0, box.right - box.left, box.bottom);
    this.ctx.clip();
    draw();
    this.ctx.restore();
  }

  /** What was drawn, for tests and for whoever wonders. */
  _tell(plan) {
    const told = this.canvas.dataset;
    told.candles = String(plan.candles.length);
    told.lastOpenMs = String(plan.candles.at(-1)?.open_ms ?? '');
    told.lastClose = String(plan.candles.at(-1)?.close ?? '');
    told.fan = String(plan.fan.length);
    told.past = String(plan.past.length);
    told.misses = String(plan.past.filter((row) => row.inside90 === false).length);
  }

  _listen() {
    const { canvas } = this;
    let drag = null;
    canvas.addEventListener('pointerdown', (event) => {
      drag = { x: event.offsetX, back: this.back };
      canvas.setPointerCapture(event.pointerId);
      this._point(event);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (drag && event.buttons) {
        const bars = Math.round((event.offsetX - drag.x) / this._barPx());
        this.pan(drag.back + bars - this.back);
      }
      this._point(event);
    });
    canvas.addEventListener('pointerup', () => (drag = null));
    canvas.addEventListener('pointercancel', () => (drag = null));
    canvas.addEventListener('pointerleave', () => this.setCursor(null));
    canvas.addEventListener('blur', () => this.setCursor(null));
    canvas.addEventListener(
      'wheel',
      (event) => {
        if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls until the chart is chosen
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.1 : 1 / 1.1);
      },
      { passive: false },
    );
    canvas.addEventListener('keydown', (event) => this._key(event));
  }

  _barPx() {
    return this.last ? this.last.x(this.last.lengthMs) - this.last.x(0) : BAR_PX;
  }

  _point(event) {
    if (!this.last?.candles.length) return;
    const { x, box, lengthMs, from } = this.last;
    if (event.offsetX > box.right || event.offsetY > box.axis) return;
    const openMs = Math.max(Math.ceil(from / lengthMs) * lengthMs, Math.floor(x.invert(event.offsetX) / lengthMs) * lengthMs);
    this.setCursor({ openMs, pointerY: event.offsetY < box.bottom ? event.offsetY : null });
  }

  _key(event) {
    const last = this.data.candles.at(-1);
    if (!last || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.cursor?.openMs ?? last.open_ms + this.data.lengthMs;
    const move = (openMs) => {
      const end = Math.max(last.open_ms, (this.data.fan.at(-1)?.target_ms ?? 0) - this.data.lengthMs);
      const bounded = Math.min(end, Math.max(this.data.candles[0].open_ms, openMs));
      if (this.last && bounded < this.last.from) this.pan(Math.ceil((this.last.from - bounded) / this.data.lengthMs) + 5);
      if (this.last && bounded + this.data.lengthMs > this.last.to) this.pan(-Math.ceil((bounded + this.data.lengthMs - this.last.to) / this.data.lengthMs));
      this.setCursor({ openMs: bounded, pointerY: null }, true);
    };
    const actions = {
      ArrowLeft: () => move(at - this.data.lengthMs),
      ArrowRight: () => move(at + this.data.lengthMs),
      PageUp: () => this.pan(20),
      PageDown: () => this.pan(-20),
      Home: () => move(this.data.candles[0].open_ms),
      End: () => this.latest(),
      Escape: () => this.setCursor(null),
      '+': () => this.zoom(1 / 1.25),
      '-': () => this.zoom(1.25),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

/** Cut past forecasts into runs without holes, so that a band never spans time without forecasts. */
export function runsOf(past, gapMs) {
  const runs = [];
  for (const row of past) {
    const run = runs.at(-1);
    if (run && row.forecast.target_ms - run.at(-1).forecast.target_ms <= gapMs) run.push(row);
    else runs.push([row]);
  }
  return runs.filter((run) => run.length > 1);
}
