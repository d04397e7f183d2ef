// Evaluates an IAM policy, by npm's iam-simulate, which also knows which resources
// and context keys each action has and refuses the others.
//
//   node evaluate.js <input.json
//
// The input: {"policy", "requests": [{"action", "resource", "context"}]}. It prints a
// list of "Allowed", "ImplicitlyDenied", ... or of what is wrong with a request.
"use strict";

const fs = require("node:fs");
const { runSimulation } = require("@cloud-copilot/iam-simulate");

async function judge(policy, { action, resource, context }) {
  const result = await runSimulation({
    request: {
      principal: "arn:aws:iam::123456789012:user/relay",
      action,
      resource: { resource, accountId: "123456789012" },
      contextVariables: context,
    },
    identityPolicies: [{ name: "relay", policy }],
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }, {});
  return result.errors ? JSON.stringify(result.errors) : result.overallResult ?? result.analysis?.result ?? JSON.stringify(result);
}

async function main() {
  const { policy, requests } = JSON.parse(fs.readFileSync(0, "utf8"));
  const out = [];
  for (const request of requests) out.push(await judge(policy, request));
  console.log(JSON.stringify(out));
}

main();
