// The image's HEALTHCHECK: exit 0 when database and agent are up. No certificate is checked: it asks itself.
import http from 'node:http';
import https from 'node:https';

const isTls = Boolean(process.env.VMO_TLS_CERT);
const request = (isTls ? https : http).get(
  {
    host: '127.0.0.1',
    port: Number(process.env.VMO_PORT || 8000),
    path: '/readyz',
    timeout: 4_000,
    rejectUnauthorized: false,
  },
  (response) => {
    response.setEncoding('utf8');
    response.on('data', (text) => process.stdout.write(text));
    response.on('end', () => {
      process.exitCode = response.statusCode === 200 ? 0 : 1;
    });
  },
);
request.on('timeout', () => request.destroy(new Error('no answer within 4 s')));
request.on('error', (error) => {
  process.stdout.write(error.message);
  process.exitCode = 1;
});
