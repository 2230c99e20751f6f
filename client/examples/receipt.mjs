// The receipt of an exchange: fetched from the proxy, and verified by the `counterfoil` program.

import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const PROXY = process.env.COUNTERFOIL_PROXY ?? "http://127.0.0.1:8431";
const LOG = process.env.COUNTERFOIL_LOG ?? "dev";

/** What the proxy has of an exchange, for the credential that it was made with: id, bundle, openings, claim key. */
async function fetchReceipt(exchange, credential) {
  for (let n = 0; n < 300; n++) {
    const answer = await fetch(`${PROXY}/counterfoil/v1/exchanges/${exchange}`, { headers: credential });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    const found = await answer.json();
    if (found.bundle) return found;
    // The exchange is over, and its receipt on its way into the log.
    await sleep(100);
  }
  throw new Error("the receipt is not in the log yet; it can be fetched later");
}

/** Verifies the receipt of the answer that came with these headers, and that it is the receipt of this text. */
export async function verify(headers, credential, text) {
  const found = await fetchReceipt(headers.get("counterfoil-exchange"), credential);
  const folder = mkdtempSync(join(tmpdir(), "receipt."));
  const file = (name) => join(folder, `${found.id}.${name}.json`);
  for (const name of ["bundle", "openings", "claim"]) writeFileSync(file(name), JSON.stringify(found[name]));
  const command = ["verify", file("bundle"), "--log", LOG, "--openings", file("openings")];
  execFileSync("counterfoil", command, { stdio: "inherit" });
  // The opening holds each choice after its length in four bytes; verify has held it against the receipt.
  const opened = Buffer.from(found.openings.openings.text.value, "base64");
  if (opened.subarray(4).toString() !== text) throw new Error("the receipt is of another text");
  console.log(`the receipt is of this text; all files are in ${folder}\n`);
}
