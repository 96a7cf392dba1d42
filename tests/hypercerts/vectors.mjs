// Writes vectors.json anew: values, their canonical JSON, and the identifiers of that and of their DAG-CBOR.
import { writeFileSync } from "node:fs";
import * as dagCbor from "@ipld/dag-cbor";
import canonicalize from "canonicalize";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";

const values = [
  {},
  { b: 1, a: "x" },
  { bb: 1, a: 2, ccc: { z: 1, aa: 2 } },
  { "\u20ac": "Euro", "\r": "Return", "\ufb33": "Dalet", 1: "One", "\ud83d\ude00": "Smiley", "\u0080": "Control", "\u00f6": "Umlaut" },
  { n: [0, 23, 24, 255, 256, 65535, 65536, 4294967295, 4294967296, 9007199254740991, -1, -24, -25, -257, -4294967297] },
  { long: '\u00e9\u0007"\\\n\u007f'.repeat(60), list: [[], {}, "", ["a", ["b"]]] },
];

async function identifier(codec, bytes) {
  return CID.create(1, codec, await sha256.digest(bytes)).toString();
}

const vectors = [];
for (const value of values) {
  const canonical = canonicalize(value);
  vectors.push({
    value,
    canonical,
    raw: await identifier(raw.code, new TextEncoder().encode(canonical)),
    "dag-cbor": await identifier(dagCbor.code, dagCbor.encode(value)),
  });
}
writeFileSync(new URL("vectors.json", import.meta.url), JSON.stringify(vectors, null, 1) + "\n");
