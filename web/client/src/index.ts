/** TypeScript SDK: the HTTP API, rooms over Socket.IO without gaps, and file uploads. */
export { Api, type ApiOptions } from './api.ts';
export { backoff, pause } from './backoff.ts';
export type { Status } from './state-machine.ts';
export { ApiError, GatewayError } from './errors.ts';
export { Order } from './order.ts';
export type { RoomListener } from './listener.ts';
export { Room } from './room.ts';
export type { SessionStore } from './session-store.ts';
export { Session, type SessionWatcher } from './session.ts';
export * from './types.ts';
export { uploadFile, type UploadOptions } from './upload.ts';
export { uuidv7 } from './uuid.ts';
