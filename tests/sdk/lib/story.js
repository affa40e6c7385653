'use strict';
// The lives of ten resources, and what is special about some of them.

const { step, equal } = require('./check');
const { configure, unwrap } = require('./sdk');

const ALPHA = { headers: { Accept: 'application/vnd.segment.v1alpha+json' } };

/** Runs the whole story against one region. */
async function run({ base, token, region }) {
  const apis = configure(base, token);
  const tell = (what, body) => step(`${region} ${what}`, body);
  const { workspace } = (await tell('the workspace', () => unwrap(apis.workspaces.getWorkspace()))) || {};
  const { spaces } = (await tell('spaces, which are alpha only', () => unwrap(apis.spaces.listSpaces({ count: 2 })))) || {};
  const { sources } = (await tell('sources', () => unwrap(apis.sources.listSources({ count: 10 })))) || {};
  const { destinations } = (await tell('destinations', () => unwrap(apis.destinations.listDestinations({ count: 10 })))) || {};
  if (!workspace || !spaces || !sources || !destinations) return;
  const ids = { source: sources[0].id, destination: destinations[0].id, space: spaces[0].id };
  for (const resource of resources(apis, ids)) await live(tell, resource);
  await labels(tell, apis, ids);
  await people(tell, apis);
  await rules(tell, apis);
  await settings(tell, apis, sources);
  await metrics(tell, apis, destinations, ids);
  await echo(tell, apis, region);
}

function resources(apis, { source, destination, space }) {
  const page = (cursor) => ({ count: 2, ...(cursor ? { cursor } : {}) });
  return [
    {
      name: 'source', many: 'sources',
      create: (n) => apis.sources.createSource({ slug: `story-${n}`, enabled: true, metadataId: 'IqDTy1TpoU', settings: { a: 'é' } }),
      list: (cursor) => apis.sources.listSources(page(cursor)),
      read: (id) => apis.sources.getSource(id),
      update: (id) => apis.sources.updateSource(id, { name: 'changed' }),
      remove: (id) => apis.sources.deleteSource(id), field: 'name',
    },
    {
      name: 'destination', many: 'destinations',
      create: (n) => apis.destinations.createDestination({ sourceId: source, metadataId: '54521fd525e721e32a72ee91', name: `story-${n}`, settings: {} }),
      list: (cursor) => apis.destinations.listDestinations(page(cursor)),
      read: (id) => apis.destinations.getDestination(id),
      update: (id) => apis.destinations.updateDestination(id, { name: 'changed' }),
      remove: (id) => apis.destinations.deleteDestination(id), field: 'name',
    },
    {
      name: 'warehouse', many: 'warehouses',
      create: (n) => apis.warehouses.createWarehouse({ metadataId: 'aea3c55dsz', name: `story-${n}`, settings: {} }),
      list: (cursor) => apis.warehouses.listWarehouses(page(cursor)),
      read: (id) => apis.warehouses.getWarehouse(id),
      update: (id) => apis.warehouses.updateWarehouse(id, { enabled: false, settings: {} }),
      remove: (id) => apis.warehouses.deleteWarehouse(id), field: 'enabled', changed: false,
    },
    {
      name: 'trackingPlan', many: 'trackingPlans', quiet: true,
      create: (n) => apis.trackingPlans.createTrackingPlan({ name: `story-${n}`, type: 'LIVE' }),
      list: (cursor) => apis.trackingPlans.listTrackingPlans(page(cursor)),
      read: (id) => apis.trackingPlans.getTrackingPlan(id),
      update: (id) => apis.trackingPlans.updateTrackingPlan(id, { name: 'changed' }),
      remove: (id) => apis.trackingPlans.deleteTrackingPlan(id), field: 'name',
    },
    {
      name: 'function', many: 'functions',
      create: (n) => apis.functions.createFunction({ code: '// code', displayName: `story-${n}`, resourceType: 'DESTINATION' }),
      list: (cursor) => apis.functions.listFunctions(page(cursor), 'DESTINATION'),
      read: (id) => apis.functions.getFunction(id),
      update: (id) => apis.functions.updateFunction(id, { displayName: 'changed' }),
      remove: (id) => apis.functions.deleteFunction(id), field: 'displayName',
    },
    {
      name: 'transformation', many: 'transformations',
      create: (n) => apis.transformations.createTransformation({ name: `story-${n}`, sourceId: source, enabled: true, if: "event = 'A'" }),
      list: (cursor) => apis.transformations.listTransformations(page(cursor)),
      read: (id) => apis.transformations.getTransformation(id),
      update: (id) => apis.transformations.updateTransformation(id, { name: 'changed' }),
      remove: (id) => apis.transformations.deleteTransformation(id), field: 'name',
    },
    {
      name: 'userGroup', many: 'userGroups',
      create: (n) => apis.iamGroups.createUserGroup({ name: `story-${n}` }),
      list: (cursor) => apis.iamGroups.listUserGroups(page(cursor)),
      read: (id) => apis.iamGroups.getUserGroup(id),
      update: (id) => apis.iamGroups.updateUserGroup(id, { name: 'changed' }),
      remove: (id) => apis.iamGroups.deleteUserGroup(id), field: 'name',
    },
    {
      name: 'filter', many: 'filters',
      create: (n) => apis.destinationFilters.createFilterForDestination(destination, {
        sourceId: source, if: 'type = "track"', actions: [{ type: 'DROP' }], title: `story-${n}`, enabled: true,
      }),
      list: (cursor) => apis.destinationFilters.listFiltersFromDestination(destination, page(cursor)),
      read: (id) => apis.destinationFilters.getFilterInDestination(destination, id),
      update: (id) => apis.destinationFilters.updateFilterForDestination(destination, id, { title: 'changed' }),
      remove: (id) => apis.destinationFilters.removeFilterFromDestination(destination, id), field: 'title',
    },
    {
      name: 'reverseEtlModel', many: 'models', // alpha only
      create: (n) => apis.reverseETL.createReverseEtlModel({
        sourceId: source, name: `story-${n}`, description: '', enabled: true, scheduleStrategy: 'MANUAL',
        query: 'SELECT 1', queryIdentifierColumn: 'id',
      }),
      list: (cursor) => apis.reverseETL.listReverseEtlModels(page(cursor)),
      read: (id) => apis.reverseETL.getReverseEtlModel(id, ALPHA),
      update: (id) => apis.reverseETL.updateReverseEtlModel(id, { name: 'changed' }),
      remove: (id) => apis.reverseETL.deleteReverseEtlModel(id, ALPHA), field: 'name',
    },
    {
      name: 'profilesWarehouse', many: 'profilesWarehouses', // alpha only, and read by its list alone
      create: (n) => apis.profilesSync.createProfilesWarehouse(space, { enabled: true, metadataId: 'aea3c55dsz', settings: {}, name: `story-${n}` }),
      list: (cursor) => apis.profilesSync.listProfilesWarehouseInSpace(space, page(cursor)),
      update: (id) => apis.profilesSync.updateProfilesWarehouseForSpaceWarehouse(space, id, { enabled: false, settings: {} }),
      remove: (id) => apis.profilesSync.removeProfilesWarehouseFromSpace(space, id), field: 'enabled', changed: false,
    },
  ];
}

