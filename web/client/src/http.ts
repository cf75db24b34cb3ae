import { ApiError } from './errors.ts';
import type { Problem } from './types.ts';

/** The server's own limit is 15 s, so a later response is lost. */
const TIMEOUT_MS = 20_000;

export interface RequestOptions {
  body?: unknown;
  token?: string;
  timeoutMs?: number;
}

export interface JsonResponse<T> {
  body: T;
  headers: Headers;
}

/** Sends one HTTP request with JSON in both directions. Every failure is thrown as an `ApiError`. */
export async function request<T>(method: string, url: string, options: RequestOptions = {}): Promise<JsonResponse<T>> {
  const { body, token, timeoutMs = TIMEOUT_MS } = options;
  const headers: Record<string, string> = { accept: 'application/json' };
  if (token) headers['authorization'] = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const content = body === undefined ? {} : { body: JSON.stringify(body) };

  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  try {
    const response = await fetch(url, { method, headers, ...content, signal: deadline.signal });
    const text = await response.text();
    if (!response.ok) throw toApiError(response, text);
    return { body: parse<T>(response.status, text), headers: response.headers };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (deadline.signal.aborted) throw new ApiError(0, 'timeout', 'the server did not answer in time');
    throw new ApiError(0, 'network', 'the server cannot be reached');
  } finally {
    clearTimeout(timer);
  }
}

/** Text that is not JSON, such as an HTML page, comes from a proxy in between. */
function parse<T>(status: number, text: string): T {
  try {
    return (text ? JSON.parse(text) : undefined) as T;
  } catch {
    throw new ApiError(status, 'unavailable', 'the response is not JSON');
  }
}

function toApiError({ status, headers }: Response, text: string): ApiError {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'));
  try {
    const { code, detail, errors } = JSON.parse(text) as Partial<Problem>;
    if (typeof code === 'string') return new ApiError(status, code, detail ?? '', errors, retryAfterMs);
  } catch {
    // An error page of a proxy in between, answered below.
  }
  return new ApiError(status, 'unavailable', `the server answered ${status}`, [], retryAfterMs);
}

/** Parses Retry-After, which is seconds or a date (RFC 9110, section 10.2.3). */
function parseRetryAfter(value: string | null): number | undefined {
  if (!value) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
