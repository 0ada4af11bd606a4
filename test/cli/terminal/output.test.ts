import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createOutput, type Output } from '../../../src/cli/terminal/output.ts';
import { createRedactor } from '../../../src/cli/terminal/redact.ts';

function fixture({ isTTY = false, columns = 80 } = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()].map((stream) =>
    Object.assign(stream.setEncoding('utf8'), { isTTY, columns }),
  );
  if (stdout === undefined || stderr === undefined) throw new Error('two streams were made');
  const output: Output = createOutput({ stdout, stderr, env: {}, redactor: createRedactor() });
  return {
    output,
    stdout,
    stderr,
    err: () => String(stderr.read() ?? ''),
    out: () => String(stdout.read() ?? ''),
  };
}

describe('on a terminal', () => {
  it('replaces the live lines, and keeps them below what is said', () => {
    const { output, err } = fixture({ isTTY: true });
    output.live(['bar', 'figures']);
    expect(err()).toBe('bar\nfigures\n');
    output.live(['bar 2', 'figures 2']);
    expect(err()).toBe('\u001b[2A\r\u001b[Jbar 2\nfigures 2\n');
    output.note('news');
    expect(err()).toBe('\u001b[2A\r\u001b[Jnews\nbar 2\nfigures 2\n');
    output.live([]);
    expect(err()).toBe('\u001b[2A\r\u001b[J');
    output.note('after');
    expect(err()).toBe('after\n');
  });

  it('shows no line that would wrap: the next removal would leave half of it', () => {
    const { output, err } = fixture({ isTTY: true, columns: 30 });
    output.live(['x'.repeat(29), 'y'.repeat(30)]);
    expect(err()).toBe(`${'x'.repeat(29)}\n`);
    output.live([]);
    expect(err()).toBe('\u001b[1A\r\u001b[J');
  });
});

describe('words on a terminal', () => {
  function said(hidden: string | undefined, say: (output: Output) => void): string {
    const stderr = Object.assign(new PassThrough().setEncoding('utf8'), { isTTY: true, columns: 30 });
    const redactor = createRedactor();
    redactor.hide(hidden);
    say(createOutput({ stdout: new PassThrough(), stderr, env: { NO_COLOR: '1' }, redactor }));
    return String(stderr.read());
  }

  it('are not broken, and those of a command that is to be copied stay on one line', () => {
    const word = 'x'.repeat(40);
    const command = 'Sign in: gcloud auth application-default login --x';
    expect(said(undefined, ({ error }) => error(`what happened is told in ${word} words`, command))).toBe(
      `longtail: what happened is\ntold in\n${word}\nwords\n${command}\n`,
    );
  });

  it('hide a secret that has a blank where the line is broken', () => {
    const told = said('geheim1 geheim2', ({ note }) => note('the word is geheim1 geheim2 and more'));
    expect(told).toBe('the word is *** and more\n');
  });
});

describe('without a terminal', () => {
  it('has no live lines, no colours and no control characters', () => {
    const { output, err, out } = fixture();
    output.live(['bar']);
    output.note('news');
    output.error('what', 'next');
    output.print(output.colours.bold('result'));
    expect(err()).toBe('news\nlongtail: what\nnext\n');
    expect(out()).toBe('result\n');
  });
});

it('lets no secret out by either stream', () => {
  const { output, err, out } = fixture();
  output.print('postgres://u:hunter22@h/d');
  output.note('Bearer abcdefghij');
  expect(out()).toBe('postgres://u:***@h/d\n');
  expect(err()).toBe('Bearer ***\n');
});

it('is quiet when the reader has gone away', async () => {
  const { output, stdout, err } = fixture();
  stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
  await new Promise((resolve) => stdout.once('close', resolve));
  output.print('nobody reads this');
  output.note('still here');
  await output.flush();
  expect(err()).toBe('still here\n');
});
