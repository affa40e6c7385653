'use strict';
// Counts checks; a failure is printed with its place and never stops the run.

const counts = { passed: 0, failed: 0 };

function pass() {
  counts.passed += 1;
}

function fail(what, why) {
  counts.failed += 1;
  console.log(`FAIL ${what}: ${why}`);
}

/** One check: passes when `condition` holds. */
function check(what, condition, why = 'does not hold') {
  if (condition) pass();
  else fail(what, typeof why === 'function' ? why() : why);
  return Boolean(condition);
}

/** One step of a story: passes when `body` resolves, and hands on its value (undefined after a failure). */
async function step(what, body) {
  try {
    const value = await body();
    pass();
    return value;
  } catch (error) {
    fail(what, describe(error));
    return undefined;
  }
}

/** Rejections of the SDK as one line. */
function describe(error) {
  if (error && error.body !== undefined) return `HTTP ${error.statusCode} ${JSON.stringify(error.body).slice(0, 300)}`;
  if (error instanceof Error) return error.stack.split('\n').slice(0, 3).join(' | ');
  return JSON.stringify(error);
}

function equal(actual, expected, what) {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}

/** Says how it went; the exit code is 1 after a failure. */
function finish() {
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

module.exports = { check, step, describe, equal, finish, fail };
