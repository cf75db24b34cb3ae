import { Api, type User } from '@chatting-room/client';

import { destination, loginPath, pagePath, roomInPath } from './address.ts';
import { BASE } from './base.ts';

const SESSION_KEY = 'session';

function currentPath(): string {
  return pagePath(location.pathname, BASE);
}

/** The session and the address of the page. */
class AppState {
  path = $state(currentPath());
  user = $state<User | null>(null);

  readonly api = new Api({
    base: BASE,
    store: {
      get: () => localStorage.getItem(SESSION_KEY),
      set: (value) =>
        value === null ? localStorage.removeItem(SESSION_KEY) : localStorage.setItem(SESSION_KEY, value),
    },
    onSessionEnd: () => this.#onSessionEnd(),
  });

  constructor() {
    this.user = this.api.session.user;
    addEventListener('popstate', () => (this.path = currentPath()));
    // The event comes from other tabs: one of them logged out.
    addEventListener('storage', ({ key }) => {
      if (key === SESSION_KEY && this.user && !this.api.session.user) this.#onSessionEnd();
    });
  }

  /** Opens a page by its path below the base. */
  go(path: string, { replace = false } = {}): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', BASE + path);
    this.path = currentPath();
    scrollTo(0, 0);
  }

  /** Name of the room in the address, if it is a room's address. */
  get roomName(): string | null {
    return roomInPath(this.path);
  }

  async logIn(name: string, password: string): Promise<void> {
    this.user = await this.api.logIn(name, password);
    this.go(destination(new URLSearchParams(location.search).get('to')), { replace: true });
  }

  async logOut(): Promise<void> {
    await this.api.logOut().catch(() => {});
    this.user = null;
    this.go('/login');
  }

  #onSessionEnd(): void {
    this.user = null;
    this.go(loginPath(currentPath()), { replace: true });
  }
}

export const app = new AppState();

/** Click handler for links within the app: changes the address without loading the page again. */
export function followLink(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const { pathname, search } = event.currentTarget as HTMLAnchorElement;
  app.go(pagePath(pathname, BASE) + search);
}
