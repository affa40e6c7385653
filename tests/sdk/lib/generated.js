'use strict';
// Every operation that the installed SDK and the endpoint table share, called once with the least arguments.

const { check, describe } = require('./check');
const { operations, connect, build, missing, unwrap } = require('./sdk');

const RULE = { type: 'TRACK', key: 'Order Completed', version: 1, jsonSchema: {} };
const INVITEE = 'generated@example.com';

// Lists that name the objects of a path parameter, where the path itself has none of its own.
const HOMES = {
  sourceId: '/sources', destinationId: '/destinations', warehouseId: '/warehouses', userGroupId: '/groups',
  userId: '/users', functionId: '/functions', trackingPlanId: '/tracking-plans', modelId: '/reverse-etl-models',
  regulateId: '/regulations', sourceMetadataId: '/catalog/sources', destinationMetadataId: '/catalog/destinations',
  warehouseMetadataId: '/catalog/warehouses', spaceId: '/spaces', roleId: '/roles',
};

// Values that a declaration cannot tell, by operation, then by argument or field.
const KNOWN = {
  createInvites: { email: INVITEE },
  deleteInvites: { emails: [INVITEE] },
  createLabel: { key: 'generated', value: 'label' },
  deleteLabel: { key: 'generated', value: 'label' },
  updateRulesInTrackingPlan: { rules: [RULE] },
  replaceRulesInTrackingPlan: { rules: [RULE] },
  removeRulesFromTrackingPlan: { rules: [{ type: RULE.type, key: RULE.key, version: RULE.version }] },
  createSource: { metadataId: 'IqDTy1TpoU' },
};
const ANYWHERE = { startTime: '2026-01-01T00:00:00Z', endTime: '2026-01-02T00:00:00Z', period: '2026-01-01', message: 'hello' };

/** Runs all of it against one region. */
async function run({ base, token, region, table }) {
  const offered = operations();
  const rows = table.filter((row) => offered.has(row.operation)).sort(byLife);
  check(`the SDK and the table share operations`, rows.length >= 150, `only ${rows.length}`);
  const world = { base, token, table, lists: new Map() };
  for (const row of rows) {
    const operation = offered.get(row.operation);
    const what = `${region} ${row.operation}`;
    try {
      const args = await argumentsOf(world, row, operation);
      const promise = connect(operation.Api, base, token)[row.operation](...args);
      const data = await unwrap(promise);
      const { response, body } = await promise;
      check(`${what} status`, response.statusCode === row.status, `${response.statusCode}, expected ${row.status}`);
      check(`${what} region`, response.headers['x-sample-region'] === region, response.headers['x-sample-region']);
      check(`${what} data`, data !== undefined, 'unwrap gave nothing');
      const lacking = missing(operation.answer, body);
      check(`${what} shape`, lacking.length === 0, `lacks ${lacking.slice(0, 5).join(', ')}`);
    } catch (error) {
      check(what, false, describe(error));
    }
  }
}

// Objects are made, read, changed, then deleted, the innermost first.
function byLife(a, b) {
  const age = { POST: 0, GET: 1, PATCH: 2, PUT: 3, DELETE: 4 };
  const depth = (row) => row.path.split('/').length;
  return age[a.method] - age[b.method] || (a.method === 'DELETE' ? depth(b) - depth(a) : depth(a) - depth(b));
}

async function argumentsOf(world, row, operation) {
  const params = await pathParams(world, row);
  const ids = {};
  for (const name of ['sourceId', 'functionId', 'spaceId', 'roleId']) ids[name] = params[name] || (await first(world, HOMES[name], name));
  ids.metadataId = 'IqDTy1TpoU';
  ids.userIds = [await first(world, '/users', 'userId')];
  if (row.operation === 'restoreFunctionVersion') ids.versionId = await first(world, `/functions/${params.functionId}/versions`, 'id');
  const known = { ...ANYWHERE, ...ids, ...params, ...KNOWN[row.operation] };
  return operation.args.map(([name, optional, type]) => {
    if (optional && !(name in params)) return undefined;
    return build(type, name, (field) => known[field]);
  });
}

async function pathParams(world, row) {
  const params = {};
  let prefix = '';
  for (const part of row.path.split('/').slice(1)) {
    const name = (/^\{(\w+)\}$/.exec(part) || [])[1];
    if (!name) {
      prefix += `/${part}`;
      continue;
    }
    const template = row.path.slice(0, row.path.indexOf(`/{${name}}`));
    const own = world.table.some((other) => other.method === 'GET' && same(other.path, template));
    const value =
      (KNOWN[row.operation] || {})[name] ||
      (name === 'writeKey' ? (await list(world, '/sources'))[0].writeKeys[0] : undefined) ||
      (await first(world, own && prefix, name)) ||
      (await first(world, HOMES[name], name)) ||
      'sample';
    params[name] = value;
    prefix += `/${encodeURIComponent(value)}`;
  }
  return params;
}

function same(a, b) {
  return a.replace(/\{\w+\}/g, '{}') === b.replace(/\{\w+\}/g, '{}');
}

async function first(world, path, name) {
  const entries = path ? await list(world, path) : [];
  return entries.length ? entries[0].id || entries[0][name] : undefined;
}

/** The entries of a list, asked for once. */
async function list(world, path) {
  if (!world.lists.has(path)) {
    const headers = world.token ? { authorization: `Bearer ${world.token}` } : {};
    const answer = await fetch(world.base + path, { headers });
    const body = await answer.json();
    world.lists.set(path, Object.values(body.data || {}).find(Array.isArray) || []);
  }
  return world.lists.get(path);
}

module.exports = { run };
