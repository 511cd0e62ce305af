import { readFileSync } from "node:fs";

// package.json stands one level above both src/ and dist/.
const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));

/** The version of this package. */
export const version: string = (manifest as { version: string }).version;
