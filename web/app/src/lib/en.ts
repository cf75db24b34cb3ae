export const en = {
  tagline: 'Rooms where nothing gets lost.',
  login: 'Log in', signup: 'Sign up', logout: 'Log out', name: 'Name', password: 'Password',
  nameHint: '3 to 32 of a–z, 0–9, dot, dash, underscore', passwordHint: 'at least 8 characters',
  noAccount: 'No account yet?', haveAccount: 'Have an account?',
  rooms: 'Rooms', newRoom: 'New room', roomName: 'Room name', roomHint: 'letters and digits of any script, - and _',
  create: 'Create room', noRooms: 'No rooms yet. Make the first one.', search: 'Find a room',
  message: 'Message', send: 'Send', attach: 'Attach a file', online: 'online', people: 'Who is here',
  sending: 'sending…', failed: 'not sent', retry: 'Try again', cancel: 'Cancel', older: 'Earlier messages',
  newMessages: 'New messages', joined: 'came in', left: 'left', removed: 'was removed', you: 'You', notice: 'Notice',
  deleteRoom: 'Delete room', deleteAsk: 'Delete this room for everyone? Its messages and files are removed.', remove: 'Delete',
  roomDeleted: 'This room was deleted.', back: 'All rooms', connecting: 'Connecting…', reconnecting: 'Connection lost. Reconnecting…',
  noAnswer: 'No answer from the server. Trying again…',
  ended: 'Disconnected.', download: 'Download', uploading: 'Uploading', theme: 'Switch light and dark', language: '한국어',
  yourName: 'Your name here', save: 'Save', empty: 'Nobody has said anything yet.', notFound: 'There is nothing here.',
  today: 'Today', close: 'Close', newTab: 'Open in a new tab', notShown: 'This browser cannot show it. Open it in a new tab instead.', toEnd: 'To the newest',
};
export type Texts = typeof en;
/** Why a room is over, by code. */
export const enEnds: Record<string, string> = {
  'room-deleted': en.roomDeleted, removed: 'You were removed from this room.', banned: 'You are banned from this room.',
  'password-required': 'This room needs a password, and you have not given it yet.',
  'no-such-room': 'There is no such room, or it is private.', 'session-revoked': 'You were logged out.', 'session-over': 'You were logged out.',
};
export const enErrors: Record<string, string> = {
  'bad-credentials': 'Name or password is wrong.', 'name-taken': 'This name is taken.', 'room-exists': 'A room of this name exists.',
  'no-such-room': 'There is no such room.', 'file-too-large': 'The file is too large: 8 MiB at most.', network: 'The server cannot be reached.',
  'file-mismatch': 'The file is not what its name says.', busy: 'Too much to do right now. Try again.', 'rate-limited': 'Slow down a little.',
  'too-many-attempts': 'Too many attempts. Try again in a while.', unavailable: 'The server is not available right now. Try again.', timeout: 'The server took too long. Try again.',
};
