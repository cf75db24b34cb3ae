import { Api, type User } from '@chatting-room/client';

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
  }

  go(path: string): void {
    history.pushState(null, '', path);
    this.path = location.pathname;
    scrollTo(0, 0);
  }

  /** The room that the address names. */
  get room(): string | null {
    const name = /^\/room\/([^/]+)$/.exec(this.path)?.[1];
    return name ? decodeURIComponent(name) : null;
  }

  async logIn(name: string, password: string): Promise<void> {
    this.user = await this.api.logIn(name, password);
    this.go(new URLSearchParams(location.search).get('to') ?? '/');
  }

  async logOut(): Promise<void> {
    await this.api.logOut().catch(() => {});
    this.user = null;
    this.go('/login');
  }

  #ended(): void {
    this.user = null;
    this.go(`/login?to=${encodeURIComponent(location.pathname)}`);
  }
}

export const app = new AppState();

/** A link within the app: a real address, without loading the page anew. */
export function within(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  app.go((event.currentTarget as HTMLAnchorElement).pathname);
}
