'use strict';
// What the installed SDK offers, read from its own classes and type declarations.

const fs = require('fs');
const path = require('path');
const sdk = require('@segment/public-api-sdk-typescript');

const dist = path.join(path.dirname(require.resolve('@segment/public-api-sdk-typescript/package.json')), 'dist');
const declarations = new Map(
  fs.readdirSync(path.join(dist, 'model')).filter((f) => f.endsWith('.d.ts')).map((f) => [f.slice(0, -5).toLowerCase(), f]),
);

/** `[name, optional, type]` of every field of a model; undefined for what is no model. */
const fieldsOf = memoize((model) => {
  const file = declarations.get(model.toLowerCase());
  if (!file) return undefined;
  const text = fs.readFileSync(path.join(dist, 'model', file), 'utf8');
  const body = new RegExp(`export declare class ${model} \\{([\\s\\S]*?)static discriminator`).exec(text);
  if (!body) return undefined;
  return [...body[1].matchAll(/^ {4}'(\w+)'(\??): ((?:\{[\s\S]*?\}|[^;{])+);/gm)].map((m) => [
    m[1],
    m[2] === '?',
    m[3].replace(/\s+/g, ' ').trim(),
  ]);
});

/** Every public operation: its class, its arguments `[name, optional, type]`, and the model of its answer. */
function operations() {
  const found = new Map();
  for (const Api of sdk.APIS) {
    const file = fs.readdirSync(path.join(dist, 'api')).find((f) => f.toLowerCase() === `${Api.name.toLowerCase()}.d.ts`);
    const text = fs.readFileSync(path.join(dist, 'api', file), 'utf8');
    for (const match of text.matchAll(/^ {4}(\w+)\(((?:(?!\)[;:])[\s\S])*?)options\?: \{\s*headers[\s\S]*?body: (\w+);/gm)) {
      const args = [...match[2].matchAll(/(\w+)(\??): ((?:\{[\s\S]*?\}|<[^>]*>|[^,{<])+),/g)].map((m) => [
        m[1],
        m[2] === '?',
        m[3].trim(),
      ]);
      found.set(match[1], { Api, name: match[1], args, answer: match[3] });
    }
  }
  return found;
}

/** An API object of a class, for a base URL and a token. */
function connect(Api, base, token) {
  const api = new Api(base);
  if (token) api.accessToken = token;
  return api;
}

/** All API objects by the SDK's own configuration, moved to a base URL, and those that it leaves out. */
function configure(base, token) {
  const apis = sdk.configureApis(token || 'none');
  for (const key of Object.keys(apis)) apis[key].basePath = base;
  for (const Api of sdk.APIS) {
    const key = Api.name.replace(/Api$/, '').replace(/^[A-Z]+(?=[A-Z][a-z])|^[A-Z]/, (head) => head.toLowerCase());
    if (!apis[key]) apis[key] = connect(Api, base, token);
  }
  return apis;
}

/** The smallest value of a declared type; `leaf(name, type)` may give a field's value. */
function build(type, name, leaf) {
  const given = leaf(name, type);
  if (given !== undefined) return given;
  const literal = /^'([^']*)'/.exec(type);
  if (literal) return literal[1];
  const list = /^Array<(.*)>$/.exec(type);
  if (list) return [build(list[1], name, leaf)];
  const enumeration = /^(\w+)\.(\w+)/.exec(type);
  if (enumeration) return Object.values(sdk[enumeration[1]][enumeration[2]])[0];
  const fields = fieldsOf(type);
  if (fields) {
    return Object.fromEntries(fields.filter(([, optional]) => !optional).map(([field, , t]) => [field, build(t, field, leaf)]));
  }
  if (type.startsWith('string')) return 'sample';
  if (type.startsWith('number')) return 1;
  if (type.startsWith('boolean')) return true;
  return {};
}

/** Required fields that a deserialized answer lacks, as dotted paths. */
function missing(type, value, at = '') {
  const list = /^Array<(.*)>$/.exec(type);
  if (list) {
    if (!Array.isArray(value)) return [`${at} is no array`];
    return value.flatMap((item, n) => missing(list[1], item, `${at}[${n}]`));
  }
  const fields = fieldsOf(type);
  if (!fields || value === null) return [];
  return fields.flatMap(([name, optional, t]) => {
    if (value[name] === undefined) return optional ? [] : [`${at}.${name}`];
    return missing(t, value[name], `${at}.${name}`);
  });
}

function memoize(body) {
  const known = new Map();
  return (key) => {
    if (!known.has(key)) known.set(key, body(key));
    return known.get(key);
  };
}

module.exports = { sdk, unwrap: sdk.unwrap, operations, connect, configure, build, missing };
