// A server that closes a connection once nothing has come for 1 s. keepAliveTimeout would
// be another second longer in some versions of Node.
const http = require('http');
const s = http.createServer((request, response) => response.end('ok'));
s.keepAliveTimeout = 0;
s.timeout = 1000;
s.listen(3000, '127.0.0.1', () => console.log('serves'));
