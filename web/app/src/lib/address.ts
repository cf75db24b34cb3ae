/** Parses addresses. None of these functions throws, because users can type any address. */

/** The path of a page: that of the address without the `base` in front. */
export function pagePath(pathname: string, base: string): string {
  return pathname === base || pathname.startsWith(`${base}/`) ? pathname.slice(base.length) || '/' : pathname;
}

/** Name of the room in a path of the form `/room/{name}` or `/room:{name}`, which was used earlier. */
export function roomInPath(path: string): string | null {
  const name = /^\/room[/:]([^/]+)\/?$/.exec(path)?.[1];
  try {
    return name ? decodeURIComponent(name) : null;
  } catch {
    return null;
  }
}

/** The path to open after login: `to` if it is an address of this app, otherwise the start page. */
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

/** Path of the login page that leads back to `path` after login. */
export function loginPath(path: string): string {
  return isPublic(path) || path === '/' ? '/login' : `/login?to=${encodeURIComponent(path)}`;
}

/** Whether a path is a page for users who are not logged in. */
export function isPublic(path: string): boolean {
  return path === '/login' || path === '/signup';
}
