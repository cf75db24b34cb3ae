import { en, type Texts } from './texts/en.ts';
import { ko } from './texts/ko.ts';

type Language = 'en' | 'ko';
const stored = localStorage.getItem('language');
const preferred: Language = navigator.language.startsWith('ko') ? 'ko' : 'en';

/** Language and theme, kept in `localStorage`. */
class Preferences {
  language = $state<Language>(stored === 'ko' || stored === 'en' ? stored : preferred);

  /** Shared by all messages, because creating a format is slow. */
  readonly timeFormat = $derived(new Intl.DateTimeFormat(this.language, { hour: 'numeric', minute: '2-digit' }));
  readonly dayFormat = $derived(new Intl.DateTimeFormat(this.language, { dateStyle: 'long' }));

  constructor() {
    const theme = localStorage.getItem('theme');
    if (theme) document.documentElement.dataset['theme'] = theme;
    document.documentElement.lang = this.language;
  }

  get texts(): Texts {
    return this.language === 'ko' ? ko : en;
  }

  switchLanguage(): void {
    this.language = this.language === 'ko' ? 'en' : 'ko';
    localStorage.setItem('language', this.language);
    document.documentElement.lang = this.language;
  }

  switchTheme(): void {
    const root = document.documentElement;
    const isDark = root.dataset['theme']
      ? root.dataset['theme'] === 'dark'
      : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset['theme'] = isDark ? 'light' : 'dark';
    localStorage.setItem('theme', root.dataset['theme']);
  }

  /** Text for the code with which a room ended. */
  endReason(code: string): string {
    return lookUp(this.texts.endReasons, code) ?? this.texts.ended;
  }

  /** Text for an error. Errors without a translation have the server's own, English text. */
  errorText(error: unknown): string {
    const { code, message } = error as { code?: string; message?: string };
    return lookUp(this.texts.errors, code ?? '') ?? message ?? String(error);
  }
}

function lookUp(texts: Record<string, string>, code: string): string | undefined {
  return Object.hasOwn(texts, code) ? texts[code] : undefined;
}

export const prefs = new Preferences();
