// The panels beside the chart: what is known, in words, and honestly what is not.

import { $, facts, setText, show, table } from './dom.js';
import * as format from './format.js';

export const ENOUGH = 100;
const LEVELS = [['q95', '95 %'], ['q75', '75 %'], ['q50', '50 % (median)'], ['q25', '25 %'], ['q05', '5 %']];

const fromBase = (forecast, value) => format.signedPercent(value / forecast.base_price - 1, 3);

/** The newest forecast of the chosen horizon as a table, with its trust in words. */
export function forecastPanel(forecast, nowMs) {
  show($('forecast-empty'), !forecast);
  show($('forecast-body'), Boolean(forecast));
  show($('trust'), Boolean(forecast));
  if (!forecast) return;
  const expired = nowMs > forecast.expires_at_ms;
  const trusted = forecast.trusted && !expired;
  $('trust').dataset.tone = trusted ? 'good' : 'warn';
  const reasons = forecast.reasons.map(format.reasonText);
  if (expired) reasons.push(`it expired ${format.duration(nowMs - forecast.expires_at_ms)} ago`);
  setText($('trust'), trusted ? 'Trusted' : `Not trusted: ${reasons.join('; ') || 'no reason given'}`);
  setText($('forecast-caption'), `${forecast.pair} at ${format.clockBoth(forecast.target_ms)}`);
  table(
    $('forecast-rows'),
    LEVELS.map(([name, label]) => [label, format.price(forecast[name], forecast.base_price), fromBase(forecast, forecast[name])]),
    LEVELS.map(([name]) => (name === 'q50' ? 'strong' : '')),
  );
  facts($('forecast-facts'), [
    ['Base price', `${format.price(forecast.base_price)} at ${format.clock(forecast.feature_open_ms + format.MINUTE_MS)}`],
    ['Chance of a rise', format.percent(forecast.p_up)],
    [expired ? 'Expired' : 'Expires', expired ? `${format.duration(nowMs - forecast.expires_at_ms)} ago` : `in ${format.duration(forecast.expires_at_ms - nowMs)}`],
  ]);
}

/** Two standard errors of a share of `scored`. */
const spread = (share, scored) => 2 * Math.sqrt((share * (1 - share)) / scored);

function coverage(level, share, scored) {
  const name = `cover${level}`;
  const promise = level / 100;
  const off = spread(promise, scored);
  const tone = scored < ENOUGH ? '' : Math.abs(share - promise) <= Math.max(off, 0.02) ? 'good' : 'warn';
  setText($(`${name}-label`), `${format.percent(share)} of prices in the ${level} % range (± ${format.number(off * 100, 1)})`);
  $(`${name}-bar`).style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
  $(`${name}-bar`).dataset.tone = tone;
}

function verdict(row) {
  if (row.scored < ENOUGH) return [`Only ${row.scored} scored so far: too few to judge.`, 'warn'];
  if (!Number.isFinite(row.skill)) return ['No baseline to compare with.', ''];
  if (Math.abs(row.skill) < 0.001) return ['As good as the baseline.', ''];
  const size = format.percent(Math.abs(row.skill), 2);
  return row.skill > 0 ? [`${size} better than the volatility baseline.`, 'good'] : [`${size} worse than the volatility baseline.`, 'warn'];
}

/** Skill and coverage of the model that was scored last; others are only named. */
export function accuracyPanel(rows, problem) {
  const used = [...(rows ?? [])].filter((row) => row.scored > 0).sort((a, b) => b.last_target_ms - a.last_target_ms);
  const row = used[0];
  show($('accuracy-body'), Boolean(row));
  show($('accuracy-empty'), !row);
  if (!row) return setText($('accuracy-empty'), problem || 'No forecast of this horizon has been scored yet.');
  const [text, tone] = verdict(row);
  setText($('accuracy-verdict'), text);
  $('accuracy-verdict').dataset.tone = tone;
  coverage(50, row.coverage50, row.scored);
  coverage(90, row.coverage90, row.scored);
  const entries = [
    ['Scored', format.number(row.scored)],
    ['Pinball loss', `${format.number(row.pinball_bps, 3)} bps`],
    ['Baseline', `${format.number(row.baseline_pinball_bps, 3)} bps`],
    ['Mean error of the median', `${format.number(row.mae_bps, 2)} bps`],
    ['Direction right', row.direction !== null ? format.percent(row.direction) : 'gives none'],
    ['Model', `${row.model} ${row.model_version}`],
  ];
  for (const other of used.slice(1, 4)) entries.push([`${other.model} ${other.model_version}`, `${format.number(other.scored)} scored, ${format.signedPercent(other.skill)}`]);
  return facts($('accuracy-facts'), entries);
}

