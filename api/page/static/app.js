// The page: what is chosen, what is loaded, and what is shown when.

import { Chart } from './chart.js';
import { $, radios, setText, show } from './dom.js';
import { Feed } from './feed.js';
import * as format from './format.js';
import { Market } from './market.js';
import { accuracyPanel, forecastPanel, modelPanel, outcomesPanel, qualityPanel } from './panels.js';
import { Rest, whyNot } from './rest.js';

const HISTORY = 400;
const SLOW_MS = 20_000; // panels that only REST tells
const FALLBACK_MS = 5_000; // everything, while the feed is away
const HOLE_TRIES = 6;
const HOLE_WAIT_MS = 2_500;
const DEFAULT_HORIZON_S = 300;
const THEMES = ['auto', 'light', 'dark'];

const hash = new URLSearchParams(location.hash.slice(1));
const chosen = {
  pair: hash.get('pair') ?? '',
  horizonS: Number(hash.get('horizon')) || 0,
  timeframe: hash.get('candles') in format.TIMEFRAMES ? hash.get('candles') : '1m',
};
const told = { accuracy: null, models: null, quality: null }; // the last answers
let market = new Market('');
let skewMs = 0;
let holeTries = 0;
let loading = 0;
let denied = false;

const now = () => Date.now() + skewMs;
const rest = new Rest((status) => {
  denied = true;
  setText($('key-title'), rest.key ? `This API key is not accepted (${status})` : 'An API key is needed');
  show($('key-panel'), true);
});
const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
const feed = new Feed(`${scheme}://${location.host}/v1/feed`, {
  data: onData,
  gap: () => loadHistory(),
  state: () => {
    draw();
    if (feed.live) loadHistory(); // what REST could not tell while the server was away
  },
  clock: (ms) => (skewMs = ms),
});
const chart = new Chart($('chart'), readBar);

function onData(message) {
  market.simulated ||= Boolean(message.simulated);
  market.source = message.source || market.source;
  for (const row of message.data) take(message.channel, row);
  draw();
}

function take(channel, row) {
  if (channel === 'candles') market.addCandle(row);
  else if (channel === 'candles-live') market.setLive(row);
  else if (channel === 'forecasts') market.addForecast(row);
  else if (channel === 'errors') market.addOutcome(row);
}

// What is chosen

function choose(change) {
  const pairChanged = change.pair !== undefined && change.pair !== market.pair;
  Object.assign(chosen, change);
  const address = new URLSearchParams({ pair: chosen.pair, horizon: chosen.horizonS, candles: chosen.timeframe });
  history.replaceState(null, '', `#${address}`);
  holeTries = 0;
  if (pairChanged) {
    const { simulated, source } = market;
    market = Object.assign(new Market(chosen.pair), { simulated, source });
    told.quality = told.accuracy = null;
    feed.follow(chosen.pair);
  }
  if (change.horizonS !== undefined) told.accuracy = null;
  draw();
  loadHistory();
  loadSlow();
}

function drawControls() {
  const horizons = market.horizons();
  if (horizons.length && !horizons.includes(chosen.horizonS)) {
    choose({ horizonS: horizons.includes(DEFAULT_HORIZON_S) ? DEFAULT_HORIZON_S : horizons[0] });
    return;
  }
  radios($('horizons'), 'horizon', horizons.map((seconds) => [seconds, format.horizon(seconds)]), chosen.horizonS, (value) =>
    choose({ horizonS: Number(value) }),
  );
  radios($('timeframes'), 'candles', Object.keys(format.TIMEFRAMES).map((name) => [name, name]), chosen.timeframe, (value) =>
    choose({ timeframe: value }),
  );
}

// What is loaded

async function loadPairs() {
  const answer = await rest.get('/v1/pairs');
  if (!answer.ok) {
    if (!market.pair) setText($('chart-empty'), whyNot(answer, 'Pairs'));
    return;
  }
  denied = false;
  show($('key-panel'), false);
  market.simulated ||= answer.body.simulated;
  const names = answer.body.pairs.map((row) => row.pair);
  const select = $('pair');
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  const rich = answer.body.pairs.toSorted((a, b) => b.candles - a.candles)[0]?.pair;
  const wanted = names.includes(chosen.pair) ? chosen.pair : names.includes('BTC/USD') ? 'BTC/USD' : rich;
  select.value = wanted ?? '';
  if (wanted && wanted !== market.pair) choose({ pair: wanted });
}

