import { uploadFile, uuidv7, type FileRef } from '@chatting-room/client';

import { app } from './app.svelte.ts';

/** An upload in progress. */
export interface Upload {
  key: string;
  name: string;
  /** From 0 to 1. */
  progress: number;
  controller: AbortController;
}

/** A file that is displayed on the page, and its presigned URL. */
export interface OpenFile {
  file: FileRef;
  url: string;
}

/** Files of a room: uploads in progress and the file on display. */
export class RoomFiles {
  uploads = $state<Upload[]>([]);
  open = $state.raw<OpenFile | null>(null);

  readonly #room: string;
  readonly #onUpload: (file: FileRef) => void;
  readonly #onError: (error: unknown) => void;

  constructor(room: string, onUpload: (file: FileRef) => void, onError: (error: unknown) => void) {
    this.#room = room;
    this.#onUpload = onUpload;
    this.#onError = onError;
  }

  async upload(file: File): Promise<void> {
    const upload: Upload = { key: uuidv7(), name: file.name, progress: 0, controller: new AbortController() };
    this.uploads.push(upload);
    // The array holds a reactive proxy: only changes of the proxy are displayed.
    const displayed = this.uploads.find(({ key }) => key === upload.key);
    try {
      const stored = await uploadFile(app.api, this.#room, file, {
        signal: upload.controller.signal,
        onProgress: (fraction) => displayed && (displayed.progress = fraction),
      });
      this.#onUpload(stored);
    } catch (error) {
      if ((error as { code?: string }).code !== 'aborted') this.#onError(error);
    }
    this.uploads = this.uploads.filter(({ key }) => key !== upload.key);
  }

  /** Displays an image, audio or video file on the page, and downloads any other file. */
  async show(file: FileRef): Promise<void> {
    try {
      const { url } = await app.api.fileLink(file.id);
      if (/^(image|audio|video)\//.test(file.type)) this.open = { file, url };
      else Object.assign(document.createElement('a'), { href: url, download: file.name, rel: 'noopener' }).click();
    } catch (error) {
      this.#onError(error);
    }
  }

  close(): void {
    this.open = null;
  }
}
