'use strict';
// What a caller sees through `unwrap` when the gateway refuses: a message, never a TypeError of the SDK.

const { step, equal } = require('./check');
const { configure, unwrap } = require('./sdk');
const { refused } = require('./story');

/** Runs against a gateway; `tokens` are those of the demo's line of JSON. */
async function run({ base, tokens }) {
  const sources = (token) => configure(base, token).sources;
  const of = (kind) => tokens[kind] && tokens[kind].token;
  const unknown = tokens.us.token.slice(0, -7) + [...tokens.us.token.slice(-7)].reverse().join('');

  await expect('no token', 401, ['credential_missing'], () => {
    const api = sources('x');
    api.accessToken = undefined;
    return api.listSources({ count: 1 });
  });
  await expect('a token that was never given out', 401, ['token_unknown'], () => sources(unknown).listSources({ count: 1 }));
  await expect('no token68', 401, ['credential_malformed'], () => sources('not a token').listSources({ count: 1 }));
  for (const [kind, status, reason] of [
    ['revoked', 401, 'token_revoked'],
    ['expired', 401, 'token_expired'],
    ['free_plan', 403, 'plan_required'],
    ['suspended', 403, 'workspace_suspended'],
  ]) {
    if (of(kind)) await expect(`the ${kind} token`, status, [reason], () => sources(of(kind)).listSources({ count: 1 }));
  }
  await expect('a version that the endpoint does not have', 406, ['version_unsupported'], () =>
    configure(base, of('us')).spaces.listSpaces({ count: 1 }, { headers: { Accept: 'application/vnd.segment.v1+json' } }));
  await step('422 names the field', async () => {
    const { sources: list } = await unwrap(sources(of('us')).listSources({ count: 1 }));
    const error = await refused(unwrap(sources(of('us')).updateSchemaSettingsInSource(list[0].id, { forwardingViolationsTo: 'unknown' })));
    equal([error.type, error.field, typeof error.message], ['input-validation', 'forwardingViolationsTo', 'string'], 'error');
  });
  if (of('tiny_limit')) {
    await expect('more than five a minute', 429, ['rate_limited'], async () => {
      for (let n = 0; n < 5; n += 1) await sources(of('tiny_limit')).listSources({ count: 1 });
      return sources(of('tiny_limit')).listSources({ count: 1 });
    });
  }
}

async function expect(what, status, reasons, call) {
  await step(`${what}: ${status}`, async () => {
    let response;
    const error = await refused(unwrap(Promise.resolve(call()).catch((e) => { response = e; throw e; })));
    equal(response.statusCode, status, 'status');
    equal([typeof error.message, error.message.length > 10, error.status], ['string', true, status], 'message');
    equal(reasons.includes((error.data || {}).reason), true, `reason ${(error.data || {}).reason}`);
    if (status === 429) equal(Number(response.response.headers['retry-after']) >= 1, true, 'Retry-After');
  });
}

module.exports = { run };
