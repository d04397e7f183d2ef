// Sends one file as an attachment with nodemailer. Exits non-zero unless it is taken.
// Usage: send_nodemailer.js PORT clear|starttls|implicit CA MECHANISM USER PASSWORD FROM TO FILE
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const [port, tls, ca, mechanism, user, pass, from, to, file] = process.argv.slice(2);

const transport = nodemailer.createTransport({
  host: '127.0.0.1',
  port: Number(port),
  secure: tls === 'implicit',
  requireTLS: tls === 'starttls',
  ignoreTLS: tls === 'clear',
  tls: { ca: fs.readFileSync(ca), servername: 'localhost' },
  auth: mechanism ? { user, pass } : undefined,
  authMethod: mechanism || undefined,
});

transport.sendMail({
  from, to, subject: 'Scan – Etage 3', text: 'Your scan.\n',
  attachments: [{ filename: 'scan.pdf', contentType: 'application/pdf', path: file }],
}).then((info) => {
  if (info.rejected.length > 0) throw new Error('rejected: ' + info.rejected);
  console.log(info.response);
}).catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
