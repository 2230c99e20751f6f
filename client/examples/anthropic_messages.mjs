// Messages with the published Anthropic client. All that is changed is the base URL.
//
//     ANTHROPIC_API_KEY=… node anthropic_messages.mjs

import Anthropic from "@anthropic-ai/sdk";
import { PROXY, verify } from "./receipt.mjs";

const client = new Anthropic({ baseURL: PROXY });
const credential = { Authorization: `Bearer ${client.apiKey}` };
const question = {
  model: "claude-sonnet-5",
  max_tokens: 300,
  messages: [{ role: "user", content: "What is a counterfoil?" }],
};
const textOf = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

// An answer in one piece.
const answer = await client.messages.create(question).withResponse();
const text = textOf(answer.data);
console.log(text);
await verify(answer.response.headers, credential, text);

// A stream.
const stream = client.messages.stream(question);
const { response } = await stream.withResponse();
const streamed = textOf(await stream.finalMessage());
console.log(streamed);
await verify(response.headers, credential, streamed);
