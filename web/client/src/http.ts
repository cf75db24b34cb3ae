import { ApiError } from './errors.ts';
import type { Problem } from './types.ts';

/** The server answers within 15 s; what takes longer was lost. */
const ANSWER_WITHIN_MS = 20_000;

export interface Call {
  body?: unknown;
  token?: string;
  withinMs?: number;
}

export interface Answer<T> {
  body: T;
  headers: Headers;
}

/** One HTTP request with JSON in both directions. Throws nothing but `ApiError`. */
export async function request<T>(method: string, url: string, call: Call = {}): Promise<Answer<T>> {
  const { body, token, withinMs = ANSWER_WITHIN_MS } = call;
  const headers: Record<string, string> = { accept: 'application/json' };
  if (token) headers['authorization'] = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };

  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), withinMs);
  try {
    const response = await fetch(url, { method, headers, ...sent, signal: deadline.signal });
    const text = await response.text();
    if (!response.ok) throw problem(response, text);
    return { body: parse<T>(response.status, text), headers: response.headers };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (deadline.signal.aborted) throw new ApiError(0, 'timeout', 'the server did not answer in time');
    throw new ApiError(0, 'network', 'the server cannot be reached');
  } finally {
    clearTimeout(timer);
  }
}

/** A page in place of JSON comes from a proxy, not from the functions. */
function parse<T>(status: number, text: string): T {
  try {
    return (text ? JSON.parse(text) : undefined) as T;
  } catch {
    throw new ApiError(status, 'unavailable', 'the answer is not from the server');
  }
}

function problem({ status, headers }: Response, text: string): ApiError {
  const wait = retryAfter(headers.get('retry-after'));
  try {
    const { code, detail, errors } = JSON.parse(text) as Partial<Problem>;
    if (typeof code === 'string') return new ApiError(status, code, detail ?? '', errors, wait);
  } catch {
    // Not ours: see below.
  }
  return new ApiError(status, 'unavailable', `the server answered ${status}`, [], wait);
}

/** Seconds or a date (RFC 9110, section 10.2.3). */
function retryAfter(value: string | null): number | undefined {
  if (!value) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
