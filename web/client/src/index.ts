/** Chat rooms for TypeScript: HTTP functions, gap-free rooms over Socket.IO, files. */
export { Api, type ApiOptions } from './api.ts';
export { backoff, pause } from './backoff.ts';
export type { Status } from './machine.ts';
export { ApiError, GatewayError } from './errors.ts';
export { Order } from './order.ts';
export type { RoomListener } from './listener.ts';
export { Room } from './room.ts';
export type { SessionStore } from './session-store.ts';
export { Session, type SessionWatcher } from './session.ts';
export * from './types.ts';
export { uploadFile, type UploadOptions } from './upload.ts';
export { uuidv7 } from './uuid.ts';
