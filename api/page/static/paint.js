// How each part of the chart is drawn. Every function takes the canvas context and one plan (see chart.js).

const LEVELS = [
  ['q05', 'q95'],
  ['q25', 'q75'],
];

const crisp = (value) => Math.round(value) + 0.5;

export function grid(ctx, plan) {
  const { x, y, box, ticks, color } = plan;
  ctx.strokeStyle = color.grid;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const price of ticks.price) {
    ctx.moveTo(box.left, crisp(y(price)));
    ctx.lineTo(box.right, crisp(y(price)));
  }
  for (const at of ticks.time) {
    ctx.moveTo(crisp(x(at)), box.top);
    ctx.lineTo(crisp(x(at)), box.bottom);
  }
  ctx.stroke();
}

export function axes(ctx, plan) {
  const { x, y, box, ticks, color, text, font } = plan;
  ctx.font = font;
  ctx.fillStyle = color.muted;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  for (const price of ticks.price) {
    const covered = Math.abs(y(price) - y(plan.last.close)) < 15;
    if (!covered && y(price) > box.top + 6 && y(price) < box.bottom - 4) ctx.fillText(text.tick(price), box.right + 8, y(price));
  }
  ctx.textAlign = 'center';
  for (const at of ticks.time) {
    if (x(at) > box.left + 18 && x(at) < box.right - 14) ctx.fillText(text.time(at), x(at), box.axis);
  }
}

/** Bands of past forecasts, each at the time it was made for; broken where forecasts are missing. */
export function ribbons(ctx, plan) {
  const { x, y, runs, color } = plan;
  LEVELS.forEach(([low, high], index) => {
    ctx.fillStyle = index ? color.past50 : color.past90;
    for (const run of runs) {
      ctx.beginPath();
      run.forEach(({ forecast }) => ctx.lineTo(x(forecast.target_ms), y(forecast[high])));
      run.toReversed().forEach(({ forecast }) => ctx.lineTo(x(forecast.target_ms), y(forecast[low])));
      ctx.closePath();
      ctx.fill();
    }
  });
}

export function volumes(ctx, plan) {
  const { x, box, candles, lengthMs, color } = plan;
  const most = Math.max(...candles.map((candle) => candle.volume), 0);
  if (!(most > 0)) return;
  const tall = (box.bottom - box.top) * 0.12;
  ctx.fillStyle = color.volume;
  for (const candle of candles) {
    const left = x(candle.open_ms + lengthMs * 0.15);
    const height = (candle.volume / most) * tall;
    ctx.fillRect(left, box.bottom - height, Math.max(1, x(candle.open_ms + lengthMs * 0.85) - left), height);
  }
}

export function candles(ctx, plan) {
  const { x, y, lengthMs, color } = plan;
  const width = Math.max(1, Math.floor((x(lengthMs) - x(0)) * 0.7));
  for (const candle of plan.candles) {
    const middle = Math.round(x(candle.open_ms + lengthMs / 2));
    const rises = candle.close >= candle.open;
    ctx.strokeStyle = ctx.fillStyle = candle.synthetic ? color.muted : rises ? color.up : color.down;
    ctx.globalAlpha = candle.closed ? 1 : 0.65;
    ctx.fillRect(middle, y(candle.high), 1, Math.max(1, y(candle.low) - y(candle.high)));
    const top = Math.round(y(Math.max(candle.open, candle.close)));
    const height = Math.max(1, Math.round(y(Math.min(candle.open, candle.close))) - top);
    const left = middle - Math.floor(width / 2);
    if (rises && width >= 4 && height > 2) {
      // Hollow where it rises: told apart without colour.
      ctx.fillStyle = color.surface;
      ctx.globalAlpha = 1;
      ctx.fillRect(left, top, width, height);
      ctx.globalAlpha = candle.closed ? 1 : 0.65;
      ctx.lineWidth = 1;
      ctx.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    } else {
      ctx.fillRect(left, top, width, height);
    }
  }
  ctx.globalAlpha = 1;
}

