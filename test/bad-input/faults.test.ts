import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { expectRefusal, runInProcess, useEmptyFolder } from './support/command.ts';

const { folder, left } = useEmptyFolder();
afterAll(() => expect(left()).toEqual(['faults.json']));

const rule = (fields: object): object => ({
  rules: [{ action: { kind: 'error', error: 'backendError' }, ...fields }],
});
const action = (value: unknown): object => ({ rules: [{ action: value }] });

describe('a fault file with', () => {
  it.each<readonly [string, unknown]>([
    ['nothing', ''],
    ['half of it', '{"rules":['],
    ['what is no JSON', '{rules: []}'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00])],
    ['brackets, deep', '['.repeat(100_000)],
    ['null', null],
    ['a number', 5],
    ['a list', []],
    ['no rules', {}],
    ['rules that are an object', { rules: {} }],
    ['rules that are null', { rules: null }],
    ['a rule that is a number', { rules: [5] }],
    ['a rule that is null', { rules: [null] }],
    ['a rule without an action', { rules: [{}] }],
    ['an unknown field', { rules: [], rule: [] }],
    ['a seed that is a text', { seed: 'x', rules: [] }],
    ['a seed that is a fraction', { seed: 1.5, rules: [] }],
    ['an action that is a text', action('reset')],
    ['an action that is null', action(null)],
    ['an action of no kind', action({})],
    ['an action of an unknown kind', action({ kind: 'explode' })],
    ['an action of Object’s own', action({ kind: '__proto__' })],
    ['an unknown error', action({ kind: 'error', error: 'oops' })],
    ['an error without what it is', action({ kind: 'error' })],
    ['an error of status 200', action({ kind: 'error', error: { status: 200, message: '', reason: '' } })],
    ['an error of status 1000', action({ kind: 'error', error: { status: 1_000, message: '', reason: '' } })],
    ['an error without a reason', action({ kind: 'error', error: { status: 500, message: '' } })],
    ['a Retry-After below 0', action({ kind: 'error', error: 'qps', retryAfterS: -1 })],
    ['a status of 99', action({ kind: 'status', status: 99 })],
    ['a status that is a text', action({ kind: 'status', status: '500' })],
    ['a body that is an object', action({ kind: 'status', status: 500, body: {} })],
    ['a delay below 0', action({ kind: 'delay', ms: -1 })],
    ['a delay without end', '{"rules":[{"action":{"kind":"delay","ms":1e999}}]}'],
    ['a delay that is a text', action({ kind: 'delay', ms: '1s' })],
    ['a trickle of no bytes', action({ kind: 'trickle', chunkBytes: 0, everyMs: 1 })],
    ['a trickle without its pace', action({ kind: 'trickle', chunkBytes: 1 })],
    ['a cut after -1', action({ kind: 'cutPart', afterBytes: -1 })],
    ['a cut nowhere', action({ kind: 'truncate' })],
    ['a clean cut of 5', action({ kind: 'truncate', afterBytes: 1, clean: 5 })],
    ['a refusal without its time', action({ kind: 'refuse' })],
    ['a match that is a text', rule({ match: 'batch' })],
    ['a match of an unknown endpoint', rule({ match: { endpoint: 'everything' } })],
    ['a match of an unknown field', rule({ match: { url: '/' } })],
    ['a match of call 0', rule({ match: { call: 0 } })],
    ['a match of a row below 0', rule({ match: { startRow: -1 } })],
    ['a match of a date that is a number', rule({ match: { date: 20260101 } })],
    ['a probability of 2', rule({ probability: 2 })],
    ['a probability of -1', rule({ probability: -1 })],
    ['a probability that is a text', rule({ probability: '0.5' })],
    ['an nth of 0', rule({ nth: 0 })],
    ['an every of 0', rule({ every: 0 })],
    ['times that are a fraction', rule({ times: 1.5 })],
    ['times that are true', rule({ times: true })],
  ])('%s', async (_, content) => {
    const text = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content);
    writeFileSync(join(folder(), 'faults.json'), text);
    const ended = await runInProcess(['emulator', '--port', '0', '--faults', 'faults.json']);
    expectRefusal(ended);
    expect(ended.stderr).toContain('fault file');
  });
});