/** Two objects are made, found on the pages of their list, read, changed, and deleted. */
async function live(tell, { name, many, create, list, read, update, remove, field, changed = 'changed', quiet }) {
  const made = [];
  for (const n of [1, 2]) {
    const data = await tell(`${name} is created`, () => unwrap(create(n)));
    if (!data || !data[name]) return;
    made.push(data[name].id);
  }
  const [id, other] = made;
  await tell(`${name} has an id of its own`, async () => equal(id === other, false, 'same id'));
  await tell(`${name} is on one of the list's pages`, async () => {
    const seen = [];
    let cursor;
    do {
      const data = await unwrap(list(cursor));
      if (data[many].length > 2) throw new Error('more than were asked for');
      seen.push(...data[many].map((entry) => entry.id));
      cursor = data.pagination.next;
    } while (cursor && seen.length < 2000);
    equal([seen.includes(id), seen.includes(other), new Set(seen).size], [true, true, seen.length], 'seen');
  });
  if (read) await tell(`${name} is read`, async () => equal((await unwrap(read(id)))[name].id, id, 'id'));
  await tell(`${name} is changed`, async () => {
    const data = await unwrap(update(id));
    if (quiet) equal(data.status, 'SUCCESS', 'status');
    else equal(data[name][field], changed, field);
    if (read) equal((await unwrap(read(id)))[name][field], changed, `${field}, read again`);
  });
  for (const gone of made) {
    await tell(`${name} is deleted`, async () => equal((await unwrap(remove(gone))).status, 'SUCCESS', 'status'));
  }
  await tell(`${name} is gone`, async () => {
    const error = await refused(unwrap(read ? read(id) : remove(id)));
    equal(error.type, 'not-found', 'type');
  });
}

