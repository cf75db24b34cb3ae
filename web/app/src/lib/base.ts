/** The path below which the page is served, such as `/prod`. The server writes it into the page; usually empty. */
export const BASE = document.querySelector<HTMLMetaElement>('meta[name=base]')?.content ?? '';
