// A stand-in for SAP's Node sample, written from a description of what it does and of what it does not care about: it
// compares one date, writes in place, for all to read, and knows of no key but its own.
//
//   node sample.js         a valid refresh token, from the file or by a password grant
//   node sample.js call    a refresh grant, whose answer is not stored, and a call to the API
"use strict";
const fs = require("fs");
const http = require("http");

const CREDENTIALS = "credentials.json";
const TOKENS = "refreshTokenObjectFile.json";

function send(method, address, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(address, { method, headers }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve({ status: answer.statusCode, text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function grant(base, credentials, fields) {
  const form = { client_id: credentials.appID, client_secret: credentials.clientSecret, ...fields };
  const body = new URLSearchParams(form).toString();
  const headers = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Content-Length": Buffer.byteLength(body),
  };
  const answer = await send("POST", `${base}/oauth2/v0/token`, headers, body);
  if (answer.status !== 200) throw new Error(`the token endpoint answers ${answer.status}: ${answer.text}`);
  return JSON.parse(answer.text);
}

async function obtain(credentials) {
  const tokens = await grant(process.env.BASE_URI, credentials, {
    grant_type: credentials.grantType,
    username: credentials.companyUUID,
    password: credentials.companyRequestToken,
    credtype: credentials.credentialType,
  });
  tokens.companyUUID = credentials.companyUUID;
  fs.writeFileSync(TOKENS, JSON.stringify(tokens));
  console.log("obtained");
}

function stored() {
  try {
    return JSON.parse(fs.readFileSync(TOKENS, "utf8"));
  } catch {
    return undefined;
  }
}

async function call(credentials) {
  const tokens = stored();
  const refreshed = await grant(tokens.geolocation, credentials, {
    grant_type: "refresh_token",
    refresh_token: tokens.refresh_token,
  });
  const headers = { Authorization: `Bearer ${refreshed.access_token}`, Accept: "application/json" };
  const answer = await send("GET", `${tokens.geolocation}/profile/identity/v4/Users/`, headers);
  console.log(`called: ${answer.status}`);
}

async function main() {
  if (!fs.existsSync(CREDENTIALS)) {
    const empty = { appID: "", clientSecret: "", grantType: "password", companyUUID: "" };
    fs.writeFileSync(
      CREDENTIALS,
      JSON.stringify({ ...empty, companyRequestToken: "", credentialType: "authtoken" }),
    );
    console.log("template");
    return;
  }
  const credentials = JSON.parse(fs.readFileSync(CREDENTIALS, "utf8"));
  if (process.argv[2] === "call") return call(credentials);
  const tokens = stored();
  if (tokens && new Date(tokens.refresh_expires_in * 1000) > new Date()) {
    console.log("valid");
    return;
  }
  await obtain(credentials);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
