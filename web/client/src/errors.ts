import type { Problem } from './types.ts';

export type FieldError = NonNullable<Problem['errors']>[number];

/** A refusal of the HTTP functions: `application/problem+json`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** 0 when there was no answer. */
  readonly status: number;
  /** Stable, kebab-case; `network` or `timeout` when there was no answer. */
  readonly code: string;
  readonly errors: FieldError[];
  /** How long the server asks to wait before the next try. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, code: string, detail: string, errors: FieldError[] = [], retryAfterMs?: number) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A refusal of the gateway. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  /** Stable, kebab-case; `timeout` when there was no answer. */
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}