/** Who made the newest forecast, how old it is, and what the gate said. */
export function modelPanel(forecast, models, problem, nowMs) {
  show($('model-empty'), !forecast || Boolean(problem));
  setText($('model-empty'), forecast ? problem : 'No forecast yet.');
  const of = (models ?? []).filter((row) => row.horizon_s === forecast?.horizon_s);
  const row = of.find((one) => one.version === forecast?.model_version) ?? of.find((one) => one.alias === 'champion');
  const entries = [];
  if (forecast) {
    entries.push(['Name', forecast.model], ['Version', `${forecast.model_version}${forecast.model_alias ? `, ${forecast.model_alias}` : ''}`]);
    entries.push(forecast.trusted ? ['Trusted', 'yes', 'good'] : ['Trusted', `no: ${forecast.reasons.map(format.reasonText).join('; ')}`, 'warn']);
  }
  if (row) {
    if (row.created_ms) entries.push(['Age', `${format.duration(nowMs - row.created_ms)}, of ${format.moment(row.created_ms)}`]);
    if (row.trained_from_ms && row.trained_to_ms) entries.push(['Trained on', `${format.moment(row.trained_from_ms)} to ${format.moment(row.trained_to_ms)}`]);
    if (row.verdict) entries.push(['Gate', String(row.verdict)]);
  } else if (forecast) {
    entries.push(['Age', 'not known']);
  }
  facts($('model-facts'), entries);
  const report = typeof row?.report === 'string' && row.report.startsWith('/') && !row.report.startsWith('//') ? row.report : '';
  show($('model-report-line'), Boolean(report));
  if (report) $('model-report').setAttribute('href', report);
}

/** What the page itself sees of the feed, then what the API counted. */
export function qualityPanel(lastClosed, lengthMs, row, problem, nowMs) {
  const age = lastClosed ? nowMs - lastClosed.open_ms - lengthMs : NaN;
  facts($('quality-now'), [
    ['Last closed candle', lastClosed ? `${format.clock(lastClosed.open_ms + lengthMs)}, ${format.duration(age)} ago` : 'none yet', age > lengthMs + 90_000 ? 'warn' : ''],
  ]);
  show($('quality-empty'), !row);
  if (!row) {
    facts($('quality-facts'), []);
    return setText($('quality-empty'), problem || 'Nothing counted for this pair yet.');
  }
  const bad = (count) => (count > 0 ? 'warn' : 'good');
  return facts($('quality-facts'), [
    ['Lag of candles', Number.isFinite(row.candle_lag_ms) ? format.duration(row.candle_lag_ms) : '–'],
    ['Holes open', format.number(row.holes_open), bad(row.holes_open)],
    ['Holes repaired', format.number(row.holes_repaired)],
    ['Holes lost for good', format.number(row.holes_unrepairable), bad(row.holes_unrepairable)],
    ['Trade ids missing', format.number(row.ids_missing), bad(row.ids_missing)],
    ['Late trades', Number.isFinite(row.late_trades) ? format.number(row.late_trades) : 'not counted'],
    ['Candles', `${format.number(row.candles)}: ${format.number(row.synthetic)} without trades, ${format.number(row.revised)} corrected`],
  ]);
}

function judge({ forecast, outcome, inside50, inside90 }) {
  if (outcome.synthetic) return ['no trades: not counted', ''];
  if (inside50) return ['✓ in 50 %', 'good'];
  if (inside90) return ['✓ in 90 %', 'good'];
  return [outcome.price < forecast.q05 ? '✗ below' : '✗ above', 'miss'];
}

/** The newest ten past forecasts, and how many of all on the page were right. */
export function outcomesPanel(past) {
  const known = past.filter((row) => row.outcome);
  show($('outcomes-empty'), !known.length);
  show($('outcomes-body'), Boolean(known.length));
  show($('outcomes-summary'), Boolean(known.length));
  const counted = known.filter((row) => !row.outcome.synthetic);
  const hits = (name) => counted.filter((row) => row[name]).length;
  const share = (name) => (counted.length ? format.percent(hits(name) / counted.length, 0) : '–');
  const few = counted.length < ENOUGH ? ' Too few to judge.' : '';
  setText(
    $('outcomes-summary'),
    `Of the last ${counted.length}: ${share('inside50')} within the 50 % range, ${share('inside90')} within the 90 % range.${few}`,
  );
  const newest = known.slice(-10).toReversed();
  table(
    $('outcomes-rows'),
    newest.map((row) => {
      const { forecast, outcome } = row;
      const text = (value) => format.price(value, forecast.base_price);
      const error = Math.log(outcome.price / forecast.q50) * 10_000;
      return [
        format.clockBoth(forecast.target_ms),
        text(forecast.q50),
        `${text(forecast.q05)} – ${text(forecast.q95)}`,
        text(outcome.price),
        `${error < 0 ? '−' : '+'}${format.number(Math.abs(error), 1)} bps`,
        judge(row)[0],
      ];
    }),
    newest.map((row) => judge(row)[1]),
  );
}
