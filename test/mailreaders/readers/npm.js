// Prints what a mail reader from npm sees in each message of a folder: one JSON
// object a part. Usage: npm.js mailparser|postal-mime FOLDER
'use strict';
const fs = require('fs');
const path = require('path');
const { simpleParser } = require('mailparser');
const PostalMime = require('postal-mime').default || require('postal-mime');

const readers = {
  mailparser: async (octets) => {
    const mail = await simpleParser(octets, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
    return mail.attachments.map((a) => ({ name: a.filename, type: a.contentType, disposition: a.contentDisposition, content: a.content }));
  },
  'postal-mime': async (octets) => {
    const mail = await PostalMime.parse(octets, { attachmentEncoding: 'arraybuffer' });
    return mail.attachments.map((a) => ({ name: a.filename, type: a.mimeType, disposition: a.disposition, content: Buffer.from(a.content) }));
  },
};

async function see(read, file, octets, depth) {
  let attachments = [];
  try {
    attachments = await read(octets);
  } catch {
    return; // a reader that falls over shows nothing
  }
  for (const a of attachments) {
    if (a.type === 'message/rfc822' && depth < 10) {
      await see(read, file, a.content, depth + 1);
    }
    process.stdout.write(JSON.stringify({
      message: file,
      name: a.name || '',
      type: a.type || '',
      attached: a.disposition === 'attachment',
      content: Buffer.from(a.content).subarray(0, 2048).toString('base64'),
    }) + '\n');
  }
}

(async () => {
  const [, , reader, folder] = process.argv;
  for (const file of fs.readdirSync(folder).sort()) {
    await see(readers[reader], file, fs.readFileSync(path.join(folder, file)), 0);
  }
})();
