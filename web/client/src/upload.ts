import type { Api } from './api.ts';
import { ApiError } from './errors.ts';
import type { FileRef, Upload } from './types.ts';

export interface UploadOptions {
  /** Called with the fraction sent, from 0 to 1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/** Uploads a file directly to the object storage by a presigned URL, then has the server verify it. */
export async function uploadFile(api: Api, room: string, file: File, options: UploadOptions = {}): Promise<FileRef> {
  const declared = await api.declareFile(room, {
    name: file.name,
    size: file.size,
    type: file.type || 'application/octet-stream',
    ...(await checksum(file)),
  });
  await put(declared.upload, file, options);
  return (await api.completeFile(declared.file.id)).file;
}

/** The checksum that the storage verifies. Browsers compute it in secure contexts only, so it is optional. */
async function checksum(file: File): Promise<{ sha256?: string }> {
  if (!globalThis.crypto?.subtle) return {};
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()));
  return { sha256: Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('') };
}

/** Uses XMLHttpRequest, because `fetch` has no upload progress. */
function put(upload: Upload, file: File, { onProgress, signal }: UploadOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(upload.method, upload.url);
    for (const [name, value] of Object.entries(upload.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(total ? loaded / total : 1);
    request.onload = () =>
      request.status < 300
        ? resolve()
        : reject(new ApiError(request.status, 'upload-failed', 'the storage refused the file'));
    request.onerror = () => reject(new ApiError(0, 'network', 'the storage cannot be reached'));
    request.onabort = () => reject(new ApiError(0, 'aborted', 'the upload was stopped'));
    signal?.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}
