import { en, enEnds, enErrors, type Texts } from './en.ts';
import { ko, koEnds, koErrors } from './ko.ts';

type Language = 'en' | 'ko';
const saved = localStorage.getItem('language');
const browser: Language = navigator.language.startsWith('ko') ? 'ko' : 'en';

class Preferences {
  language = $state<Language>(saved === 'ko' || saved === 'en' ? saved : browser);

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

  /** Why a room is over. */
  ended(code: string): string {
    return (this.language === 'ko' ? koEnds : enEnds)[code] ?? this.texts.ended;
  }

  /** What an error is to a person. */
  error(error: unknown): string {
    const { code, message } = error as { code?: string; message?: string };
    const known = (this.language === 'ko' ? koErrors : enErrors)[code ?? ''];
    return known ?? message ?? String(error);
  }
}

export const prefs = new Preferences();
