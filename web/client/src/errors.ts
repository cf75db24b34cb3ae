import type { Problem } from './types.ts';

export type FieldError = NonNullable<Problem['errors']>[number];

/** An HTTP request that failed: refused with a problem document (RFC 9457), or not answered. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** 0 if there was no response. */
  readonly status: number;
  /** Stable, in kebab-case. `network` or `timeout` if there was no response. */
  readonly code: string;
  readonly errors: FieldError[];
  /** From the Retry-After header. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, code: string, detail: string, errors: FieldError[] = [], retryAfterMs?: number) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
  }
}

/** An event that the gateway refused or did not acknowledge. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  /** Stable, in kebab-case. `timeout` if there was no acknowledgement. */
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}
