// The store through the unmodified Node client; prints one JSON object of what it saw.
import { createClient } from "@clickhouse/client";
import { Readable } from "node:stream";

const [url, username, password, database] = process.argv.slice(2);
const client = createClient({
  url,
  username,
  password,
  database,
  compression: { request: true, response: true },
  request_timeout: 60_000,
});
const seen = {};
const rows = async (query, query_params = {}, settings = {}) =>
  (await client.query({ query, query_params, format: "JSONEachRow", clickhouse_settings: settings })).json();
const failure = async (work) => {
  try {
    await work();
    return null;
  } catch (error) {
    return { code: error.code ?? null, type: error.type ?? null, name: error.name };
  }
};

seen.ping = (await client.ping()).success;
await client.command({ query: "CREATE TABLE node (a UInt64, b String, c Array(Float64)) ENGINE = MergeTree ORDER BY a" });
await client.insert({
  table: "node",
  values: [{ a: "1", b: "it's \\ \n é", c: [0.1, 1e300] }, { a: "2", b: "", c: [] }],
  format: "JSONEachRow",
});
seen.rows = await rows("SELECT * FROM node ORDER BY a");

async function* many() {
  for (let a = 10; a < 20_010; a += 1) yield { a, b: `row ${a}`, c: [a / 3] };
}
await client.insert({ table: "node", values: Readable.from(many(), { objectMode: true }), format: "JSONEachRow" });
seen.count = (await rows("SELECT count() AS n, sum(a) AS s FROM node WHERE a >= 10"))[0];

let streamed = 0;
const stream = await client.query({ query: "SELECT * FROM node WHERE a >= 10", format: "JSONEachRow" });
for await (const part of stream.stream()) streamed += part.length;
seen.streamed = streamed;

seen.params = (
  await rows("SELECT {text:String} AS text, {many:Array(Int32)} AS many, {at:DateTime64(3, 'UTC')} AS at", {
    text: "x'; DROP TABLE node -- \\",
    many: [1, -2],
    at: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678)),
  })
)[0];
seen.setting = (
  await rows("SELECT value FROM system.settings WHERE name = 'max_block_size'", {}, { max_block_size: "123" })
)[0].value;
const json = await client.query({ query: "SELECT 1 AS one", format: "JSON" });
seen.json = (await json.json()).data;
const csv = await client.exec({ query: "SELECT a, b FROM node WHERE a = 2 FORMAT CSVWithNames" });
let text = "";
for await (const part of csv.stream) text += part;
seen.csv = text;

seen.errors = {
  table: await failure(() => rows("SELECT * FROM nowhere")),
  syntax: await failure(() => rows("SELECT (1")),
  denied: await failure(() => rows("SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')")),
  middle: await failure(() => rows("SELECT throwIf(number = 900000) FROM numbers(1000000)")),
};
const controller = new AbortController();
const cancelled = failure(() =>
  client.query({ query: "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
    abort_signal: controller.signal, query_id: "cancelled-by-node" }));
setTimeout(() => controller.abort(), 500);
seen.cancelled = (await cancelled) !== null;
seen.alive = (await rows("SELECT 1 AS one"))[0].one;
const stranger = createClient({ url, username, password: "wrong", database });
seen.stranger = await failure(() => stranger.query({ query: "SELECT 1" }));
await stranger.close();
await client.close();
process.stdout.write(JSON.stringify(seen));
