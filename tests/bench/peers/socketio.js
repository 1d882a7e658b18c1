// Socket.IO with the settings that its performance page advises: WebSocket alone, `bufferutil`, the handshake's request
// let go; `emit` to everybody.
import { createServer } from 'node:http';
import { MongoClient } from 'mongodb';
import { Server } from 'socket.io';

const [uri, database] = process.argv.slice(2);
const client = await new MongoClient(uri).connect();
const server = createServer();
const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });
io.engine.on('connection', (one) => { one.request = null; });

const stream = client.db(database).collection('orders').watch();
// A stream is open at MongoDB once it was asked for the first time.
await stream.tryNext();
server.listen(0, '127.0.0.1', () => console.log(`live at ${server.address().port}`));
for await (const change of stream) io.emit('change', { op: change.operationType, document: change.fullDocument });
