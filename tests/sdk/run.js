'use strict';
// Drives Segment's own TypeScript SDK through tollgate, or straight at the sample APIs.
//
//   npm install --no-package-lock --no-audit --no-fund
//   tollgate demo --json > demo.json &            # then:
//   TOLLGATE_DEMO=@demo.json node run.js
//   TOLLGATE_BASE_US=http://127.0.0.1:1 TOLLGATE_BASE_EU=http://127.0.0.1:2 node run.js   # without a gateway
//
// TOLLGATE_DEMO is the demo's line of JSON, or @FILE with it. TOLLGATE_BASE_US and TOLLGATE_BASE_EU win over its
// `public`; without TOLLGATE_DEMO no tokens are sent and the refusals, which only a gateway makes, are left out.
// TOLLGATE_TABLE names the endpoint table (default: config/endpoints.toml).

const fs = require('fs');
const path = require('path');
const { finish, step } = require('./lib/check');
const generated = require('./lib/generated');
const refusals = require('./lib/refusals');
const replay = require('./lib/replay');
const story = require('./lib/story');
const table = require('./lib/table');

async function main() {
  const demo = readDemo(process.env.TOLLGATE_DEMO);
  const rows = table.read(process.env.TOLLGATE_TABLE || path.join(__dirname, '..', '..', 'config', 'endpoints.toml'));
  const tokens = (demo && demo.tokens) || {};
  for (const region of ['us', 'eu']) {
    const base = process.env[`TOLLGATE_BASE_${region.toUpperCase()}`] || (demo && demo.public);
    if (!base) throw new Error(`set TOLLGATE_DEMO or TOLLGATE_BASE_${region.toUpperCase()}`);
    const token = tokens[region] && tokens[region].token;
    const target = { base, token, region, table: rows };
    await step(`${region} generated`, () => generated.run(target));
    await step(`${region} story`, () => story.run(target));
    await step(`${region} recorded requests`, () => replay.run(target));
  }
  if (demo) await step('refusals', () => refusals.run({ base: process.env.TOLLGATE_BASE_US || demo.public, tokens }));
  else console.log('refusals left out: there is no gateway (TOLLGATE_DEMO is not set)');
}

function readDemo(text) {
  if (!text) return undefined;
  return JSON.parse(text.startsWith('@') ? fs.readFileSync(text.slice(1), 'utf8') : text);
}

main()
  .catch((error) => step('run', () => Promise.reject(error)))
  .finally(finish);