/** The newest forecast: from the base price through the quantiles of each horizon up to the chosen one. */
export function fan(ctx, plan) {
  const { x, y, color } = plan;
  if (!plan.fan.length) return;
  const { base_price: base, feature_open_ms: openMs } = plan.fan[0];
  const start = [x(openMs + 60_000), y(base)];
  LEVELS.forEach(([low, high], index) => {
    ctx.fillStyle = index ? color.fan50 : color.fan90;
    ctx.beginPath();
    ctx.moveTo(...start);
    plan.fan.forEach((row) => ctx.lineTo(x(row.target_ms), y(row[high])));
    plan.fan.toReversed().forEach((row) => ctx.lineTo(x(row.target_ms), y(row[low])));
    ctx.closePath();
    ctx.fill();
  });
  ctx.strokeStyle = ctx.fillStyle = color.fan;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  ctx.moveTo(...start);
  plan.fan.forEach((row) => ctx.lineTo(x(row.target_ms), y(row.q50)));
  ctx.stroke();
  ctx.setLineDash([]);
  for (const row of plan.fan) dot(ctx, x(row.target_ms), y(row.q50), 2.5);
  const last = plan.fan.at(-1);
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(crisp(x(last.target_ms)), y(last.q95));
  ctx.lineTo(crisp(x(last.target_ms)), y(last.q05));
  ctx.stroke();
}

function dot(ctx, left, top, radius) {
  ctx.beginPath();
  ctx.arc(left, top, radius, 0, 2 * Math.PI);
  ctx.fill();
}

/** Closes outside of the 90 % band: a diamond on the price, so that shape says it as well as colour. */
export function misses(ctx, plan) {
  const { x, y, color } = plan;
  ctx.fillStyle = color.miss;
  ctx.strokeStyle = color.surface;
  ctx.lineWidth = 1;
  for (const { forecast, outcome } of plan.past.filter((row) => row.inside90 === false)) {
    const [left, top] = [x(forecast.target_ms), y(outcome.price)];
    ctx.beginPath();
    ctx.moveTo(left, top - 5);
    ctx.lineTo(left + 5, top);
    ctx.lineTo(left, top + 5);
    ctx.lineTo(left - 5, top);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
}

/** One mark a past forecast below the prices: small within 50 %, half within 90 %, full for a miss. */
export function lane(ctx, plan) {
  const { x, box, color, stepMs } = plan;
  const tall = box.lane - box.laneTop;
  const width = Math.max(1, Math.min(8, x(stepMs) - x(0) - 1));
  for (const { forecast, inside50, inside90 } of plan.past) {
    const share = inside50 ? 0.25 : inside90 ? 0.5 : 1;
    ctx.fillStyle = inside90 ? color.hit : color.miss;
    ctx.fillRect(x(forecast.target_ms) - width / 2, box.lane - tall * share, width, tall * share);
  }
}

/** A price on the axis, in a box; with a line across where wanted. */
export function tag(ctx, plan, price, fill, { line = true, ink = plan.color.surface } = {}) {
  const { y, box, text, font } = plan;
  const top = Math.min(box.bottom - 9, Math.max(box.top + 9, y(price)));
  if (line) {
    ctx.strokeStyle = fill;
    ctx.lineWidth = 1;
    ctx.setLineDash([2, 3]);
    ctx.beginPath();
    ctx.moveTo(box.left, crisp(y(price)));
    ctx.lineTo(box.right, crisp(y(price)));
    ctx.stroke();
    ctx.setLineDash([]);
  }
  ctx.fillStyle = fill;
  ctx.fillRect(box.right + 2, top - 9, box.width - box.right - 2, 18);
  ctx.fillStyle = ink;
  ctx.font = font;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  ctx.fillText(text.price(price), box.right + 8, top);
}

export function crosshair(ctx, plan, at, pointerY) {
  const { x, y, box, color, text, font } = plan;
  ctx.strokeStyle = color.muted;
  ctx.lineWidth = 1;
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  ctx.moveTo(crisp(x(at)), box.top);
  ctx.lineTo(crisp(x(at)), box.lane);
  if (pointerY !== null) {
    ctx.moveTo(box.left, crisp(pointerY));
    ctx.lineTo(box.right, crisp(pointerY));
  }
  ctx.stroke();
  ctx.setLineDash([]);
  if (pointerY !== null) tag(ctx, plan, y.invert(pointerY), color.muted, { line: false });
  ctx.font = font;
  const label = text.moment(at);
  const width = ctx.measureText(label).width + 12;
  const left = Math.min(box.right - width, Math.max(box.left, x(at) - width / 2));
  ctx.fillStyle = color.muted;
  ctx.fillRect(left, box.axis - 9, width, 18);
  ctx.fillStyle = color.surface;
  ctx.textAlign = 'left';
  ctx.fillText(label, left + 6, box.axis);
}
