// Node's `ws` and MongoDB's driver, as their expert writes it: one change stream, one stringify and one frame for an
// event, and that frame written to every socket as it is.
import { createServer } from 'node:http';
import { MongoClient } from 'mongodb';
import { Sender, WebSocketServer } from 'ws';

const [uri, database] = process.argv.slice(2);
const client = await new MongoClient(uri).connect();
const sockets = new Set();
const server = createServer();
const live = Buffer.from('{"type":"live"}');
const accepting = new WebSocketServer({ server, path: '/ws', perMessageDeflate: false, clientTracking: false });
accepting.on('connection', (one, request) => {
  sockets.add(one);
  one.on('close', () => sockets.delete(one));
  one.on('error', () => one.terminate());
  one.send(live, { binary: false });
});

const stream = client.db(database).collection('orders').watch();
// A stream is open at MongoDB once it was asked for the first time.
await stream.tryNext();
server.listen(0, '127.0.0.1', () => console.log(`live at ${server.address().port}`));
for await (const change of stream) {
  const data = Buffer.from(JSON.stringify({ op: change.operationType, document: change.fullDocument }));
  const frame = Sender.frame(data, { fin: true, opcode: 1, mask: false, readOnly: false, rsv1: false });
  const whole = frame.length === 1 ? frame[0] : Buffer.concat(frame);
  for (const one of sockets) if (one.readyState === 1) one._socket.write(whole);
}
