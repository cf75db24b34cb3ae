const UNITS = ['byte', 'kilobyte', 'megabyte'] as const;

/** A file size in the largest unit that fits, such as "29.3 kB". */
export function formatSize(bytes: number, language: string): string {
  const power = bytes < 1024 ? 0 : bytes < 1024 ** 2 ? 1 : 2;
  const format = new Intl.NumberFormat(language, {
    style: 'unit',
    unit: UNITS[power],
    unitDisplay: 'short',
    maximumFractionDigits: 1,
  });
  return format.format(bytes / 1024 ** power);
}