/** Candles, forecasts and outcomes of the pair; what the feed has told meanwhile is kept. */
async function loadHistory() {
  const target = market;
  const { pair, horizonS, timeframe } = chosen;
  if (!pair) return;
  const turn = (loading += 1);
  const frames = [...new Set([timeframe, '1m'])];
  const [candles, forecasts, recent, latest, errors] = await Promise.all([
    Promise.all(frames.map((name) => rest.get('/v1/candles', { pair, timeframe: name, limit: HISTORY }))),
    horizonS ? rest.get('/v1/forecasts', { pair, horizon_s: horizonS, limit: HISTORY }) : null,
    rest.get('/v1/forecasts', { pair, limit: 12 }), // of all horizons, also while the API has lost the broker
    rest.get('/v1/forecasts/latest', { pair }),
    horizonS ? rest.get('/v1/errors', { pair, horizon_s: horizonS, limit: HISTORY }) : null,
  ]);
  if (target !== market) return;
  for (const answer of [...candles, forecasts, recent, latest, errors]) {
    if (!answer?.ok) continue;
    market.simulated ||= Boolean(answer.body.simulated);
    market.source = answer.body.source ?? market.source;
  }
  for (const answer of candles) if (answer.ok) answer.body.candles.forEach((row) => market.addCandle(row));
  for (const answer of [forecasts, recent, latest]) if (answer?.ok) answer.body.forecasts.forEach((row) => market.addForecast(row));
  if (errors?.ok) errors.body.errors.forEach((row) => market.addOutcome(row));
  if (turn === loading) {
    const failed = candles.find((answer) => !answer.ok);
    setText($('chart-empty'), failed ? whyNot(failed, 'Candles') : `No candles of ${pair} yet: the first one closes within a minute of its first trade.`);
  }
  draw();
}

async function loadSlow() {
  const { pair, horizonS } = chosen;
  if (!pair) return;
  const [accuracy, models, quality] = await Promise.all([
    horizonS ? rest.get('/v1/accuracy', { pair, horizon_s: horizonS, window: '24h' }) : null,
    rest.get('/v1/models'),
    rest.get('/v1/quality', { pair, window: '24h' }),
  ]);
  if (pair !== chosen.pair || horizonS !== chosen.horizonS) return;
  Object.assign(told, { accuracy, models, quality });
  draw();
}

/** A hole in the candles means that the store was behind the feed when it was asked: ask again, a few times. */
function mendHoles() {
  if (!market.holes(chosen.timeframe).length) holeTries = 0;
  else if (holeTries < HOLE_TRIES) {
    holeTries += 1;
    loadHistory();
  }
}

// What is shown

let frame = 0;
function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    drawNow();
  });
}

function drawNow() {
  drawConnection();
  drawControls();
  const series = market.series(chosen.timeframe);
  const fan = market.fan(chosen.horizonS);
  const past = market.past(chosen.horizonS);
  const forecast = market.latest(chosen.horizonS);
  chart.show({ pair: market.pair, candles: series, fan, past, lengthMs: format.lengthMs(chosen.timeframe) });
  show($('chart-empty'), !series.length);
  show($('simulated'), market.simulated);
  document.body.classList.toggle('is-simulated', market.simulated);
  drawQuote(series, forecast);
  outcomesPanel(past);
  drawPanels(forecast);
}

function drawPanels(forecast) {
  const problem = (answer, what) => (!answer ? 'Loading…' : answer.ok ? '' : whyNot(answer, what));
  forecastPanel(forecast, now());
  accuracyPanel(told.accuracy?.body?.accuracy, problem(told.accuracy, 'Accuracy'));
  modelPanel(forecast, told.models?.body?.models, problem(told.models, 'Models'), now());
  const row = told.quality?.body?.pairs?.find((one) => one.pair === market.pair);
  const lastClosed = market.series('1m').findLast((candle) => candle.closed);
  qualityPanel(lastClosed, format.MINUTE_MS, row, problem(told.quality, 'Counts'), now());
}

function drawConnection() {
  const { word, tone, rest: more } = feed.describe();
  $('connection').dataset.tone = tone;
  setText($('state'), word);
  setText($('state-rest'), denied ? 'an API key is needed' : more);
}

