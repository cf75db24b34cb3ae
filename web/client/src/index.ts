/** Chat rooms for TypeScript: HTTP functions, gap-free rooms over Socket.IO, files. */
export { Api, type ApiOptions } from './api.ts';
export type { Status } from './connection.ts';
export { ApiError, GatewayError } from './errors.ts';
export { Order } from './order.ts';
export { Room, type RoomListener } from './room.ts';
export { Session, type SessionStore } from './session.ts';
export * from './types.ts';
export { uploadFile, type UploadOptions } from './upload.ts';
export { uuidv7 } from './uuid.ts';
