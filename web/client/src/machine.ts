/**
 * How a room stays joined, as a pure state machine: an input goes in, the next state and what is to be
 * done come out. It ends only by `final`, which means: logged out or revoked, removed or banned, or
 * the room is gone. Every other failure leads to another attempt after a growing wait.
 *
 * One attempt: enter by HTTP (a ticket) → connect a link (a socket), unless one is open → join. If
 * more was missed than the gateway replays: read it by HTTP and begin anew.
 */

export interface Failure {
  code: string;
  retryAfterMs?: number | undefined;
  /** No later attempt can succeed. */
  final: boolean;
}

/** What a join has led to: all is there, messages must be read by HTTP, or replayed events were lost. */
export type Outcome = 'complete' | 'missed' | 'incomplete';

export type Step =
  { name: 'idle' | 'waiting' | 'entering' | 'ended' } | { name: 'connecting' | 'joining' | 'reading'; link: number };

export interface State {
  step: Step;
  /** Numbers the attempts. A late answer to an earlier one counts for nothing. */
  attempt: number;
  /** Failures since the room was last joined for a while. */
  failures: number;
  /** Numbers the links. */
  links: number;
  /** The open link that attempts use. */
  link: number | null;
  /** The link by which the room is joined: `link`, or an older one that is migrated from. */
  live: number | null;
  wasOnline: boolean;
  /** The gateway put the socket out while it was joining: join again after this attempt. */
  again: boolean;
}

export type Input =
  | { type: 'open' | 'close' }
  | { type: 'entered' | 'timer' | 'read'; attempt: number }
  | { type: 'joined'; attempt: number; outcome: Outcome }
  | { type: 'failed'; attempt: number; failure: Failure }
  | { type: 'connected' | 'lost' | 'lag' | 'gap' | 'migrate' | 'stable'; link: number }
  | { type: 'final'; code: string };

export type Effect =
  | { type: 'enter' | 'join' | 'read'; attempt: number }
  | { type: 'connect'; attempt: number; link: number }
  | { type: 'wait'; attempt: number; failures: number; retryAfterMs: number }
  | { type: 'closeLink' | 'joined'; link: number }
  | { type: 'end'; code: string | null };

export type Status = 'connecting' | 'online' | 'reconnecting' | 'ended';

export const initial: State = {
  step: { name: 'idle' },
  attempt: 0,
  failures: 0,
  links: 0,
  link: null,
  live: null,
  wasOnline: false,
  again: false,
};

export function status({ step, live, wasOnline }: State): Status {
  if (step.name === 'ended') return 'ended';
  if (live !== null) return 'online';
  return wasOnline ? 'reconnecting' : 'connecting';
}

export function next(state: State, input: Input): [State, Effect[]] {
  if (state.step.name === 'ended') return [state, []];
  if ('attempt' in input) return input.attempt === state.attempt ? ofAttempt(state, input) : [state, []];
  if ('link' in input) return ofLink(state, input);
  if (input.type === 'open') return state.attempt ? [state, []] : begin(state);
  return end(state, input.type === 'final' ? input.code : null);
}

function ofAttempt(state: State, input: Extract<Input, { attempt: number }>): [State, Effect[]] {
  const { attempt, link, live, step } = state;
  switch (input.type) {
    case 'timer':
      return step.name === 'waiting' ? begin(state) : [state, []];
    case 'entered': {
      if (link !== null) return join(state, link);
      const links = state.links + 1;
      return [
        { ...state, links, step: { name: 'connecting', link: links } },
        [{ type: 'connect', attempt, link: links }],
      ];
    }
    case 'joined': {
      if (link === null) return retry(state, 0);
      if (input.outcome === 'missed') {
        return [{ ...state, step: { name: 'reading', link } }, [{ type: 'read', attempt }]];
      }
      if (input.outcome === 'incomplete' || state.again) return retryNow(state);
      const old: Effect[] = live !== null && live !== link ? [{ type: 'closeLink', link: live }] : [];
      return [{ ...state, step: { name: 'idle' }, live: link, wasOnline: true }, [{ type: 'joined', link }, ...old]];
    }
    case 'read':
      // What has come meanwhile is replayed by the next join.
      return retryNow(state);
    case 'failed':
      return failed(state, input.failure);
  }
}