function drawQuote(series, forecast) {
  const last = series.at(-1);
  setText($('quote-pair'), market.pair || ' ');
  setText($('quote-price'), last ? format.price(last.close) : '–');
  const hour = market.series('1m').find((candle) => candle.open_ms >= (last?.open_ms ?? 0) - 60 * format.MINUTE_MS);
  const change = last && hour ? last.close / hour.open - 1 : NaN;
  setText($('quote-change'), Number.isFinite(change) ? `${format.signedPercent(change)} in 1 h` : '');
  $('quote-change').dataset.tone = change > 0 ? 'up' : change < 0 ? 'down' : '';
  const sentence = forecast
    ? `At ${format.clock(forecast.target_ms)}, ${format.horizon(forecast.horizon_s)} ahead: ${format.price(forecast.q05, forecast.base_price)} to ${format.price(forecast.q95, forecast.base_price)} with 90 % chance, median ${format.price(forecast.q50, forecast.base_price)}`
    : 'No forecast of this pair yet';
  setText($('quote-forecast'), sentence);
  document.title = last ? `${format.price(last.close)} ${market.pair}${market.simulated ? ' (simulated)' : ''} · tickcast` : 'tickcast';
  $('chart').setAttribute('aria-label', `Candlestick chart of ${market.pair}, ${chosen.timeframe}${market.simulated ? ', simulated' : ''}. ${sentence}.`);
}

/** The line over the chart: the bar under the crosshair, or nothing. */
function readBar(openMs, byKey) {
  const readout = $('readout');
  readout.setAttribute('aria-live', byKey ? 'polite' : 'off');
  setText(readout, openMs === null ? '' : barText(openMs));
}

function barText(openMs) {
  const lengthMs = format.lengthMs(chosen.timeframe);
  const candle = market.series(chosen.timeframe).find((row) => row.open_ms === openMs);
  const parts = [format.moment(openMs)];
  if (candle) {
    const text = (value) => format.price(value, candle.close);
    parts.push(`O ${text(candle.open)}  H ${text(candle.high)}  L ${text(candle.low)}  C ${text(candle.close)}`, `Vol ${format.compact(candle.volume)}`);
    if (candle.synthetic) parts.push('no trades');
    if (!candle.closed) parts.push('still open');
  }
  const target = market.past(chosen.horizonS).find((row) => row.forecast.target_ms === openMs + lengthMs);
  if (target) {
    const { forecast, outcome, inside50, inside90 } = target;
    const text = (value) => format.price(value, forecast.base_price);
    const verdict = !outcome ? 'pending' : inside50 ? 'within 50 %' : inside90 ? 'within 90 %' : 'outside of 90 %';
    parts.push(`Forecast for its close ${text(forecast.q05)} – ${text(forecast.q95)} (${verdict})`);
  }
  return parts.join('   ');
}

// The rest of the page

function setTheme(theme) {
  document.documentElement.dataset.chosen = theme; // theme.js does the rest
  localStorage.setItem('tickcast-theme', theme);
  setText($('theme'), `Theme: ${theme}`);
}

function listen() {
  $('controls').addEventListener('submit', (event) => event.preventDefault());
  $('pair').addEventListener('change', (event) => choose({ pair: event.target.value }));
  $('zoom-in').addEventListener('click', () => chart.zoom(1 / 1.25));
  $('zoom-out').addEventListener('click', () => chart.zoom(1.25));
  $('latest').addEventListener('click', () => chart.latest());
  $('theme').addEventListener('click', () => {
    const at = THEMES.indexOf(document.documentElement.dataset.chosen);
    setTheme(THEMES[(at + 1) % THEMES.length]);
  });
  $('key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    rest.setKey($('key').value.trim());
    $('key').value = '';
    feed.authenticate(rest.key);
    loadPairs().then(loadHistory).then(loadSlow);
  });
  new MutationObserver(() => chart.readColors()).observe(document.documentElement, { attributeFilter: ['data-theme'] });
}

listen();
setTheme(document.documentElement.dataset.chosen);
setText($('zone'), format.zone() === 'UTC' ? 'Times are UTC.' : `Times: ${format.zone()}, with UTC beside them.`);
feed.key = rest.key;
loadPairs();
feed.start();
setInterval(draw, 1_000);
setInterval(mendHoles, HOLE_WAIT_MS);
setInterval(() => {
  loadPairs();
  loadSlow();
}, SLOW_MS);
setInterval(() => feed.live || loadPairs().then(loadHistory), FALLBACK_MS);
