import { expect, test } from 'vitest';

import { Order } from '../src/order.ts';
import { uuidv7 } from '../src/uuid.ts';

test('an event is the next one, a known one, or behind a gap', () => {
  const order = new Order();
  expect(order.see(5, 3)).toBe('next');
  expect(order.see(5, 3)).toBe('known');
  expect(order.see(9, 7)).toBe('gap');
  expect(order.last).toBe(5);
  expect(order.see(7, 5)).toBe('next');
  expect(order.see(9, 7)).toBe('next');
  expect(order.see(12, 0)).toBe('next');
});

test('accepted events have no gap and no duplicate, whatever is lost or repeated', () => {
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let round = 0; round < 300; round++) {
    let seq = 0;
    const events = Array.from({ length: 30 }, () => {
      const prev = seq;
      seq += 1 + random(3);
      return { seq, prev };
    });
    const order = new Order();
    order.reset(0);
    const accepted: number[] = [];
    let next = 0;
    for (let step = 0; step < 400 && accepted.length < events.length; step++) {
      // Skips and repeats events at random. After a gap, replays as the gateway does.
      next = Math.max(0, Math.min(events.length - 1, next + random(4) - 1));
      const event = events[next]!;
      const verdict = order.see(event.seq, event.prev);
      if (verdict === 'next') accepted.push(event.seq);
      if (verdict === 'gap') next = events.findIndex(({ seq }) => seq > order.last!) - 1;
    }
    expect(accepted.length).toBeGreaterThan(0);
    expect(accepted).toEqual(events.slice(0, accepted.length).map(({ seq }) => seq));
  }
});

test('ids are version 7 UUIDs that sort by time', () => {
  const [earlier, later] = [uuidv7(1_700_000_000_000), uuidv7(1_700_000_000_001)];
  expect(earlier).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(earlier < later).toBe(true);
  expect(Number.parseInt(earlier.replaceAll('-', '').slice(0, 12), 16)).toBe(1_700_000_000_000);
});