async function labels(tell, apis, { source }) {
  const label = { key: 'en/v', value: "a b%2F?#&:é'()*!" };
  await tell('a label of reserved characters is created', () => unwrap(apis.labels.createLabel({ label })));
  await tell('it is put on a source', async () => {
    const data = await unwrap(apis.sources.addLabelsToSource(source, { labels: [label] }));
    equal(data.labels.some((other) => other.value === label.value), true, 'has it');
  });
  await tell('it is deleted by its path', () => unwrap(apis.labels.deleteLabel(label.key, label.value)));
  await tell('it is gone', async () => equal((await refused(unwrap(apis.labels.deleteLabel(label.key, label.value)))).type, 'not-found', 'type'));
}

async function people(tell, apis) {
  const emails = ['a+b@x.io', 'c@y.io'];
  await tell('invites are created', () => unwrap(apis.iamUsers.createInvites({ invites: emails.map((email) => ({ email, permissions: [] })) })));
  await tell('invites are listed', async () => {
    const { invites } = await unwrap(apis.iamUsers.listInvites({ count: 200 }));
    equal(emails.every((email) => invites.includes(email)), true, 'all there');
  });
  await tell('invites are deleted by an array in the query', () => unwrap(apis.iamUsers.deleteInvites(emails)));
  await tell('they are gone', async () => equal((await refused(unwrap(apis.iamUsers.deleteInvites(emails)))).type, 'not-found', 'type'));
}

async function rules(tell, apis) {
  const plan = await tell('a plan for rules', () => unwrap(apis.trackingPlans.createTrackingPlan({ name: 'rules', type: 'LIVE' })));
  if (!plan) return;
  const { id } = plan.trackingPlan;
  const rule = { type: 'TRACK', key: 'Order Completed', version: 1 };
  await tell('a rule is set', () => unwrap(apis.trackingPlans.replaceRulesInTrackingPlan(id, { rules: [{ ...rule, jsonSchema: {} }] })));
  await tell('it is deleted by an object in the query', () => unwrap(apis.trackingPlans.removeRulesFromTrackingPlan(id, [rule])));
  await tell('no rule is left', async () => {
    const data = await unwrap(apis.trackingPlans.listRulesFromTrackingPlan(id, { count: 10 }));
    equal([data.rules.length, data.pagination.totalEntries], [0, 0], 'rules');
  });
  await tell('the plan goes', () => unwrap(apis.trackingPlans.deleteTrackingPlan(id)));
}

async function settings(tell, apis, [source, target]) {
  const patch = (body) => unwrap(apis.sources.updateSchemaSettingsInSource(source.id, body));
  for (const wrong of ['unknown-source', null]) {
    await tell(`forwarding to ${wrong} is refused by field`, async () => {
      const error = await refused(patch({ forwardingViolationsTo: wrong }));
      equal([error.type, error.field], ['input-validation', 'forwardingViolationsTo'], 'error');
    });
  }
  await tell('forwarding to a source is set', async () => {
    const data = await patch({ forwardingViolationsTo: target.id, track: { commonEventOnViolations: 'OMIT_PROPERTIES' } });
    equal([data.settings.forwardingViolationsTo, data.settings.track.commonEventOnViolations], [target.id, 'OMIT_PROPERTIES'], 'settings');
  });
  await tell('left out, it is disabled', async () => {
    await patch({ identify: { allowUnplannedTraits: false } });
    const data = await unwrap(apis.sources.listSchemaSettingsInSource(source.id));
    equal([data.settings.forwardingViolationsTo === undefined, data.settings.track.commonEventOnViolations], [true, 'OMIT_PROPERTIES'], 'settings');
  });
}

async function metrics(tell, apis, destinations, { source }) {
  await tell('two instances of one integration share the meta id of their metrics', async () => {
    const metas = [];
    for (const { id } of destinations.slice(0, 2)) {
      const data = await unwrap(apis.destinations.listDeliveryMetricsSummaryFromDestination(id, source));
      metas.push(data.deliveryMetricsSummary.destinationMetadataId);
    }
    equal(metas, [destinations[0].metadata.id, destinations[0].metadata.id], 'meta ids');
    await unwrap(apis.catalog.getDestinationMetadata(metas[0]));
  });
}

async function echo(tell, apis, region) {
  await tell('echo shows the headers', async () => {
    const { response, body } = await apis.testing.echo('héllo', undefined, undefined, undefined, undefined, undefined, { headers: { 'X-Story': 'one' } });
    equal([body.data.message, body.data.headers['x-story'], response.headers['x-sample-region']], ['héllo', 'one', region], 'echo');
  });
  await tell('echo fails when asked', async () => {
    const error = await refused(unwrap(apis.testing.echo('x', undefined, true)));
    equal([typeof error.message, error.status], ['string', 400], 'error');
  });
}

/** The error of a call that must not succeed. */
async function refused(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`not refused: ${JSON.stringify(value)}`);
}

module.exports = { run, refused };
