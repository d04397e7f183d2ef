// What Mailgun's API takes, read by Node's own parser of multipart/form-data
// (undici): POST /v3/DOMAIN/messages.mime. It checks nothing but that somebody is to receive; it
// writes what came.
//
//   node server.js FOLDER
//
// It prints the port of 127.0.0.1 that it listens on. Each request is FOLDER/N.json
// ({"url", "authorization", "fields": [[name, value]...], "file": {name, type}}) and
// FOLDER/N.eml, the file as it came.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { Readable } = require("node:stream");

const folder = process.argv[2];
let count = 0;

async function take(request, response) {
  const form = await new Response(Readable.toWeb(request), { headers: { "content-type": request.headers["content-type"] } }).formData();
  if (!form.has("to")) throw new Error("'to' parameter is missing"); // the relay's check of its key
  const n = ++count;
  const said = { url: request.url, authorization: request.headers.authorization, fields: [] };
  for (const [name, value] of form) {
    if (typeof value === "string") {
      said.fields.push([name, value]);
      continue;
    }
    said.file = { field: name, name: value.name, type: value.type };
    fs.writeFileSync(path.join(folder, `${n}.eml`), Buffer.from(await value.arrayBuffer()));
  }
  fs.writeFileSync(path.join(folder, `.${n}`), JSON.stringify(said));
  fs.renameSync(path.join(folder, `.${n}`), path.join(folder, `${n}.json`));
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ id: `<${n}@node>`, message: "Queued. Thank you." }));
}

const server = http.createServer((request, response) => {
  take(request, response).catch((error) => {
    response.statusCode = 400;
    response.end(JSON.stringify({ message: String(error) }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
