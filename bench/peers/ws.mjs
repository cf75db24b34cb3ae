// The same frames with the library `ws`: a room is a Set of sockets, and a message is encoded once.
import { WebSocketServer } from 'ws';

const id = '01890a5d-ac96-774b-bcce-b302099a8057';
const rooms = new Map();
let seq = 0;
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.env.PORT), perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.send('0{}');
  socket.on('message', (data) => {
    const text = data.toString();
    if (text.startsWith('40')) return socket.send('40{}');
    if (!text.startsWith('42')) return;
    const open = text.indexOf('[');
    const [event, { roomId, msg }] = JSON.parse(text.slice(open));
    const members = rooms.get(roomId) ?? rooms.set(roomId, new Set()).get(roomId);
    if (event === 'join-room') members.add(socket);
    if (event === 'send-msg') {
      const prev = seq++;
      const at = new Date().toISOString();
      const payload = { roomId, seq, prev, id, from: { id, name: 'member 0' }, msg, at };
      const bytes = Buffer.from(`42${JSON.stringify(['receive-msg', payload])}`);
      for (const member of members) member.send(bytes, { binary: false });
    }
    socket.send(`43${text.slice(2, open)}[{"ok":true}]`);
  });
  socket.on('close', () => rooms.forEach((members) => members.delete(socket)));
});
