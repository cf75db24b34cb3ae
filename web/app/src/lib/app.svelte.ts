import { Api, type User } from '@chatting-room/client';

import { destination, loginFor, roomOf } from './address.ts';

const KEY = 'session';

class AppState {
  path = $state(location.pathname);
  user = $state<User | null>(null);

  readonly api = new Api({
    store: {
      get: () => localStorage.getItem(KEY),
      set: (value) => (value === null ? localStorage.removeItem(KEY) : localStorage.setItem(KEY, value)),
    },
    onSessionEnd: () => this.#ended(),
  });

  constructor() {
    this.user = this.api.session.user;
    addEventListener('popstate', () => (this.path = location.pathname));
    // Another tab logged out.
    addEventListener('storage', ({ key }) => {
      if (key === KEY && this.user && !this.api.session.user) this.#ended();
    });
  }

  go(path: string, { replace = false } = {}): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', path);
    this.path = location.pathname;
    scrollTo(0, 0);
  }

  /** The room that the address names. */
  get room(): string | null {
    return roomOf(this.path);
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

  #ended(): void {
    this.user = null;
    this.go(loginFor(location.pathname), { replace: true });
  }
}

export const app = new AppState();

/** A link within the app: a real address, without loading the page anew. */
export function within(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const { pathname, search } = event.currentTarget as HTMLAnchorElement;
  app.go(pathname + search);
}
