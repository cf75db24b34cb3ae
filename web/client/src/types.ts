/**
 * The contract's types under the SDK's names. HTTP bodies are looked up by method and path and events by name, because
 * those are part of the contract; the names of schemas are not.
 */
import type { components } from './generated/asyncapi.ts';
import type { components as http, paths } from './generated/openapi.ts';

/** The JSON body that an operation answers with. */
type Answer<Operation> = Operation extends { responses: infer Responses } ? Json<Responses[keyof Responses]> : never;
/** The JSON body that an operation takes. */
type Body<Operation> = Operation extends { requestBody: infer Request } ? Json<Request> : never;
/** The parameters in an operation's query. */
type Query<Operation> = Operation extends { parameters: { query?: infer Parameters } }
  ? NonNullable<Parameters>
  : never;
type Json<Part> = Part extends { content: { 'application/json': infer Content } } ? Content : never;

/** Body of every refusal. */
export type Problem = http['schemas']['Problem'];

export type SignUp = Body<paths['/user']['post']>;
export type User = Answer<paths['/user']['get']>;
export type Tokens = Answer<paths['/login']['post']>;

export type NewRoom = Body<paths['/room']['post']>;
export type RoomQuery = Query<paths['/room']['get']>;
export type RoomPage = Answer<paths['/room']['get']>;
export type Entered = Answer<paths['/room/{name}']['get']>;
export type RoomInfo = Entered['room'];
export type Role = Entered['you']['role'];

type MessagePage = Answer<paths['/room/{name}/message']['get']>;
export type HistoryQuery = Query<paths['/room/{name}/message']['get']>;
export type Message = MessagePage['items'][number];
export type Person = Message['from'];
export type FileRef = NonNullable<Message['file']>;
/** A page of messages. Not complete: the server cannot read the newest ones at this moment. */
export type History = MessagePage & { complete: boolean };

export type NewFile = Body<paths['/room/{name}/file']['post']>;
export type DeclaredFile = Answer<paths['/room/{name}/file']['post']>;
export type Upload = DeclaredFile['upload'];
export type CompletedFile = Answer<paths['/file/{id}/complete']['post']>;
export type FileLink = Answer<paths['/file/{id}']['get']>;

type Payloads = components['schemas'];
/** Payloads of the events that the gateway sends, by event name. */
export type ServerEvents = {
  [Key in keyof Payloads as Key extends `server.${infer Name}` ? Name : never]: Payloads[Key];
};
/** Events that are stored: only these have a position in their room. `prev` is the seq of the event before this one. */
export type StoredEvents = {
  [
    Name in keyof ServerEvents as ServerEvents[Name] extends { seq: number; prev: number } ? Name : never
  ]: ServerEvents[Name];
};
export type StoredEvent = {
  [Name in keyof StoredEvents]: { name: Name; data: StoredEvents[Name] };
}[keyof StoredEvents];
export type Presence = ServerEvents['presence'];

export type ClientEventName = {
  [Key in keyof Payloads]: Key extends `client.${infer Name}`
    ? `${Key}.ack` extends keyof Payloads
      ? Name
      : never
    : never;
}[keyof Payloads];
/** The payload of an event that a client sends. */
export type ClientEvent<Name extends ClientEventName> = Payloads[`client.${Name}`];
/** The gateway's answer to a client's event: done or refused. */
export type Acknowledgement<Name extends ClientEventName> = Payloads[`client.${Name}.ack`];
/** The acknowledgement of an event that was accepted. */
export type Accepted<Name extends ClientEventName> = Extract<Acknowledgement<Name>, { ok: true }>;
export type Joined = Accepted<'join-room'>;
export type Sent = Accepted<'send-msg'>;
