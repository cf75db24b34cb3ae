// A user with a browser, for the scripts in this folder.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const { BASE, SHOTS, CHROMIUM } = process.env;
export const PASSWORD = 'correct horse';
await mkdir(SHOTS, { recursive: true });

export const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});

/** Signs up in a new browser profile. `faults` are the errors in the page's console, `crashes` uncaught ones. */
export async function person(name, options) {
  // Over HTTPS the certificate is one of the test's own CA.
  const ignoreHTTPSErrors = BASE.startsWith('https:');
  const context = await browser.newContext({ acceptDownloads: true, ignoreHTTPSErrors, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const faults = [];
  const crashes = [];
  page.on('pageerror', (error) => crashes.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  const $ = (id) => page.getByTestId(id);
  await page.goto(`${BASE}/signup`);
  await page.screenshot({ path: join(SHOTS, `signup-${name}.png`) });
  await $('signup-name').fill(name);
  await $('signup-password').fill(PASSWORD);
  await $('signup-submit').click();
  await page.waitForURL(`${BASE}/`);
  const shot = (what) => page.screenshot({ path: join(SHOTS, `${what}-${name}.png`) });
  return { name, context, page, $, faults, crashes, shot };
}

export const say = async (who, text) => {
  await who.$('message-input').fill(text);
  await who.$('message-input').press('Enter');
};
export const sees = (who, text) => who.page.getByTestId('message-text').filter({ hasText: text }).first().waitFor();
export const isIn = (who, state, timeout = 20_000) =>
  who.page.locator(`[data-testid=connection-state][data-state=${state}]`).waitFor({ state: 'attached', timeout });

/** The HTTP API as this user, without a browser. */
export async function api(name) {
  const answer = await call('POST', '/login', { name, password: PASSWORD });
  const { accessToken, user } = await answer.json();
  return { user, call: (method, path, body) => call(method, path, body, accessToken) };
}

/** Calls the HTTP API; retries after 429 as late as the server demands. */
async function call(method, path, body, token) {
  for (let tries = 0; ; tries++) {
    const headers = {
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    };
    const answer = await fetch(BASE + path, { method, headers, body: body && JSON.stringify(body) });
    if (answer.ok) return answer;
    if (answer.status !== 429 || tries > 50)
      throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get('retry-after') ?? 1)));
  }
}

export async function finish() {
  await browser.close();
  console.log('1 passed, 0 failed');
}
