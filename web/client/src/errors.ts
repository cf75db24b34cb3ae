/** A refusal of the HTTP functions: `application/problem+json`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    /** Stable, kebab-case; `network` when there was no answer. */
    readonly code: string,
    detail: string,
    readonly errors: { field: string; detail: string }[] = [],
  ) {
    super(detail);
  }
}

/** A refusal of the gateway. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';

  constructor(
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}
