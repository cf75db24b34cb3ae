// The same chat on socket.io, written as in its documentation, with the Redis adapter if REDIS_URL is set.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { cors: { origin: '*' } });
if (process.env.REDIS_URL) {
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const { createClient } = await import('redis');
  const [publish, subscribe] = [0, 1].map(() => createClient({ url: process.env.REDIS_URL }));
  await Promise.all([publish.connect(), subscribe.connect()]);
  io.adapter(createAdapter(publish, subscribe));
}

const id = '01890a5d-ac96-774b-bcce-b302099a8057';
let seq = 0;
io.on('connection', (socket) => {
  socket.on('join-room', async ({ roomId }, ack) => {
    await socket.join(roomId);
    ack({ ok: true });
  });
  socket.on('send-msg', ({ roomId, msg }, ack) => {
    const prev = seq++;
    const event = { roomId, seq, prev, id, from: { id, name: 'member 0' }, msg, at: new Date().toISOString() };
    io.to(roomId).emit('receive-msg', event);
    ack({ ok: true, seq });
  });
});
http.listen(Number(process.env.PORT), '127.0.0.1');
