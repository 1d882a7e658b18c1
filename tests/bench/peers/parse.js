// Parse Server with LiveQuery in one process, as its guide begins. It tells of what is saved through it, and of nothing
// that others write to MongoDB, so a run writes by its REST interface.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { default: express } = await import(createRequire(import.meta.resolve('parse-server')).resolve('express'));
const { ParseServer } = await import('parse-server');

const [uri, database] = process.argv.slice(2);
const found = new URL(uri);
found.pathname = `/${database}`;
const app = express();
const server = createServer(app);
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const address = `http://127.0.0.1:${server.address().port}/parse`;
const parse = new ParseServer({
  appId: 'bench', masterKey: 'bench', maintenanceKey: 'bench-maintenance', serverURL: address,
  publicServerURL: address, databaseURI: found.href, liveQuery: { classNames: ['Orders'] },
  allowClientClassCreation: true, silent: true, logLevel: 'error', logsFolder: null, verbose: false,
});
await parse.start();
app.use('/parse', parse.app);
await ParseServer.createLiveQueryServer(server, { appId: 'bench', masterKey: 'bench', serverURL: address });
console.log(`live at ${server.address().port}`);
