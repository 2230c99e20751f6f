// Chat completions with the published OpenAI client. All that is changed is the base URL.
//
//     OPENAI_API_KEY=… node openai_chat.mjs

import OpenAI from "openai";
import { PROXY, verify } from "./receipt.mjs";

const client = new OpenAI({ baseURL: `${PROXY}/v1` });
const credential = { Authorization: `Bearer ${client.apiKey}` };
const question = { model: "gpt-5-mini", messages: [{ role: "user", content: "What is a counterfoil?" }] };

// An answer in one piece.
const answer = await client.chat.completions.create(question).withResponse();
const text = answer.data.choices[0].message.content;
console.log(text);
await verify(answer.response.headers, credential, text);

// A stream.
const stream = await client.chat.completions.create({ ...question, stream: true }).withResponse();
let streamed = "";
for await (const chunk of stream.data) streamed += chunk.choices[0]?.delta?.content ?? "";
console.log(streamed);
await verify(stream.response.headers, credential, streamed);
