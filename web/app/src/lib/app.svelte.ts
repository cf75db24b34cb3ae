import { Api, type User } from '@chatting-room/client';

import { destination, loginPath, roomInPath } from './address.ts';

const SESSION_KEY = 'session';

/** The session and the address of the page. */
class AppState {
  path = $state(location.pathname);
  user = $state<User | null>(null);

  readonly api = new Api({
    store: {
      get: () => localStorage.getItem(SESSION_KEY),
      set: (value) =>
        value === null ? localStorage.removeItem(SESSION_KEY) : localStorage.setItem(SESSION_KEY, value),
    },
    onSessionEnd: () => this.#onSessionEnd(),
  });

  constructor() {
    this.user = this.api.session.user;
    addEventListener('popstate', () => (this.path = location.pathname));
    // The event comes from other tabs: one of them logged out.
    addEventListener('storage', ({ key }) => {
      if (key === SESSION_KEY && this.user && !this.api.session.user) this.#onSessionEnd();
    });
  }

  go(path: string, { replace = false } = {}): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', path);
    this.path = location.pathname;
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
    this.go(loginPath(location.pathname), { replace: true });
  }
}

export const app = new AppState();

/** Click handler for links within the app: changes the address without loading the page again. */
export function followLink(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const { pathname, search } = event.currentTarget as HTMLAnchorElement;
  app.go(pathname + search);
}
