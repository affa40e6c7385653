'use strict';
// The endpoint table: config/endpoints.toml, or a JSON array of {method, path, operation}.

const fs = require('fs');

// Operations whose success is 201; every other one's is 200.
const CREATED = new Set([
  'createCredential', 'createInvites', 'createLabel', 'createReverseEtlModel', 'createSource',
  'createProfilesWarehouse', 'createWarehouse', 'addConnectionFromSourceToWarehouse',
]);

function read(file) {
  const text = fs.readFileSync(file, 'utf8');
  const rows = file.endsWith('.json') ? JSON.parse(text) : fromToml(text);
  return rows
    .filter((row) => row.operation && row.path && row.method)
    .map(({ operation, method, path }) => ({ operation, method, path, status: CREATED.has(operation) ? 201 : 200 }));
}

// The three keys that are needed, each on a line of its own in a `[[endpoint]]` section.
function fromToml(text) {
  return text.split(/^\[\[endpoint\]\]\s*$/m).slice(1).map((section) => {
    const key = (name) => (new RegExp(`^${name} = "([^"]*)"`, 'm').exec(section) || [])[1];
    return { operation: key('operation'), method: key('method'), path: key('path') };
  });
}

module.exports = { read };