function ofLink(state: State, input: Extract<Input, { link: number }>): [State, Effect[]] {
  const { link } = input;
  const { step, live } = state;
  switch (input.type) {
    case 'connected':
      return step.name === 'connecting' && step.link === link ? join({ ...state, link }, link) : [state, []];
    case 'stable':
      return live === link && step.name === 'idle' ? [{ ...state, failures: 0 }, []] : [state, []];
    case 'lost': {
      const without = forget(state, link);
      const concerns = step.name === 'idle' ? live === link : 'link' in step && step.link === link;
      return concerns ? retry(without, 0) : [without, []];
    }
    case 'lag':
    case 'gap': {
      if (live === link) {
        // Not joined any more, or no longer believed to be. An older link has no further use.
        const left = { ...state, live: null };
        if (step.name === 'idle') return retryNow(left);
        return link === state.link ? [left, []] : [left, [{ type: 'closeLink', link }]];
      }
      // While it joins, the replay fills every gap.
      const rejoins = input.type === 'lag' && 'link' in step && step.link === link;
      return [rejoins ? { ...state, again: true } : state, []];
    }
    case 'migrate': {
      if (link !== state.link) return [state, []];
      const leaving = { ...state, link: null };
      const close: Effect[] = live === link ? [] : [{ type: 'closeLink', link }];
      if (step.name === 'waiting' || step.name === 'entering') return [leaving, close];
      const [begun, effects] = retryNow(leaving);
      return [begun, [...close, ...effects]];
    }
  }
}

function begin(state: State): [State, Effect[]] {
  const attempt = state.attempt + 1;
  return [{ ...state, attempt, again: false, step: { name: 'entering' } }, [{ type: 'enter', attempt }]];
}

function join(state: State, link: number): [State, Effect[]] {
  return [{ ...state, step: { name: 'joining', link } }, [{ type: 'join', attempt: state.attempt }]];
}

function failed(state: State, { code, final, retryAfterMs = 0 }: Failure): [State, Effect[]] {
  if (final) return end(state, code);
  const { step } = state;
  if (step.name === 'connecting') return closing(state, step.link, retryAfterMs);
  // A link that does not answer, or that belongs to another user by now, is replaced.
  const isBad = step.name === 'joining' && ['timeout', 'wrong-user', 'ticket-wrong-user'].includes(code);
  return isBad ? closing(state, step.link, retryAfterMs) : retry(state, retryAfterMs);
}

function closing(state: State, link: number, retryAfterMs: number): [State, Effect[]] {
  const [waiting, effects] = retry(forget(state, link), retryAfterMs);
  return [waiting, [{ type: 'closeLink', link }, ...effects]];
}

/** Another attempt at once if nothing has failed lately, so that a loop of any kind slows down. */
function retryNow(state: State): [State, Effect[]] {
  return state.failures ? retry(state, 0) : begin({ ...state, failures: 1 });
}

function retry(state: State, retryAfterMs: number): [State, Effect[]] {
  const [attempt, failures] = [state.attempt + 1, state.failures + 1];
  return [
    { ...state, attempt, failures, again: false, step: { name: 'waiting' } },
    [{ type: 'wait', attempt, failures, retryAfterMs }],
  ];
}

function forget(state: State, link: number): State {
  const without = (known: number | null) => (known === link ? null : known);
  return { ...state, link: without(state.link), live: without(state.live) };
}

function end(state: State, code: string | null): [State, Effect[]] {
  return [{ ...state, step: { name: 'ended' }, link: null, live: null }, [{ type: 'end', code }]];
}
