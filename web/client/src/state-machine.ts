/**
 * A pure state machine that keeps a room joined: it takes an input, and returns the next state and the effects to
 * perform. It ends only after a `final` input or failure: logged out, session revoked, removed, banned, or no such
 * room. Every other failure leads to another attempt with backoff.
 *
 * One attempt: enter by HTTP (returns a ticket) → open a connection, unless one is open → join. If more was missed than
 * the gateway's replay window: read the missed messages by HTTP, then start a new attempt.
 */

export interface Failure {
  code: string;
  retryAfterMs?: number | undefined;
  /** True if no later attempt can succeed. */
  final: boolean;
}

/** Result of a join: nothing is missing, messages must be read by HTTP, or replayed events were lost. */
export type Outcome = 'complete' | 'missed' | 'incomplete';

export type Step =
  | { name: 'idle' | 'waiting' | 'entering' | 'ended' }
  | { name: 'connecting' | 'joining' | 'reading'; connection: number };

export interface State {
  step: Step;
  /** Number of the current attempt. Inputs of earlier attempts are ignored. */
  attempt: number;
  /** Failures since the room was last joined for long enough to count as stable. */
  failures: number;
  /** Number of the newest connection. */
  connections: number;
  /** The open connection that attempts use to join. */
  connection: number | null;
  /** The connection that has joined the room: `connection`, or an older one during a migration. */
  live: number | null;
  wasOnline: boolean;
  /** The gateway dropped the socket from the room during the join, so it must join again after this attempt. */
  rejoin: boolean;
}

export type Input =
  | { type: 'open' | 'close' }
  | { type: 'entered' | 'timer' | 'read'; attempt: number }
  | { type: 'joined'; attempt: number; outcome: Outcome }
  | { type: 'failed'; attempt: number; failure: Failure }
  | { type: 'connected' | 'lost' | 'lag' | 'gap' | 'migrate' | 'stable'; connection: number }
  | { type: 'final'; code: string };

export type Effect =
  | { type: 'enter' | 'join' | 'read'; attempt: number }
  | { type: 'connect'; attempt: number; connection: number }
  | { type: 'wait'; attempt: number; failures: number; retryAfterMs: number }
  | { type: 'closeConnection' | 'joined'; connection: number }
  | { type: 'end'; code: string | null };

export type Status = 'connecting' | 'online' | 'reconnecting' | 'ended';

export const initial: State = {
  step: { name: 'idle' },
  attempt: 0,
  failures: 0,
  connections: 0,
  connection: null,
  live: null,
  wasOnline: false,
  rejoin: false,
};

export function status({ step, live, wasOnline }: State): Status {
  if (step.name === 'ended') return 'ended';
  if (live !== null) return 'online';
  return wasOnline ? 'reconnecting' : 'connecting';
}

export function next(state: State, input: Input): [State, Effect[]] {
  if (state.step.name === 'ended') return [state, []];
  if ('attempt' in input) return input.attempt === state.attempt ? onAttemptInput(state, input) : [state, []];
  if ('connection' in input) return onConnectionInput(state, input);
  if (input.type === 'open') return state.attempt ? [state, []] : begin(state);
  return end(state, input.type === 'final' ? input.code : null);
}

function onAttemptInput(state: State, input: Extract<Input, { attempt: number }>): [State, Effect[]] {
  const { attempt, connection, live, step } = state;
  switch (input.type) {
    case 'timer':
      return step.name === 'waiting' ? begin(state) : [state, []];
    case 'entered': {
      if (connection !== null) return join(state, connection);
      const connections = state.connections + 1;
      return [
        { ...state, connections, step: { name: 'connecting', connection: connections } },
        [{ type: 'connect', attempt, connection: connections }],
      ];
    }
    case 'joined': {
      if (connection === null) return retry(state, 0);
      if (input.outcome === 'missed') {
        return [{ ...state, step: { name: 'reading', connection } }, [{ type: 'read', attempt }]];
      }
      if (input.outcome === 'incomplete' || state.rejoin) return retryNow(state);
      const old: Effect[] = live !== null && live !== connection ? [{ type: 'closeConnection', connection: live }] : [];
      return [
        { ...state, step: { name: 'idle' }, live: connection, wasOnline: true },
        [{ type: 'joined', connection }, ...old],
      ];
    }
    case 'read':
      // Events stored during the read are replayed by the next join.
      return retryNow(state);
    case 'failed':
      return failed(state, input.failure);
  }
}

