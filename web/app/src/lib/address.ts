/** What addresses mean. Pure: whatever stands in the address bar must not throw. */

/** The room that a path names, also in the old form `/room:{name}`. */
export function roomOf(path: string): string | null {
  const name = /^\/room[/:]([^/]+)\/?$/.exec(path)?.[1];
  try {
    return name ? decodeURIComponent(name) : null;
  } catch {
    return null;
  }
}

/** Where to go after logging in: `to`, if it is an address of this app, else the start page. */
export function destination(to: string | null): string {
  const home = '/';
  if (!to?.startsWith('/')) return home;
  const origin = 'https://app.invalid';
  try {
    const url = new URL(to, origin);
    const isOurs = url.origin === origin && !url.pathname.startsWith('//');
    if (!isOurs || isPublic(url.pathname)) return home;
    return url.pathname + url.search + url.hash;
  } catch {
    return home;
  }
}

/** The login page that leads back to `path`. */
export function loginFor(path: string): string {
  return isPublic(path) || path === '/' ? '/login' : `/login?to=${encodeURIComponent(path)}`;
}

/** Pages for those who are not logged in. */
export function isPublic(path: string): boolean {
  return path === '/login' || path === '/signup';
}
