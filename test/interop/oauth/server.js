// An authorization server for tests: npm's oauth2-mock-server, which gives a token
// to whoever asks, behind a check of the client's credential (RFC 6749 2.3,
// RFC 7523), which it lacks. Settings are read anew at each request.
//
//   node server.js settings.json
//
// settings.json: {"clientID", "secret", "certificate" (PEM), "federated" (the one
// assertion that is taken), "claims" of a token, "expiresIn" as it is told}
// It prints the port of 127.0.0.1 that it listens on. GET /jwks gives the keys,
// POST /rotate replaces them, GET /issued the number of tokens.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { OAuth2Server } = require("oauth2-mock-server");
const jose = require("jose");

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const settings = () => JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
let service;
let issued = 0;

async function rotate(url) {
  const next = new OAuth2Server(undefined, undefined, { endpoints: { token: "/:tenant/oauth2/v2.0/token" } });
  next.issuer.url = url;
  await next.issuer.keys.generate("RS256");
  service = next.service;
  service.on("beforeTokenSigning", (token) => Object.assign(token.payload, settings().claims));
  service.on("beforeResponse", (response) => {
    issued++;
    response.body.expires_in = settings().expiresIn ?? 3600;
  });
}

// refusal of a client as Microsoft Entra ID words it; null: it proved who it is.
async function refusal(req, form, url) {
  const s = settings();
  const basic = /^Basic (.*)$/.exec(req.headers.authorization ?? "");
  let [id, secret] = [form.get("client_id"), form.get("client_secret")];
  if (basic) {
    [id, secret] = Buffer.from(basic[1], "base64").toString().split(":").map((v) => decodeURIComponent(v.replaceAll("+", " ")));
  }
  if (id !== s.clientID) {
    return [400, "unauthorized_client", `AADSTS700016: Application with identifier '${id}' was not found in the directory.`];
  }
  if (secret !== null) {
    return secret === s.secret ? null : [401, "invalid_client", `AADSTS7000215: Invalid client secret provided: ${secret}`];
  }
  const assertion = form.get("client_assertion");
  if (form.get("client_assertion_type") !== assertionType || !assertion) {
    return [401, "invalid_client", "AADSTS7000218: The request body must contain client_assertion or client_secret."];
  }
  if (s.federated) {
    return assertion === s.federated ? null : [401, "invalid_client", "AADSTS700213: No matching federated identity record found."];
  }
  try {
    const key = await jose.importX509(s.certificate, "RS256");
    await jose.jwtVerify(assertion, key, { issuer: id, subject: id, audience: url + req.url, algorithms: ["PS256", "RS256"], maxTokenAge: "10m", requiredClaims: ["jti", "exp", "nbf"] });
    return null;
  } catch (e) {
    return [401, "invalid_client", `AADSTS700027: Client assertion failed signature validation: ${e.message}`];
  }
}

function body(req) {
  return new Promise((resolve, reject) => {
    let text = "";
    req.on("data", (chunk) => (text += chunk));
    req.on("end", () => resolve(text));
    req.on("error", reject);
  });
}

async function handle(req, res, url) {
  if (req.url === "/rotate") {
    await rotate(url);
    return res.end();
  }
  if (req.url === "/issued") {
    return res.end(String(issued));
  }
  if (req.method === "POST") {
    const form = new URLSearchParams(await body(req));
    const no = await refusal(req, form, url);
    if (no) {
      const [status, error, error_description] = no;
      res.writeHead(status, { "Content-Type": "application/json" });
      return res.end(JSON.stringify({ error, error_description }));
    }
    req.body = Object.fromEntries(form); // body-parser sees that it was read
    req._body = true;
  }
  return service.requestHandler(req, res);
}

const server = http.createServer((req, res) => {
  const url = `http://127.0.0.1:${server.address().port}`;
  handle(req, res, url).catch((e) => {
    console.error(e);
    res.writeHead(500);
    res.end();
  });
});
server.listen(0, "127.0.0.1", async () => {
  await rotate(`http://127.0.0.1:${server.address().port}`);
  console.log(`listening on ${server.address().port}`);
});