function onConnectionInput(state: State, input: Extract<Input, { connection: number }>): [State, Effect[]] {
  const { connection } = input;
  const { step, live } = state;
  switch (input.type) {
    case 'connected':
      return step.name === 'connecting' && step.connection === connection
        ? join({ ...state, connection }, connection)
        : [state, []];
    case 'stable':
      return live === connection && step.name === 'idle' ? [{ ...state, failures: 0 }, []] : [state, []];
    case 'lost': {
      const without = withoutConnection(state, connection);
      const isInUse =
        step.name === 'idle' ? live === connection : 'connection' in step && step.connection === connection;
      return isInUse ? retry(without, 0) : [without, []];
    }
    case 'lag':
    case 'gap': {
      if (live === connection) {
        // The connection has left the room, or has missed events. An older connection is not used again.
        const left = { ...state, live: null };
        if (step.name === 'idle') return retryNow(left);
        return connection === state.connection ? [left, []] : [left, [{ type: 'closeConnection', connection }]];
      }
      // During a join, the replay fills every gap.
      const mustRejoin = input.type === 'lag' && 'connection' in step && step.connection === connection;
      return [mustRejoin ? { ...state, rejoin: true } : state, []];
    }
    case 'migrate': {
      if (connection !== state.connection) return [state, []];
      const leaving = { ...state, connection: null };
      const close: Effect[] = live === connection ? [] : [{ type: 'closeConnection', connection }];
      if (step.name === 'waiting' || step.name === 'entering') return [leaving, close];
      const [begun, effects] = retryNow(leaving);
      return [begun, [...close, ...effects]];
    }
  }
}

function begin(state: State): [State, Effect[]] {
  const attempt = state.attempt + 1;
  return [{ ...state, attempt, rejoin: false, step: { name: 'entering' } }, [{ type: 'enter', attempt }]];
}

function join(state: State, connection: number): [State, Effect[]] {
  return [{ ...state, step: { name: 'joining', connection } }, [{ type: 'join', attempt: state.attempt }]];
}

function failed(state: State, { code, final, retryAfterMs = 0 }: Failure): [State, Effect[]] {
  if (final) return end(state, code);
  const { step } = state;
  if (step.name === 'connecting') return retryWithoutConnection(state, step.connection, retryAfterMs);
  // A connection that does not respond, or that was authenticated for another user, is replaced.
  const isBad = step.name === 'joining' && ['timeout', 'wrong-user', 'ticket-wrong-user'].includes(code);
  return isBad ? retryWithoutConnection(state, step.connection, retryAfterMs) : retry(state, retryAfterMs);
}

function retryWithoutConnection(state: State, connection: number, retryAfterMs: number): [State, Effect[]] {
  const [waiting, effects] = retry(withoutConnection(state, connection), retryAfterMs);
  return [waiting, [{ type: 'closeConnection', connection }, ...effects]];
}

/** Starts another attempt without delay, unless there were failures lately: so no loop runs without backoff. */
function retryNow(state: State): [State, Effect[]] {
  return state.failures ? retry(state, 0) : begin({ ...state, failures: 1 });
}

function retry(state: State, retryAfterMs: number): [State, Effect[]] {
  const [attempt, failures] = [state.attempt + 1, state.failures + 1];
  return [
    { ...state, attempt, failures, rejoin: false, step: { name: 'waiting' } },
    [{ type: 'wait', attempt, failures, retryAfterMs }],
  ];
}

function withoutConnection(state: State, connection: number): State {
  const cleared = (known: number | null) => (known === connection ? null : known);
  return { ...state, connection: cleared(state.connection), live: cleared(state.live) };
}

function end(state: State, code: string | null): [State, Effect[]] {
  return [{ ...state, step: { name: 'ended' }, connection: null, live: null }, [{ type: 'end', code }]];
}
