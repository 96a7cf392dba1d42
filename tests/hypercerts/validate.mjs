// Reads {"certs": [...], "records": [...]} from stdin; prints what the official packages say of them, and their identifiers
// by other implementations than ours.
import { readFileSync } from "node:fs";
import { validate } from "@hypercerts-org/lexicon/lexicons";
import { validateMetaData } from "@hypercerts-org/sdk";
import * as dagCbor from "@ipld/dag-cbor";
import canonicalize from "canonicalize";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";

const { certs, records } = JSON.parse(readFileSync(0, "utf8"));

async function identifier(codec, bytes) {
  return CID.create(1, codec, await sha256.digest(bytes)).toString();
}

const found = { certs: [], records: [] };
for (const cert of certs) {
  const canonical = canonicalize(cert);
  const result = validateMetaData(cert);
  found.certs.push({
    said: result.valid ? "valid" : JSON.stringify(result.errors),
    canonical,
    cid: await identifier(raw.code, new TextEncoder().encode(canonical)),
  });
}
for (const record of records) {
  const result = validate(record, record.$type, "main", true);
  found.records.push({
    said: result.success ? "valid" : String(result.error),
    cid: await identifier(dagCbor.code, dagCbor.encode(record)),
  });
}
// On the last line: the SDK prints what it finds wrong.
console.log("\n" + JSON.stringify(found));
