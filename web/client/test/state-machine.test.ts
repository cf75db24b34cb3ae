import { expect, test } from 'vitest';

import { initial, next, status, type Effect, type Input, type State } from '../src/state-machine.ts';

/** Applies inputs one after the other. Attempts and connections are numbered from 1. */
function after(...inputs: Input[]): { state: State; effects: Effect[] } {
  let [state, effects]: [State, Effect[]] = [initial, []];
  for (const input of inputs) [state, effects] = next(state, input);
  return { state, effects };
}

const connecting: Input[] = [{ type: 'open' }, { type: 'entered', attempt: 1 }];
const joining: Input[] = [...connecting, { type: 'connected', connection: 1 }];
const online: Input[] = [...joining, { type: 'joined', attempt: 1, outcome: 'complete' }];
const failure = { code: 'unavailable', final: false };

test('entering, connecting and joining follow each other', () => {
  expect(after({ type: 'open' }).effects).toEqual([{ type: 'enter', attempt: 1 }]);
  expect(after(...connecting).effects).toEqual([{ type: 'connect', attempt: 1, connection: 1 }]);
  expect(after(...joining).effects).toEqual([{ type: 'join', attempt: 1 }]);
  expect(status(after(...online).state)).toBe('online');
});

test('a lag during a join leads to another join', () => {
  const { state, effects } = after(
    ...joining,
    { type: 'lag', connection: 1 },
    { type: 'joined', attempt: 1, outcome: 'complete' },
  );
  expect(status(state)).toBe('connecting');
  expect(effects).toEqual([{ type: 'enter', attempt: 2 }]);
});

test('a lag or a gap while online leads to another join on the same connection', () => {
  for (const type of ['lag', 'gap'] as const) {
    expect(after(...online, { type, connection: 1 }).effects).toEqual([{ type: 'enter', attempt: 2 }]);
    const { effects } = after(...online, { type, connection: 1 }, { type: 'entered', attempt: 2 });
    expect(effects).toEqual([{ type: 'join', attempt: 2 }]);
  }
});

test('an incomplete replay leads to another join', () => {
  const { effects } = after(...joining, { type: 'joined', attempt: 1, outcome: 'incomplete' });
  expect(effects).toEqual([{ type: 'enter', attempt: 2 }]);
});

test('repeated joins back off until the room was stable', () => {
  const lag: Input = { type: 'lag', connection: 1 };
  const again: Input[] = [lag, { type: 'entered', attempt: 2 }, { type: 'joined', attempt: 2, outcome: 'complete' }];
  expect(after(...online, ...again, lag).effects).toMatchObject([{ type: 'wait', failures: 2 }]);
  expect(after(...online, ...again, { type: 'stable', connection: 1 }, lag).effects).toMatchObject([{ type: 'enter' }]);
});

test('a connection is replaced if its join is not acknowledged', () => {
  const { state, effects } = after(...joining, {
    type: 'failed',
    attempt: 1,
    failure: { code: 'timeout', final: false },
  });
  expect(effects).toMatchObject([{ type: 'closeConnection', connection: 1 }, { type: 'wait' }]);
  expect(state.connection).toBeNull();
});

test('during a migration, the older connection stays until the new one has joined', () => {
  const moved: Input[] = [
    ...online,
    { type: 'migrate', connection: 1 },
    { type: 'entered', attempt: 2 },
    { type: 'connected', connection: 2 },
  ];
  expect(after(...moved).state).toMatchObject({ live: 1, connection: 2 });
  const { state, effects } = after(...moved, { type: 'joined', attempt: 2, outcome: 'complete' });
  expect(state).toMatchObject({ live: 2, connection: 2 });
  expect(effects).toEqual([
    { type: 'joined', connection: 2 },
    { type: 'closeConnection', connection: 1 },
  ]);
});

test('inputs of earlier attempts are ignored', () => {
  const { state } = after(...joining, { type: 'lost', connection: 1 });
  for (const input of [
    { type: 'joined', attempt: 1, outcome: 'complete' },
    { type: 'failed', attempt: 1, failure: { code: 'banned', final: true } },
    { type: 'entered', attempt: 1 },
    { type: 'timer', attempt: 1 },
  ] satisfies Input[]) {
    expect(next(state, input)).toEqual([state, []]);
  }
});

test('in any state, a failure leads to another attempt, and a final failure to the end', () => {
  const prefixes: Input[][] = [
    [{ type: 'open' }],
    connecting,
    joining,
    [...joining, { type: 'joined', attempt: 1, outcome: 'missed' }],
  ];
  for (const prefix of prefixes) {
    const { state, effects } = after(...prefix, { type: 'failed', attempt: 1, failure });
    expect(effects.at(-1)).toMatchObject({ type: 'wait', attempt: 2, failures: 1 });
    expect(next(state, { type: 'timer', attempt: 2 })[1]).toEqual([{ type: 'enter', attempt: 3 }]);
    const over = after(...prefix, { type: 'failed', attempt: 1, failure: { code: 'banned', final: true } });
    expect(over.effects).toEqual([{ type: 'end', code: 'banned' }]);
    expect(next(over.state, { type: 'open' })).toEqual([over.state, []]);
  }
});
